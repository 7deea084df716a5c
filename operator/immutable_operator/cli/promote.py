"""``kubectl immutable promote`` and ``abort``: what becomes of a revision that waits beside."""

from __future__ import annotations

import argparse
from typing import Any

from immutable_operator.cli.action import Wanted, act
from immutable_operator.cli.arguments import Say, add_owner, add_reason, add_wait
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
    add_reason(command, "; required with --override-freeze")
    command.add_argument(
        "--override-freeze",
        action="store_true",
        help="promote even during a freeze; requires the permission to override freezes",
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
    return await _act(given, Command.PROMOTE, say, show, override=given.override_freeze)


async def run_abort(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Create the action and return the exit code."""
    return await _act(given, Command.ABORT, say, show)


async def _act(
    given: argparse.Namespace, command: Command, say: Say, show: Say, *, override: bool = False
) -> int:
    timeout = given.timeout if given.wait else 0.0
    reason = given.reason or ""
    wanted = Wanted(command, reason=reason, override_freeze=override, timeout=timeout)
    return await act(given, wanted, say, show)
