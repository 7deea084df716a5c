"""Runs a program in separate mount and process namespaces, and reports its progress.

Its mounts and processes end together with it, for any reason.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ConfinedError", "Task", "run"]

SAY_SECONDS = 5.0
TAIL_LINES = 30
# setpriv: the kernel kills it when the thread that called this ends; unshare passes that on.
PREFIX = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--propagation", "private"),
    *("--pid", "--fork", "--kill-child", "--mount-proc"),
)


class ConfinedError(RuntimeError):
    """The program failed; the message contains the end of its output."""


@dataclass(frozen=True)
class Task:
    """Description of the program, and its usual duration on two cores."""

    title: str
    usual_seconds: int
    say: Callable[[str], None] = lambda text: None


def run(
    task: Task,
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[str]:
    """Run it as root until it ends and return the lines of its output, including errors.

    Raises `ConfinedError` when it fails.
    """
    process = subprocess.Popen(
        [*PREFIX, *command],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        umask=0o022,
    )
    assert process.stdout is not None
    lines: list[str] = []
    began = last_said = time.monotonic()
    with process:
        for line in process.stdout:
            lines.append(line.rstrip())
            now = time.monotonic()
            if now - last_said >= SAY_SECONDS:
                last_said = now
                spent = _minutes(int(now - began))
                usual = _minutes(task.usual_seconds)
                task.say(f"{task.title}: {spent} of about {usual}, {lines[-1].strip()[:60]}")
    if process.returncode:
        end = "\n".join(lines[-TAIL_LINES:])
        raise ConfinedError(f"{task.title}: {command[0]} failed ({process.returncode}):\n{end}")
    return lines


def _minutes(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02d}"
