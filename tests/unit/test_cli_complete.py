"""Completion: what is offered for a command line, and the scripts in real shells."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from immutable_operator.cli.complete import FILES, NO_FILES, Asked, Offers, complete
from immutable_operator.cli.completion import SHELLS, script
from immutable_operator.cli.main import answer_kubectl, new_parser
from immutable_operator.cli.verbs import VERBS

BESIDE = Path(sys.executable).parent


@pytest.fixture(scope="module")
def parser() -> argparse.ArgumentParser:
    return new_parser()


def offered(
    parser: argparse.ArgumentParser, *words: str, found: Offers | None = None
) -> tuple[list[str], Asked | None]:
    """The lines of the answer, and what the cluster was asked for."""
    questions: list[Asked] = []

    async def find(asked: Asked) -> Offers:
        questions.append(asked)
        return found or []

    lines = asyncio.run(complete(parser, words, find))
    return lines, questions[-1] if questions else None


def names(lines: Sequence[str]) -> list[str]:
    return [line.partition("\t")[0] for line in lines]


def test_verbs_are_offered_with_their_help(parser: argparse.ArgumentParser) -> None:
    lines, _ = offered(parser, "")
    assert len(lines) == len(VERBS) + 1
    assert "undo\trun a good revision instead of the one that the spec asks for" in lines
    assert lines[-1] == NO_FILES


def test_verbs_are_offered_by_their_first_letters(parser: argparse.ArgumentParser) -> None:
    lines, _ = offered(parser, "-n", "shop", "unf")
    assert names(lines) == ["unfreeze", NO_FILES]


def test_options_are_those_of_the_verb_that_are_not_given_yet(
    parser: argparse.ArgumentParser,
) -> None:
    lines, _ = offered(parser, "undo", "web", "--reason=slow", "--")
    assert {"--to", "--wait", "--context"} <= set(names(lines))
    assert not {"--reason", "--instance"} & set(names(lines))


@pytest.mark.parametrize("words", [("history", "web", "-o", "js"), ("history", "--output=js")])
def test_values_of_an_option_are_offered_without_the_option(
    parser: argparse.ArgumentParser, words: tuple[str, ...]
) -> None:
    assert offered(parser, *words)[0] == ["json", NO_FILES]


@pytest.mark.parametrize(
    ("words", "kind", "given"),
    [
        (("undo", ""), "NAME", {}),
        (("-n", "shop", "undo", "w"), "NAME", {"namespace": "shop"}),
        (("undo", "-nshop", "w"), "NAME", {"namespace": "shop"}),
        (("undo", "web", "--to", ""), "N", {"name": "web"}),
        (("undo", "web", "--to="), "N", {"name": "web"}),
        (("diff", "web", "3", ""), "M", {"name": "web", "old": "3"}),
        (("why", "--pool", ""), "NAME|POD", {"pool": ""}),
        (("regenerate", "web", "--instance", ""), "INSTANCE", {"name": "web"}),
        (("get", "--context", ""), "CONTEXT", {}),
        (("get", "-n", ""), "NAMESPACE", {}),
    ],
    ids=" ".join,
)
def test_cluster_is_asked_for_the_names_of_the_argument(
    parser: argparse.ArgumentParser, words: tuple[str, ...], kind: str, given: dict[str, str]
) -> None:
    _, asked = offered(parser, *words)
    assert asked is not None
    assert (asked.kind, dict(asked.given)) == (kind, given)


def test_names_are_offered_by_their_first_letters(parser: argparse.ArgumentParser) -> None:
    found = [("web", ""), ("api", ""), ("worker", "stale")]
    assert offered(parser, "get", "w", found=found)[0] == ["web", "worker\tstale", NO_FILES]


def test_nothing_is_offered_behind_the_last_argument(parser: argparse.ArgumentParser) -> None:
    assert offered(parser, "undo", "web", "") == ([NO_FILES], None)


@pytest.mark.parametrize("words", [("undo", "web", "--", ""), ("no-such-verb", "")])
def test_nothing_is_offered_for_another_program_or_an_unknown_verb(
    parser: argparse.ArgumentParser, words: tuple[str, ...]
) -> None:
    assert offered(parser, *words)[0] == [NO_FILES]


def test_files_are_left_to_the_shell(parser: argparse.ArgumentParser) -> None:
    assert offered(parser, "get", "--kubeconfig", "") == ([FILES], None)


def test_contexts_are_those_of_the_kubeconfig(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config"
    file.write_text("contexts: [{name: home}, {name: work}]")
    answer_kubectl(["get", f"--kubeconfig={file}", "--context", ""])
    assert capsys.readouterr().out.splitlines() == ["home", "work", NO_FILES]


@pytest.mark.parametrize("kubeconfig", ["missing", "broken", "unreachable"])
def test_an_unusable_cluster_offers_nothing_and_prints_no_error(
    kubeconfig: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken").write_text("contexts: 7")
    (tmp_path / "unreachable").write_text(
        "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\nusers: [{name: u}]\n"
    )
    answer_kubectl(["get", f"--kubeconfig={tmp_path / kubeconfig}", ""])
    told = capfd.readouterr()
    assert (told.out, told.err) == (f"{NO_FILES}\n", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_script_is_accepted_by_its_shell(shell: str) -> None:
    program = shutil.which({"kubectl": "sh"}.get(shell, shell))
    if program is None:
        pytest.skip(f"{shell} is not installed")
    flag = "--no-execute" if shell == "fish" else "-n"
    done = subprocess.run([program, flag], input=script(shell), text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("kubectl-immutable unf", ["unfreeze"]),
        ("kubectl-immutable history web --output=js", ["json"]),
        ("kubectl-immutable completion ", list(SHELLS)),
    ],
)
def test_bash_completes_with_its_script(line: str, expected: list[str]) -> None:
    program = (
        f"{script('bash')}\nCOMP_LINE=$1 COMP_POINT=${{#1}}\n"
        "_kubectl_immutable\nprintf '%s\\n' \"${COMPREPLY[@]}\""
    )
    path = f"{BESIDE}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", program, "bash", line],
        env=os.environ | {"PATH": path},
        text=True,
        capture_output=True,
    )
    assert (done.stdout.split(), done.stderr) == (expected, "")
