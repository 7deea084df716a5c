"""The shape of the package and of its tests: imports, a pure domain, docstrings, no copies.

The layers are those of `[tool.importlinter]` in pyproject.toml. import-linter reads imports of
whole packages; what the domain takes of the standard library is listed here, so that a new
import is a decision.
"""

from __future__ import annotations

import ast
import copy
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.mutants.planted import PLANTED, Bug

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "operator" / "immutable_operator"
MODULES = sorted(PACKAGE.rglob("*.py"))
DOMAIN = sorted((PACKAGE / "domain").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
PURE = {
    "__future__",
    "base64",
    "bisect",
    "collections",
    "copy",
    "cronsim",
    "dataclasses",
    "datetime",
    "decimal",  # quantities are compared as numbers, never as floats
    "enum",
    "functools",
    "hashlib",
    "hmac",
    "heapq",
    "immutable_operator",
    "itertools",
    "json",
    "math",
    "typing",
    "zoneinfo",
}


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_imports_go_one_way() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _imported(tree: ast.Module) -> set[str]:
    """Full names of the modules that a module imports, also inside its functions."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", DOMAIN, ids=lambda p: p.stem)
def test_domain_module_imports_nothing_impure(path: Path) -> None:
    imported = _imported(_tree(path))
    assert {name.partition(".")[0] for name in imported} <= PURE
    own = {name for name in imported if name.startswith("immutable_operator")}
    # The names under which instances are found are part of what messages say.
    names = "immutable_operator.api.names"
    assert all(n.startswith("immutable_operator.domain.") or n == names for n in own), own


@pytest.mark.parametrize("path", DOMAIN, ids=lambda p: p.stem)
def test_domain_module_has_no_side_effects(path: Path) -> None:
    forbidden = {"print", "open", "input", "exec", "eval", "__import__"}
    tree = _tree(path)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not used & forbidden
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)]
    called = {
        n.func.attr for n in ast.walk(tree) if isinstance(n, ast.Call) and hasattr(n.func, "attr")
    }
    assert not called & {"now", "utcnow", "today"}, "datetime's clock"


@pytest.mark.parametrize("path", DOMAIN, ids=lambda p: p.stem)
def test_domain_function_has_at_most_five_parameters(path: Path) -> None:
    tree = _tree(path)
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
        given = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        named = given[1:] if given[:1] in (["self"], ["cls"]) else given
        assert len(named) <= 5, f"{node.name}({', '.join(named)})"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_module_has_a_docstring(path: Path) -> None:
    docstring = ast.get_docstring(_tree(path))
    assert docstring, f"{path.relative_to(ROOT)} has no docstring: say what lives there"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_module_has_no_catch_all_name(path: Path) -> None:
    assert not {*path.relative_to(PACKAGE).with_suffix("").parts} & {
        "utils",
        "util",
        "helpers",
        "common",
        "manager",
        "misc",
    }


def _functions(path: Path) -> Iterator[tuple[str, str]]:
    """Name and code, without the docstring, of each function at the top of a test module."""
    for node in _tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            told = ast.get_docstring(node) is not None
            bare = copy.copy(node)
            bare.body = node.body[1:] if told else node.body
            yield node.name, ast.unparse(bare)


@pytest.mark.parametrize("path", TESTS, ids=lambda p: p.stem)
def test_test_module_imports_no_other_test_module(path: Path) -> None:
    imported = _imported(_tree(path))
    others = {name for name in imported if re.match(r"tests\..*\btest_", name)}
    assert not others, "what test modules share belongs into a module of its own"


def test_test_modules_define_no_function_twice() -> None:
    defined = defaultdict(list)
    for path in TESTS:
        for function in _functions(path):
            defined[function].append(str(path.relative_to(ROOT)))
    copies = {name: paths for (name, _), paths in defined.items() if len(paths) > 1}
    assert not copies, "what test modules share belongs into a module of its own"


def _rooms(heading: str) -> set[str]:
    """The rooms in the table of docs/how-it-works.md that follows ``heading``."""
    text = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8").partition(heading)[2]
    table = text.partition("|---|---|\n")[2].partition("\n\n")[0]
    return {
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }


def _modules(folder: Path) -> set[str]:
    """Modules and packages directly in a folder."""
    found = {p.stem for p in folder.glob("*.py")}
    found |= {p.parent.name for p in folder.glob("*/__init__.py")}
    return found - {"__init__"}


@pytest.mark.parametrize("bug", PLANTED.values(), ids=[*PLANTED])
def test_planted_bug_has_its_place(bug: Bug) -> None:
    """Otherwise only `make mutants` shows it, which is not run for each change."""
    assert (PACKAGE / "domain" / bug.file).read_text(encoding="utf-8").count(bug.sound) == 1


def test_code_map_names_every_package() -> None:
    assert _rooms("## Code map") == _modules(PACKAGE)
    assert _rooms("Inside of `domain`") == _modules(PACKAGE / "domain")


def test_decision_index_lists_every_decision() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    linked = re.findall(r"^\| \[(\d+)\]\(([^)]+)\)", index, re.MULTILINE)
    assert {name for _, name in linked} == {p.name for p in folder.glob("[0-9]*.md")}
    assert [int(number) for number, _ in linked] == list(range(1, len(linked) + 1))
    for number, name in linked:
        assert (folder / name).read_text(encoding="utf-8").startswith(f"# {number}. ")


CLOCKS = {"monotonic", "perf_counter", "seen", "time", "total_seconds"}


def _reads_clock(node: ast.AST) -> bool:
    """Whether a measured time is a part of it: of a clock, or of when a watcher saw a change."""
    return any(isinstance(n, ast.Attribute) and n.attr in CLOCKS for n in ast.walk(node))


@pytest.mark.parametrize("folder", ["cluster", "real"])
def test_no_test_asserts_measured_time(folder: str) -> None:
    """A busy machine is late: compare what objects and the audit log record (CONTRIBUTING.md)."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "tests" / folder).rglob("*.py"))
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Assert) and _reads_clock(node.test)
    ]
    assert not found
