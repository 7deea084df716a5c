"""A random sample of the bugs that a tool (mutmut) puts into domain/: ``--count 300 --seed 1``.

The tool tries each bug with the tests that execute its function: those of domain/, and the stories.
What lives is tried once more, in a process of its own (what the tool has cached hides a bug), and
with all other tests that use domain/ without a cluster: up to two minutes for each. What lives then
is printed with its change; exit code 1 if fewer than 95 % were noticed. Bugs that change nothing
that anybody could notice are in ``tests/mutants/equivalent.py``, with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.__main__ import outcome_of
from tests.mutants.equivalent import EQUIVALENT

__all__ = ["Living", "changed", "main", "report"]

ROOT = Path(__file__).parents[2]
TREE = ROOT / "build" / "mutants"
REPORT = ROOT / "build" / "mutants.md"
PACKAGE = Path("immutable_operator")
PYTHON = ROOT / ".venv-mutants" / "bin" / "python"
COPIED = ("tests", "crds", "charts", "docs", "examples")
FILES = ("README.md", "Makefile", "Dockerfile")
# What the tool tries for each bug, as far as it executes the function.
FIRST = ("tests/unit/test_domain_*.py", "tests/simulation/test_*stories.py")
# What is tried besides for the bugs that live, from the fastest on; of tests/unit and tests/wire
# what names the package of domain/, without that which judges the source.
THEN = (
    "tests/unit/test_*.py",
    "tests/wire/test_*.py",
    "tests/simulation/test_any_order.py",
    "tests/simulation/test_world*.py",
    "tests/simulation/test_upgrade.py",
)
JUDGES_SOURCE = "test_architecture.py"
AIM = 0.95
NAMES_DOMAIN = "immutable_operator.domain"
UNTRIED = "not checked"
# For one test: a bug may let it run forever.
SECONDS = 60
RESULT = re.compile(r"^\s*(\S+__mutmut_\d+): (.+)$", re.MULTILINE)
KILLED = ("killed", "timeout", "segfault", "caught by type check")


@dataclass(frozen=True)
class Living:
    """A bug that no test noticed: its name, and the lines that it changes."""

    name: str
    change: str

    @property
    def reason(self) -> str:
        """Why nobody can notice it; "" if that is not known."""
        return EQUIVALENT.get(self.change, "")


def main() -> int:
    options = _options()
    began = time.monotonic()
    _copy()
    _mutmut("run", "nothing")  # makes the bugs, and finds which tests execute what
    _check_sound()
    names = random.Random(options.seed).sample(_names(), options.count)
    print(f"trying {len(names)} bugs with the tests that execute them …", flush=True)
    said = _mutmut("run", "--max-children", "1", *names)
    results = dict(RESULT.findall(_mutmut("results", "--all", "true")))
    if any(results.get(name, UNTRIED) == UNTRIED for name in names):
        sys.exit(f"the tool did not try all of them:\n{said[-2000:]}")
    left = [name for name in names if results[name] not in KILLED]
    alive = list(_living(left))
    text, holds = report(options.seed, len(names), len(left), alive)
    REPORT.write_text(text)
    print(f"{text}\n{(time.monotonic() - began) / 60:.0f} minutes; the report is {REPORT}.")
    return 0 if holds else 1


def report(seed: int, count: int, left: int, alive: list[Living]) -> tuple[str, bool]:
    """Markdown, and whether enough were noticed of those that can be."""
    known = [living for living in alive if living.reason]
    unknown = [living for living in alive if not living.reason]
    share = 1 - len(unknown) / count
    lines = [
        f"# {count} bugs of a tool in domain/, sample {seed}",
        "",
        f"{count - left} were noticed by the tool, {left - len(alive)} by all tests in a process of"
        f" their own, {len(known)} cannot be noticed, {len(unknown)} live: {share:.1%}.",
        "",
        *(f"- cannot be noticed: `{living.name}`: {living.reason}" for living in known),
        *(f"- **lives**: `{living.name}`\n\n      {living.change}\n" for living in unknown),
    ]
    return "\n".join(lines) + "\n", share >= AIM


def changed(shown: str) -> str:
    """The lines that a bug changes, from what ``mutmut show`` prints: ``old -> new``."""
    lines = shown.splitlines()
    old = [line[1:].strip() for line in lines if re.match(r"-(?!-- )", line)]
    new = [line[1:].strip() for line in lines if re.match(r"\+(?!\+\+ )", line)]
    return f"{' '.join(old)} -> {' '.join(new)}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    return parser.parse_args()


def _copy() -> None:
    """The tool wants the package in src/. What it found out for the same files stays."""
    ignored = shutil.ignore_patterns("__pycache__")
    source = ROOT / "operator" / PACKAGE
    shutil.copytree(source, TREE / "src" / PACKAGE, ignore=ignored, dirs_exist_ok=True)
    for name in COPIED:
        shutil.copytree(ROOT / name, TREE / name, ignore=ignored, dirs_exist_ok=True)
    for name in FILES:
        shutil.copy(ROOT / name, TREE / name)
    project = (ROOT / "pyproject.toml").read_text()
    project = project.replace('pythonpath = ["operator", "."]', 'pythonpath = ["src", "."]')
    settings = {
        "source_paths": ["src"],
        "only_mutate": [f"src/{PACKAGE}/domain/*"],
        "also_copy": [*COPIED, *FILES],
        "pytest_add_cli_args": ["-p", "no:cacheprovider"],
        "pytest_add_cli_args_test_selection": _tests(FIRST),
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    table = ["[tool.mutmut]", *lines, "use_git_change_detection = false"]
    (TREE / "pyproject.toml").write_text(project + "\n" + "\n".join(table) + "\n")


def _tests(patterns: tuple[str, ...]) -> list[str]:
    found = [str(p.relative_to(TREE)) for t in patterns for p in sorted(TREE.glob(t))]
    return list(dict.fromkeys(found))


def _run(*command: str, folder: Path = TREE, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "quick", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [str(PYTHON), "-m", *command],
        cwd=folder,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def _mutmut(*words: str) -> str:
    return _run("mutmut", *words).stdout


def _names() -> list[str]:
    """The bugs that the tool made, as it stores them."""
    stored = sorted((TREE / "mutants" / "src" / PACKAGE / "domain").rglob("*.meta"))
    found = [name for path in stored for name in json.loads(path.read_text())["exit_code_by_key"]]
    if not found:
        sys.exit("the tool made no bugs: run it by hand in build/mutants to see why")
    return sorted(found)


def _check_sound() -> None:
    """A test that fails without a bug would notice each one."""
    print("running the tests without a bug …", flush=True)
    done = _try("")
    if done.returncode:
        sys.exit(f"tests fail without a bug:\n{done.stdout[-2000:]}")
    if not _try("fail").returncode:
        sys.exit("tests pass though the tool lets each function of domain/ fail")


def _living(left: list[str]) -> Iterator[Living]:
    """Yield those that no other test notices, either."""
    print(f"{len(left)} are left; they are tried with all tests …", flush=True)
    for number, name in enumerate(left, 1):
        done = _try(name)
        is_noticed = outcome_of(done.returncode, done.stdout).noticed
        print(f"  {number}/{len(left)} {'noticed' if is_noticed else 'LIVES'}: {name}", flush=True)
        if not is_noticed:
            yield Living(name, changed(_mutmut("show", name)))


def _try(name: str) -> subprocess.CompletedProcess[str]:
    """Run the other tests until one fails, with one bug of the mutated tree in effect."""
    tests = ("pytest", "-x", "-q", "-p", "no:cacheprovider", f"--timeout={SECONDS}", *_then())
    return _run(*tests, folder=TREE / "mutants", MUTANT_UNDER_TEST=name)


def _then() -> list[str]:
    first = _tests(FIRST)
    others = (path for path in _tests(THEN) if path not in first)
    return [*first, *filter(_uses_domain, others)]


def _uses_domain(path: str) -> bool:
    if path.endswith(JUDGES_SOURCE):
        return False
    return path.startswith("tests/simulation") or NAMES_DOMAIN in (TREE / path).read_text()


if __name__ == "__main__":
    sys.exit(main())
