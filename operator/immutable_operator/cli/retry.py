"""``kubectl immutable retry``: roll out again what failed."""

from __future__ import annotations

import argparse
from typing import Any

from immutable_operator.cli.action import act, wanted
from immutable_operator.cli.arguments import Say, add_owner, add_reason, add_wait
from immutable_operator.domain.model import Command

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "retry",
        description="Creates an ImmutableAction: the revision that the spec asks for, and that"
        " failed, is rolled out again. The action records the user, the reason and the outcome.",
        epilog="Exit codes: 0 accepted (with --wait: the revision runs), 1 failed or timed out, 2"
        " cannot run.",
    )
    add_owner(command)
    add_reason(command)
    add_wait(command)
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Create the action and return the exit code."""
    return await act(given, wanted(given, Command.RETRY), say, show)
