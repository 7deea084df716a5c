"""The demo, run as users run it, and what it must have shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.controlplane.access import find_kubectl

__all__ = ["PODS", "REPLACED", "ROOT", "SECONDS", "Demo", "assert_replaced"]

ROOT = Path(__file__).parents[2]
SECONDS = 240  # a whole demo on a busy machine; about 20 on an idle one
PODS = 4
REPLACED = re.compile(r"slot (\d)  (web-im\w{8}-\w{5}) -> (web-im\w{8}-\w{5})$", re.MULTILINE)


@dataclass(frozen=True)
class Demo:
    """Runs ``python -m examples.demo`` with an environment of its own."""

    environment: Mapping[str, str]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "examples.demo", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and all that was printed."""
        process = self.start(*arguments)
        try:
            text, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            text, _ = process.communicate()
            pytest.fail(f"the demo did not end within {SECONDS} s; it printed:\n{text}")
        return process.returncode, text

    def shell(self, command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """A command line as a user types it."""
        path = f"{find_kubectl().parent}:{os.environ['PATH']}"
        return subprocess.run(
            ["sh", "-c", command],
            cwd=ROOT,
            env={**os.environ, **self.environment, "PATH": path},
            capture_output=True,
            text=True,
            timeout=timeout,
        )


def assert_replaced(printed: str) -> None:
    """Each of the pods was replaced once, by one that was ready before it left."""
    pairs = REPLACED.findall(printed)
    assert sorted(slot for slot, _, _ in pairs) == [str(slot) for slot in range(PODS)], printed
    for slot, old, new in pairs:
        story = [line.split("  ", 3)[-1] for line in printed.splitlines() if f"slot {slot}" in line]
        order = [i for i, line in enumerate(story) if f"{new} is ready" in line]
        order += [i for i, line in enumerate(story) if f"{old} is terminating" in line]
        assert len(order) == 2, printed
        assert order == sorted(order), printed
    assert f"At least {PODS} of {PODS} pods were always available" in printed
    assert "Each pod was removed after its successor was ready" in printed
    assert "why: Outdated: revision 2" in printed
