"""Tries planted bugs: ``python -m tests.mutants [WORD ...]``, exit code 1 where one lives."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.planted import PLANTED, Bug

__all__ = ["Outcome", "main", "outcome_of"]

ROOT = Path(__file__).parents[2]
DOMAIN = Path("operator/immutable_operator/domain")
# What is quick and fails often comes first.
TESTS = (
    "tests/unit/test_domain_*.py",
    "tests/simulation/test_*stories.py",
    "tests/unit/test_runtime_loop.py",
    "tests/simulation/test_any_order.py",
    "tests/simulation/test_world.py",
)
OF_NODES = (
    "tests/simulation/test_world_of_pools.py",
    "tests/unit/test_domain_node*.py",
    "tests/unit/test_instances_nodes.py",
    "tests/wire/test_nodes_driver.py",
    "tests/wire/test_karpenter.py",
)
FAILED = re.compile(r"^(?:FAILED|ERROR) (?:.*/)?(.+?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What became of one planted bug: whether a test noticed it, and a sentence about it."""

    noticed: bool
    said: str


def main(words: list[str]) -> int:
    """Try each in a copy of the tree; print which test noticed it, and after how long."""
    chosen = {n: b for n, b in PLANTED.items() if not words or any(w in n for w in words)}
    misplaced = [name for name, bug in chosen.items() if _times(bug) != 1]
    if misplaced:
        print("not planted, their places are not found:", *misplaced, sep="\n  ")
        return 1
    alive = []
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        _copy(tree)
        for number, (name, bug) in enumerate(chosen.items(), 1):
            began = time.monotonic()
            outcome = _try(tree, bug)
            took = time.monotonic() - began
            print(f"{number:3}/{len(chosen)} {name}: {outcome.said} ({took:.0f} s)", flush=True)
            if not outcome.noticed:
                alive.append(name)
    print(f"{len(chosen) - len(alive)} of {len(chosen)} were noticed")
    return 1 if alive else 0


def _times(bug: Bug) -> int:
    return (ROOT / DOMAIN / bug.file).read_text().count(bug.sound)


def _copy(tree: Path) -> None:
    for name in ("operator", "tests", "crds", "charts", "docs", "examples"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "Makefile", "Dockerfile"):
        shutil.copy(ROOT / name, tree / name)


def _try(tree: Path, bug: Bug) -> Outcome:
    """Run the tests in a copy of the tree with the bug, until one fails."""
    path = tree / DOMAIN / bug.file
    sound = path.read_text()
    path.write_text(sound.replace(bug.sound, bug.sick))
    patterns = (*OF_NODES, *TESTS) if bug.of_nodes else TESTS
    found = [str(p.relative_to(tree)) for t in patterns for p in sorted(tree.glob(t))]
    tests = list(dict.fromkeys(found))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "fixed", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, check=False
        )
    finally:
        path.write_text(sound)
    return outcome_of(done.returncode, done.stdout)


def outcome_of(code: int, printed: str) -> Outcome:
    """Judge a run of pytest by its exit code (negative: minus the signal) and what it printed.

    A run that a signal ended (too little memory, somebody's kill) says nothing about the bug.
    """
    if code < 0:
        name = signal.Signals(-code).name
        return Outcome(False, f"UNKNOWN, pytest was ended by {name}; try it again")
    if not code:
        return Outcome(False, "LIVES")
    failed = FAILED.search(printed)
    return Outcome(True, f"noticed by {failed.group(1) if failed else printed.strip()[-200:]}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
