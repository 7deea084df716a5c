"""The documents: their code blocks, the API reference, the navigation, links to other files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from immutable_operator.api.crd import KINDS, crd
from immutable_operator.cli import report
from immutable_operator.cli.main import new_parser
from immutable_operator.cli.outcome import Outcome
from immutable_operator.cli.paths import PATHS, UNTRIED
from tests.pages import BY_HAND, FAILS, OUTPUT, PAGES, ROOT, Block, blocks, shows, tutorials
from website import reference
from website.hooks import outward_links

DOCS = ROOT / "docs"
HOW_TOS = [DOCS / "quick-start.md", *sorted((DOCS / "how-to").glob("*.md"))]
NAVIGATION = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]


# The first words of commands in the documents.
PROGRAMS = ("kubectl", "helm", "make", "pip", "pipx", "docker", "kind", "cosign", "git", "sed", "$")


def every_block() -> Iterator[tuple[str, Block]]:
    for page in PAGES:
        for block in blocks(page):
            yield f"{page.relative_to(ROOT)}:{block.line}", block


def test_every_block_says_what_it_is() -> None:
    """A block without a language, or of another one, would escape the test that runs them."""
    for where, block in every_block():
        assert block.language in ("bash", "text", "yaml", "json"), where
        if block.language == "bash":
            assert block.title in ("", FAILS, BY_HAND), where
            assert not block.text.startswith("$ "), f"{where}: a reader copies the commands"
        if block.language == "text":
            assert block.title in ("", OUTPUT), where
            first = {line.split()[0] for line in block.text.splitlines() if line[:1].strip()}
            assert not first & {*PROGRAMS}, f"{where}: commands are bash"


@pytest.mark.parametrize("page", HOW_TOS, ids=lambda p: p.stem)
def test_every_text_of_a_how_to_is_what_its_commands_print(page: Path) -> None:
    for block in blocks(page):
        assert block.language != "text" or block.title == OUTPUT, f"{page.name}:{block.line}"


def _commands(program: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands of a program in all blocks that a user runs by hand: where, and words."""
    for where, block in every_block():
        if block.language == "bash" and block.title == BY_HAND:
            for line in block.text.replace("\\\n", " ").splitlines():
                for part in re.split(r" (?:\||&&|>) ", line):
                    if part.startswith(f"{program} "):
                        yield where, shlex.split(part, comments=True)[len(program.split()) :]


def test_commands_of_the_plugin_that_are_run_by_hand_are_commands() -> None:
    found = list(_commands("kubectl immutable"))
    assert len(found) >= 8
    for where, words in found:
        assert words == ["verify", "--help"] or new_parser(words).parse_args(words).run, where


def test_targets_of_make_exist() -> None:
    found = list(_commands("make"))
    assert len(found) >= 8
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for where, words in found:
        assert {word for word in words if "=" not in word} <= targets, where


def test_every_how_to_has_commands_that_are_run() -> None:
    covered = {page.name for page in tutorials()}
    assert {page.name for page in HOW_TOS} - covered == {"index.md"}


def test_table_of_verify_has_the_rows_of_the_command() -> None:
    table = next(b.text for b in blocks(DOCS / "verify.md") if b.title == OUTPUT)
    head, *rows, last = table.splitlines()
    assert head == report.heading()
    untried = [report.line(Outcome(u[0], u[1], u[2], None, detail=u[3])) for u in UNTRIED]
    assert rows[len(PATHS) :] == untried
    for row, path in zip(rows, PATHS, strict=False):
        assert row.startswith(f"{path.id:18}{path.what:44}"), row
    assert last.startswith(f"all {len(PATHS)} paths are protected: ")


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("web-im9d5e4ec9-noanq  6s", "web-im91b561e5-3h5y5   1m12s"),
        ("1 (9d5e4ec9)", "1 (91b561e5)"),
        ("4 instances in 3 s", "4 instances in 12.5 s"),
        ("web-rollback-20261127-115309 created", "web-rollback-20270101-000000 created"),
        ("at 2026-11-27T11:53:09Z", "at 2027-01-01T00:00:00Z"),
    ],
)
def test_output_of_another_run_is_the_same(shown: str, printed: str) -> None:
    assert shows(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("4 of 4 available", "3 of 4 available"),
        ("Good", "Failed"),
        ("web-b", "web-c"),
        ("a\n", "a\nb\n"),
        ("a\nb\n", "a\n"),
        ("", "a\n"),
    ],
)
def test_output_that_differs_is_noticed(shown: str, printed: str) -> None:
    assert not shows(shown, printed)


@pytest.mark.parametrize(
    ("shown", "same"),
    [
        ("a\n...\nd\n", True),
        ("...\nd\n", True),
        ("a\n...\n", True),
        ("...\nb\nc\n...\n", True),
        ("b\n...\n", False),
        ("...\nc\n", False),
        ("...\nb\nd\n...\n", False),
        ("...\nc\n...\nb\n...\n", False),
    ],
)
def test_ellipsis_stands_for_any_lines(shown: str, same: bool) -> None:
    assert shows(shown, "a\nb\nc\nd\n") is same


def test_blocks_in_a_list_are_found_without_their_indentation(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('1. Do:\n\n    ```bash title="Refused"\n    a\n      b\n    ```\n')
    [block] = blocks(page)
    assert (block.language, block.title, block.text) == ("bash", FAILS, "a\n  b\n")


def _pages(entries: object) -> Iterator[str]:
    if isinstance(entries, str):
        yield entries
    elif isinstance(entries, Mapping):
        for value in entries.values():
            yield from _pages(value)
    elif isinstance(entries, list):
        for value in entries:
            yield from _pages(value)


def test_every_page_is_in_the_navigation() -> None:
    found = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    decisions = {page for page in found if re.match(r"decisions/(\d|next-)", page)}
    assert found - decisions == set(_pages(NAVIGATION))


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.render()


def _fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every field below a schema, with its name."""
    for name, field in schema.get("properties", {}).items():
        yield name, field
        yield from _fields(field)
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, Mapping):
            yield from _fields(inner)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_reference_describes_every_field(pages: dict[str, str], kind: Any) -> None:
    text = pages[f"{reference.FOLDER}/{kind.name.lower()}.md"]
    text += pages[f"{reference.FOLDER}/pod-template.md"]
    plain = text.replace("\\", "").replace("&lt;", "<").replace("&#123;", "{")
    parts = crd(kind)["spec"]["versions"][-1]["schema"]["openAPIV3Schema"]["properties"]
    for part in ("spec", "status"):
        for name, field in _fields(parts.get(part, {})):
            assert f"| `{name}` |" in text, f"{part}: {name}"
            described = " ".join(field.get("description", "").replace("\\", "").split())
            assert described in plain, f"{part}: {name}"


def test_reference_names_defaults_limits_and_rules(pages: dict[str, str]) -> None:
    text = pages[f"{reference.FOLDER}/immutableservice.md"]
    [row] = [line for line in text.splitlines() if line.startswith("| `historyLimit` |")]
    assert row.startswith("| `historyLimit` | integer | `10` | 1 to 100 |")
    assert "- maxSurge and maxUnavailable are both 0, so no instance can be replaced" in text
    assert "`template` | [object](pod-template.md) |  | required |" in text


def test_outdated_reference_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--root", str(tmp_path)]
    assert reference.main(options) == 0
    assert reference.main([*options, "--check"]) == 0
    folder = tmp_path / reference.FOLDER
    (folder / "immutablefreeze.md").write_text("old")
    (folder / "gone.md").write_text("left over")
    assert reference.main([*options, "--check"]) == 1
    said = capsys.readouterr().out
    assert "docs/reference/immutablefreeze.md differs" in said
    assert "docs/reference/gone.md differs" in said


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("[examples/web.yaml](../../examples/web.yaml)", "`examples/web.yaml`"),
        ("[its rules](../../charts/rbac.yaml)", "its rules (`charts/rbac.yaml`)"),
        ("[plug-in](../plugin.md#x)", "[plug-in](../plugin.md#x)"),
    ],
)
def test_link_out_of_the_documents_is_shown_as_a_path(link: str, shown: str) -> None:
    assert outward_links(link, "how-to/page.md") == shown


def test_link_out_of_the_documents_leads_to_the_repository() -> None:
    link = outward_links("[rules](../charts/rbac.yaml)", "security.md", "https://git.example/x")
    assert link == "[rules](https://git.example/x/blob/main/charts/rbac.yaml)"
