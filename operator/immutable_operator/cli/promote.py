"""``kubectl immutable promote`` and ``abort``: what becomes of a revision that waits beside."""

from __future__ import annotations

import argparse
from typing import Any

from immutable_operator.cli.action import act, wanted
from immutable_operator.cli.arguments import Say, add_override, add_owner, add_reason, add_wait
from immutable_operator.domain.model import Command

__all__ = ["add", "add_abort", "run", "run_abort"]


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "promote",
        description="Creates an ImmutableAction: with strategy BlueGreen, the traffic is switched"
        " to the revision that the spec asks for, once all of its instances are available; with"
        " strategy Canary, a pause of its steps ends. The action records the user, the reason and"
        " the outcome.",
        epilog="Exit codes: 0 accepted (with --wait: the revision has the traffic, or the pause has"
        " ended), 1 failed or timed out, 2 cannot run.",
    )
    add_owner(command)
    add_override(
        command, "promote even during a freeze; requires the permission to override freezes"
    )
    add_wait(command)
    command.set_defaults(run=run)


def add_abort(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "abort",
        description="Creates an ImmutableAction: with strategy BlueGreen or Canary, the revision"
        " that the spec asks for is rejected before it is complete, and its instances are removed."
        " It is not rolled out again until the template or its configuration changes, or until"
        " kubectl immutable resume.",
        epilog="Exit codes: 0 accepted (with --wait: its instances are gone), 1 failed or timed"
        " out, 2 cannot run.",
    )
    add_owner(command)
    add_reason(command)
    add_wait(command)
    command.set_defaults(run=run_abort)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Create the action and return the exit code."""
    return await act(given, wanted(given, Command.PROMOTE), say, show)


async def run_abort(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Create the action and return the exit code."""
    return await act(given, wanted(given, Command.ABORT), say, show)
