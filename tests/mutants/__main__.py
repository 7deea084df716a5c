"""Tries planted bugs: ``python -m tests.mutants [WORD ...]``, exit code 1 where one lives."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutants.planted import PLANTED, Bug

ROOT = Path(__file__).parents[2]
DOMAIN = Path("operator/immutable_operator/domain")
# What is quick and fails often comes first.
TESTS = (
    "tests/unit/test_domain_*.py",
    "tests/simulation/test_stories.py",
    "tests/unit/test_runtime_loop.py",
    "tests/simulation/test_any_order.py",
    "tests/simulation/test_world.py",
)
OF_NODES = (
    "tests/simulation/test_world_of_pools.py",
    "tests/unit/test_domain_node*.py",
    "tests/unit/test_instances_nodes.py",
    "tests/wire/test_nodes_driver.py",
)
FAILED = re.compile(r"^(?:FAILED|ERROR) (?:.*/)?(.+?)(?: - .*)?$", re.MULTILINE)


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
            noticed = _noticed(tree, bug)
            verdict = f"noticed by {noticed}" if noticed else "LIVES"
            took = time.monotonic() - began
            print(f"{number:3}/{len(chosen)} {name}: {verdict} ({took:.0f} s)", flush=True)
            if not noticed:
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


def _noticed(tree: Path, bug: Bug) -> str:
    """The first test that fails with the bug, "" where none does."""
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
    if not done.returncode:
        return ""
    failed = FAILED.search(done.stdout)
    return failed.group(1) if failed else done.stdout.strip()[-200:]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
