"""``kubectl immutable regenerate``: replaces instances by others of the same revision."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from immutable_operator.cli.action import act, wanted
from immutable_operator.cli.arguments import Say, add_override, add_owner, add_wait
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
    add_override(command)
    add_wait(command)
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Create the action; with --wait wait for its end. Returns the exit code."""
    action = replace(wanted(given, Command.REGENERATE), instance=given.instance)
    return await act(given, action, say, show)
