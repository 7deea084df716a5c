"""``kubectl immutable completion``: prints what a shell, or kubectl, needs to complete commands."""

from __future__ import annotations

import argparse
from importlib.resources import files
from typing import Any

from immutable_operator.cli.arguments import Say

__all__ = ["SHELLS", "add", "run", "script"]

SHELLS = ("bash", "zsh", "fish", "kubectl")


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "completion",
        description="Prints a script. bash, zsh, fish: completes kubectl-immutable in that shell;"
        " its first lines say where to store it. kubectl: a program to store on the PATH under the"
        " name kubectl_complete-immutable; kubectl's own completion then completes kubectl"
        " immutable."
        " pip installs that program, krew does not.",
        epilog="Exit codes: 0 printed.",
    )
    command.add_argument("shell", choices=SHELLS, help="for which shell, or kubectl")
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Print the script and return the exit code."""
    show(script(given.shell))
    return 0


def script(shell: str) -> str:
    """Return the script for one of `SHELLS`."""
    folder = files("immutable_operator.cli") / "shells"
    return (folder / f"complete.{shell}").read_text(encoding="utf-8").rstrip("\n")
