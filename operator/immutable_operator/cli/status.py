"""``kubectl immutable status``: waits until a service is ready, or cannot go on."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

from immutable_operator.cli.action import NOT_ANSWERED
from immutable_operator.cli.arguments import Say, add_output, add_owner, place, seconds
from immutable_operator.cli.objects import Json, condition
from immutable_operator.cli.owner import Owner, with_owner
from immutable_operator.cli.table import visible
from immutable_operator.cli.written import as_text
from immutable_operator.kube.errors import NotFound

__all__ = ["FAILED", "LATE", "READY", "WAITS", "add", "follow", "judged", "run"]

READY, FAILED, LATE, WAITS = 0, 1, 3, 4
RESULTS = {READY: "Ready", FAILED: "Failed", LATE: "Late", WAITS: "Waits"}
POLL_SECONDS = 0.5
WAITING_FOR_PROMOTION = "WaitingForPromotion"


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "status",
        description="Prints a line for each change of the state of a service, until all its pods"
        " are of the revision that the spec asks for and available, or until the operator cannot"
        " continue without you.",
        epilog="Exit codes: 0 ready, 1 stalled, rolled back or deleted, 3 timed out, 4 waits for a"
        " promotion by a user, 2 cannot run.",
    )
    add_owner(command)
    add_output(command, "json", "yaml")
    command.add_argument(
        "--timeout", type=seconds, default=600.0, help="maximum number of seconds to wait [600]"
    )
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Wait and return the exit code."""

    async def work(owner: Owner) -> int:
        if given.output == "table":
            return await follow(owner, given.timeout, show)
        lines: list[str] = []

        def note(line: str) -> None:
            lines.append(line)
            say(line)

        code = await follow(owner, given.timeout, note)
        about = {owner.kind.word: owner.name, "namespace": owner.namespace}
        result = {**about, "result": RESULTS[code], "message": lines[-1]}
        show(as_text(result, given.output))
        return code

    return await with_owner(place(given), work, say)


async def follow(owner: Owner, timeout: float, show: Say) -> int:
    """Print each change until the state is final; return the exit code. Raises `ApiError`."""
    deadline, told = time.monotonic() + timeout, ""
    while True:
        code, line = judged(owner.body, owner.name)
        if line != told:
            show(visible(line))
            told = line
        if code is not None:
            return code
        if time.monotonic() >= deadline:
            show(f"not ready within {timeout:g} s; see: kubectl immutable why {owner.name}")
            return LATE
        await asyncio.sleep(POLL_SECONDS)
        try:
            owner = await owner.again()
        except NotFound:
            show(f"{owner.kind.word} {owner.name} was deleted")
            return FAILED
        except NOT_ANSWERED as error:
            # Only the deadline ends the wait.
            line = f"waiting for the API server: {error}"
            if line != told:
                show(visible(line))
                told = line


def judged(body: Json, name: str) -> tuple[int | None, str]:
    """Return the exit code, None if the state is not final, and the state in one line."""
    status = body.get("status") or {}
    if status.get("observedGeneration", -1) != body["metadata"].get("generation"):
        return None, f"{name}: the operator has not processed the latest change of the spec yet"
    for kind, code in (("Ready", READY), ("Stalled", FAILED)):
        found = condition(body, kind)
        if found.get("status") == "True":
            return code, f"{name}: {kind}, {found['reason']}: {_short(found)}"
    found = condition(body, "Reconciling") or condition(body, "Ready")
    kind = "Reconciling" if found.get("status") == "True" else "not Ready"
    return _waits(body, found), f"{name}: {kind}, {found.get('reason', 'Unknown')}: {_short(found)}"


def _waits(body: Json, found: Json) -> int | None:
    """Return that nothing goes on before a user promotes the revision, else None."""
    way = body["spec"].get("rollout", {}).get("blueGreen", {})
    by_hand = way.get("promotion", "Manual") == "Manual"
    return WAITS if by_hand and found.get("reason") == WAITING_FOR_PROMOTION else None


def _short(found: Json) -> str:
    return " ".join(str(found.get("message", "")).split())
