"""``kubectl immutable suspend`` and ``resume``: stop replacing, and go on."""

from __future__ import annotations

import argparse
from typing import Any

from immutable_operator.cli.action import PLUGIN, carry_out, wanted
from immutable_operator.cli.arguments import Say, add_owner, add_reason, add_wait, place
from immutable_operator.cli.asked import read_asked
from immutable_operator.cli.contents import Contents
from immutable_operator.cli.owner import Owner, with_owner
from immutable_operator.cli.records import named
from immutable_operator.cli.status import follow
from immutable_operator.domain.model import Command

__all__ = ["add", "add_resume", "resume", "suspend"]


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "suspend",
        description="Sets spec.suspend: no pod is created or replaced until it is resumed, and"
        " lost pods are not replaced either. Existing pods keep running. If spec.suspend"
        " is in Git, change it there instead. To delay only rollouts and regeneration, use a"
        " freeze.",
        epilog="Exit codes: 0 suspended, 2 cannot run.",
    )
    add_owner(command)
    command.set_defaults(run=suspend)


def add_resume(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "resume",
        description="Ends a suspension: sets spec.suspend to false. If the service is not"
        " suspended, it ends an undo: an ImmutableAction rolls out the revision that the spec asks"
        " for and that was rejected; it records the user, the reason and the outcome.",
        epilog="Exit codes: 0 accepted (with --wait: done), 1 failed or timed out, 2 cannot run.",
    )
    add_owner(command)
    add_reason(command, ", if an undo is ended")
    add_wait(command)
    command.set_defaults(run=resume)


async def suspend(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Suspend the owner and return the exit code."""

    async def work(owner: Owner) -> int:
        if owner.body["spec"].get("suspend"):
            say(f"{owner.kind.word} {owner.name} is suspended already")
            return 0
        await _set(owner, True)
        show(f"{owner.kind.word} {owner.name} suspended")
        say(f"to replace pods again: kubectl immutable resume {owner.name}")
        return 0

    return await with_owner(place(given), work, say)


async def resume(given: argparse.Namespace, say: Say, show: Say) -> int:
    """End a suspension, or an undo; return the exit code."""
    timeout = given.timeout if given.wait else 0.0

    async def work(owner: Owner) -> int:
        if not owner.body["spec"].get("suspend"):
            return await carry_out(owner, wanted(given, Command.RESUME), say, show)
        await _set(owner, False)
        show(f"{owner.kind.word} {owner.name} resumed")
        await _mention_rejected(owner, say)
        return await follow(await owner.again(), timeout, say) if timeout else 0

    return await with_owner(place(given), work, say)


async def _set(owner: Owner, value: bool) -> None:
    body = {"metadata": {"uid": owner.body["metadata"]["uid"]}, "spec": {"suspend": value}}
    await owner.client.patch(owner.path, body, resource=owner.kind.path.resource, manager=PLUGIN)


async def _mention_rejected(owner: Owner, say: Say) -> None:
    """Say if the revision that the spec asks for was rejected before: it still is."""
    records = await owner.records()
    asked = await read_asked(owner, records, Contents(owner.client, owner.namespace))
    by = ((asked.record or {}).get("status") or {}).get("rejectedBy")
    if asked.record and by:
        say(
            f"{named(asked.record)}, which the spec asks for, is still rejected by {by}; to roll it"
            f" out: kubectl immutable resume {owner.name}"
        )
