"""``kubectl immutable undo``: rejects the revision that the spec asks for, and goes back."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from immutable_operator.cli.action import carry_out, wanted
from immutable_operator.cli.arguments import (
    Say,
    add_override,
    add_owner,
    add_wait,
    place,
)
from immutable_operator.cli.owner import Owner, with_owner
from immutable_operator.cli.records import find_good, identity
from immutable_operator.domain.model import Command

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "undo",
        description="Creates an ImmutableAction: the revision that the spec asks for is rejected,"
        " and another one runs instead, with its configuration, until the template or its"
        " configuration changes or until kubectl immutable resume. The spec is not changed. The"
        " action records the user, the reason and the outcome.",
        epilog="Exit codes: 0 accepted (with --wait: the other revision runs), 1 failed or timed"
        " out, 2 cannot run.",
    )
    add_owner(command)
    command.add_argument(
        "--to",
        default="",
        metavar="N",
        help="number or id of the revision to go back to [the last good one]",
    )
    add_override(
        command,
        "carry it out even if an ImmutableFreeze applies; not needed for the last good"
        " revision, which no freeze delays",
    )
    add_wait(command)
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Create the action and return the exit code."""
    action = wanted(given, Command.ROLL_BACK)

    async def work(owner: Owner) -> int:
        to = ""
        if given.to:
            # The operator checks it, too; but only a command that waits shows its answer.
            to = identity(find_good(await owner.records(), given.to))
        return await carry_out(owner, replace(action, revision=to), say, show)

    return await with_owner(place(given), work, say)
