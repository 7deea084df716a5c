"""Creates an ImmutableAction and reports its progress: what all verbs that change something do."""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import dataclass

import msgspec

from immutable_operator.api.names import ACTION_KIND, API_VERSION
from immutable_operator.cli.arguments import Say, place
from immutable_operator.cli.objects import Json
from immutable_operator.cli.owner import Owner, with_owner
from immutable_operator.cli.problem import INTERRUPTED
from immutable_operator.domain.model import Command
from immutable_operator.kube.errors import (
    ApiError,
    Conflict,
    NotFound,
    ServerTrouble,
    TooManyRequests,
    Unreachable,
)
from immutable_operator.wire.action import ACTIONS, ENDED

__all__ = ["INTERRUPTED", "NOT_ANSWERED", "PLUGIN", "Wanted", "act", "carry_out", "wanted"]

# The name of the plug-in as a field manager. Flux removes the fields of all managers whose name
# begins with "kubectl", such as a spec.suspend that is not in Git.
PLUGIN = "immutable-cli"
POLL_SECONDS = 0.5
# How long to wait for the first answer of the operator if the user does not want to wait.
ANSWER_SECONDS = 3.0
OPERATOR = "kubectl get pods -A -l app.kubernetes.io/name=immutable-operator"
NOT_ANSWERED = (ServerTrouble, TooManyRequests, Unreachable)


@dataclass(frozen=True)
class Wanted:
    """An action to create. ``timeout`` in seconds until it has ended; 0 means not to wait.

    ``revision`` is the id of a revision.
    """

    command: Command
    reason: str = ""
    instance: str = ""
    revision: str = ""
    override_freeze: bool = False
    timeout: float = 0.0

    def spec(self, owner: Owner) -> Json:
        """Return the spec of the action for a service or pool."""
        optional = {
            "instance": self.instance,
            "revision": self.revision,
            "reason": self.reason,
            "overrideFreeze": self.override_freeze,
        }
        given = {key: value for key, value in optional.items() if value}
        return {"type": str(self.command), owner.kind.word: owner.name, **given}


def wanted(given: argparse.Namespace, command: Command) -> Wanted:
    """Return the action that the options of a verb describe."""
    return Wanted(
        command,
        reason=given.reason or "",
        override_freeze=getattr(given, "override_freeze", False),
        timeout=given.timeout if given.wait else 0.0,
    )


async def act(given: argparse.Namespace, wanted: Wanted, say: Say, show: Say) -> int:
    """Carry out an action on the owner that the command line names; return the exit code."""

    async def work(owner: Owner) -> int:
        return await carry_out(owner, wanted, say, show)

    return await with_owner(place(given), work, say)


async def carry_out(owner: Owner, wanted: Wanted, say: Say, show: Say) -> int:
    """Create the action and report its progress. Returns the exit code: 0 done, or accepted if
    there is no timeout; 1 failed or timed out; 130 interrupted. Raises `ApiError`."""
    name = await _create(owner, wanted)
    show(f"immutableaction.immutable.dev/{name} created")
    followed = _Followed(owner, name, wanted.timeout, say)
    try:
        return await followed.run()
    except asyncio.CancelledError:
        say(f"interrupted; the action continues, see its progress: {followed.see}")
        return INTERRUPTED


class _Followed:
    """An action whose progress is reported."""

    def __init__(self, owner: Owner, name: str, timeout: float, say: Say) -> None:
        self._owner, self._name = owner, name
        self._waits, self._seconds = bool(timeout), timeout or ANSWER_SECONDS
        self._say = say
        self._told = ""
        self.see = f"kubectl get imact {name} -n {owner.namespace} -o wide"

    async def run(self) -> int:
        """Return the exit code. Raises `ApiError`."""
        deadline, status = time.monotonic() + self._seconds, {}
        while time.monotonic() < deadline:
            try:
                status = await self._status()
            except NotFound:
                self._tell(f"error: action {self._name} was deleted before it ended")
                return 1
            except NOT_ANSWERED as error:
                self._tell(f"waiting for the API server: {error}")
            else:
                if (code := self._reported(status)) is not None:
                    return code
            await asyncio.sleep(POLL_SECONDS)
        return self._late(status)

    async def _status(self) -> Json:
        item = ACTIONS.item(self._owner.namespace, self._name)
        page = await self._owner.client.get(item, resource=ACTIONS.resource)
        return msgspec.json.decode(page).get("status") or {}

    def _reported(self, status: Json) -> int | None:
        """Report the status; return the exit code if nothing is left to wait for."""
        phase = str(status.get("phase") or "")
        if phase or self._waits:
            message = status.get("message") or ("" if phase else "not processed yet")
            self._tell(f"{phase or 'Pending'}{': ' if message else ''}{message}")
        if phase in ENDED:
            return 0 if phase == "Succeeded" else 1
        return None if self._waits or not phase else self._accepted()

    def _accepted(self) -> int:
        self._say(f"see its progress: {self.see}")
        return 0

    def _late(self, status: Json) -> int:
        if not self._waits:
            return self._accepted()
        if not status.get("phase"):
            advice = f"it is carried out when one runs; see: {OPERATOR}"
            what = f"no operator has processed the action within {self._seconds:g} s"
            self._say(f"error: {what}; {advice}")
        else:
            self._say(f"error: not done within {self._seconds:g} s; see its progress: {self.see}")
        return 1

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._say(text)


async def _create(owner: Owner, wanted: Wanted) -> str:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    for attempt in range(5):
        suffix = f"-{attempt}" if attempt else ""
        name = f"{owner.name}-{wanted.command.lower()}-{stamp}{suffix}"
        body = {
            "apiVersion": API_VERSION,
            "kind": ACTION_KIND,
            "metadata": {"name": name, "namespace": owner.namespace},
            "spec": wanted.spec(owner),
        }
        try:
            collection = ACTIONS.collection(owner.namespace)
            await owner.client.create(collection, body, resource=ACTIONS.resource, manager=PLUGIN)
        except Conflict:
            continue
        return name
    again = f"the names of actions of {owner.name} for this second are in use; run the command"
    " again"
    raise ApiError(409, "AlreadyExists", again)
