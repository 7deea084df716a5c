"""``kubectl immutable regenerate``: replaces instances by others of the same revision."""

from __future__ import annotations

import argparse
from typing import Any

from immutable_operator.cli.action import Wanted, act
from immutable_operator.cli.arguments import Say, add_owner, add_reason, add_wait
from immutable_operator.domain.model import Command

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "regenerate",
        description="Creates an ImmutableAction: each existing instance is replaced by one of the"
        " same revision, as in a rollout; PodDisruptionBudgets are respected. The action records"
        " the user, the reason and the outcome (kubectl get imact).",
        epilog="Exit codes: 0 created (with --wait: done), 1 failed or timed out, 2 cannot run.",
    )
    add_owner(command)
    command.add_argument(
        "--instance", default="", help="name of a single pod or node to replace [all]"
    )
    add_reason(command, "; required with --override-freeze")
    command.add_argument(
        "--override-freeze",
        action="store_true",
        help="carry it out even if an ImmutableFreeze applies",
    )
    add_wait(command)
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Create the action; with --wait wait for its end. Returns the exit code."""
    wanted = Wanted(
        Command.REGENERATE,
        reason=given.reason or "",
        instance=given.instance,
        override_freeze=given.override_freeze,
        timeout=given.timeout if given.wait else 0.0,
    )
    return await act(given, wanted, say, show)
