"""Tries one path: sends the request, finds the layer that refuses it, or watches the operator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from immutable_operator.api.names import ANNOTATION_BECAUSE, ANNOTATION_REPLACES
from immutable_operator.cli.objects import (
    Json,
    annotation,
    condition,
    is_ready,
    is_there,
    wait,
)
from immutable_operator.cli.outcome import Outcome, Refusal, Result, refusal
from immutable_operator.cli.path import FORGED_END, Heals, Path, Target
from immutable_operator.cli.person import Person, Request
from immutable_operator.cli.throwaway import ThrowAway
from immutable_operator.domain.model import Because
from immutable_operator.kube.errors import ApiError, Unreachable
from immutable_operator.kube.times import moment

__all__ = ["attempt"]

CONNECT_SECONDS = 5.0
# How long to wait for a report if the change cannot be healed.
REPORT_SECONDS = 1.5
# How long to wait for healing if it is not promised.
PATIENCE_SECONDS = 10.0
# Timestamps of objects and containers have whole seconds.
CLOCK_SECONDS = 2.5


async def attempt(
    path: Path, away: ThrowAway, person: Person, *, reported: bool, timeout: float
) -> Outcome:
    """Try one path on a fresh instance, as ``person``; the service can be used for the next path.

    ``reported``: the service has ``onTaint: Report``, so that the expected result is Reported.
    """
    outcome = await _attempt(path, away, person, reported=reported, timeout=timeout)
    if path.gated:
        await away.ungate()
    return outcome


async def _attempt(
    path: Path, away: ThrowAway, person: Person, *, reported: bool, timeout: float
) -> Outcome:
    target = await _target(path, away)
    expected = Result.REPORTED if reported and path.heals is Heals.SUCCESSOR else path.expected
    row = _Row(path, expected)
    if path.heals is Heals.ALL:
        await asyncio.sleep(max(map(_age_missing, await away.pods())))
    began = time.monotonic()
    try:
        said = await _refusal(path, path.ask(target), person)
    except ApiError as error:
        return row.outcome(Result.NOT_COVERED, detail=f"the request failed: {error}")
    if isinstance(said, Refusal):
        return row.outcome(Result.PREVENTED, said.layer, said.detail)
    if path.dry_because:
        return row.outcome(
            Result.NOT_COVERED,
            detail=f"tried only as a dry run, which succeeded: {path.dry_because}",
        )
    outcome = await _watch(row, target, said, timeout, began, reported=reported)
    if outcome.result is not Result.HEALED:
        await _undo(path, target)
    return outcome


class _Row:
    """The known part of a row before the path is tried."""

    def __init__(self, path: Path, expected: Result) -> None:
        self.path = path
        self.expected = expected

    def outcome(
        self, result: Result, layer: str = "", detail: str = "", seconds: float | None = None
    ) -> Outcome:
        path = self.path
        return Outcome(path.id, path.what, result, self.expected, layer, detail, seconds)


async def _target(path: Path, away: ThrowAway) -> Target:
    if path.gated:
        pod = await away.gated()
    else:
        pod = await away.fresh(everyone=path.heals is Heals.ALL)
    known = frozenset(pod["metadata"]["uid"] for pod in await away.pods())
    return Target(away, await away.service(), pod, await away.revision(), known)


def _age_missing(pod: Json) -> float:
    """Seconds until a new object is visibly younger than the container of the pod."""
    ready = condition(pod, "Ready").get("lastTransitionTime")
    return max(0.0, moment(ready) + CLOCK_SECONDS - time.time()) if ready else CLOCK_SECONDS


async def _refusal(path: Path, request: Request, person: Person) -> Refusal | str:
    """The refusal of the request, or else a description of the answer. Raises ApiError if
    unclear."""
    within = CONNECT_SECONDS if path.connects else 15.0
    try:
        await person.send(request.dry() if path.dry_because else request, within)
    except ApiError as error:
        if found := refusal(error, path.own_words):
            return found
        if path.connects:
            # A simulated or sleeping pod does not answer, but the request reached it.
            answer = "no answer" if isinstance(error, Unreachable) else error.message
            return f"the API server forwarded the request ({answer[:120]})"
        raise
    return "the API server accepted the request"


async def _watch(
    row: _Row, target: Target, said: str, timeout: float, began: float, *, reported: bool
) -> Outcome:
    """Watch the reaction of the operator to a request that was accepted."""
    path = row.path
    check = CHECKS.get(path.heals)
    if path.heals is Heals.ALL:
        await target.away.create_settings("2")

    async def done() -> tuple[str, str] | None:
        if check and (because := await check(target)):
            return "", because
        told = await _told(target) if reported or not check else ""
        return ("told", told) if told else None

    within = timeout if path.expected is Result.HEALED else min(timeout, PATIENCE_SECONDS)
    found = await wait(done, within if check else REPORT_SECONDS)
    if found and not found[0]:
        layer = "L4/L5 detection" if path.heals in DETECTED else "L5 operator"
        return row.outcome(Result.HEALED, layer, found[1], time.monotonic() - began)
    if told := found[1] if found else await _told(target):
        return row.outcome(Result.REPORTED, "L4 detection", told)
    late = f"; not healed within {within:g} s" if check else ""
    return row.outcome(Result.NOT_COVERED, detail=f"{said}{late}")


async def _told(target: Target) -> str:
    """The deviation of the instance in the status of the service; "" if there is none."""
    deviations: list[Json] = (await target.away.service()).get("status", {}).get("deviations") or []
    return next((str(d["message"]) for d in deviations if d["instance"] == target.instance), "")


async def _replaced(target: Target) -> str:
    """The reason in the birth certificate of the ready successor; "" until there is one."""
    pods = await target.away.pods()
    uid = target.pod["metadata"]["uid"]
    if any(pod["metadata"]["uid"] == uid and is_there(pod) for pod in pods):
        return ""
    return _cause(pods, target.instance)


def _cause(pods: list[Json], name: str) -> str:
    for pod in pods:
        because = Because.read(annotation(pod, ANNOTATION_BECAUSE))
        if annotation(pod, ANNOTATION_REPLACES) == name and because and because.deviates:
            return str(because) if is_ready(pod) else ""
    return ""


async def _reborn(target: Target) -> str:
    ready = [pod["metadata"]["uid"] for pod in await target.away.pods() if is_ready(pod)]
    return "another instance replaced it" if {*ready} - target.known else ""


async def _born(target: Target) -> str:
    pods = await target.away.pods(target.away.gated_name)
    found = [p for p in pods if annotation(p, ANNOTATION_REPLACES) == target.instance]
    because = Because.read(annotation(found[0], ANNOTATION_BECAUSE)) if found else None
    return str(because) if because and because.deviates else ""


async def _retired(target: Target) -> str:
    pods = [pod for pod in await target.away.pods() if is_there(pod)]
    forged = any(pod["metadata"]["name"].endswith(FORGED_END) for pod in pods)
    return "" if forged else "it was removed"


async def _true_status(target: Target) -> str:
    status: dict[str, Any] = (await target.away.service()).get("status", {})
    ready = status.get("readyReplicas")
    return "the status is correct again" if ready == target.service["spec"]["replicas"] else ""


async def _on_record(target: Target) -> str:
    name, uid = (target.revision["metadata"][key] for key in ("name", "uid"))
    found = [r["metadata"] for r in await target.away.revisions()]
    again = any(meta["name"] == name and meta["uid"] != uid for meta in found)
    return "it was recreated" if again else ""


async def _all_replaced(target: Target) -> str:
    pods = await target.away.pods()
    ready = [pod for pod in pods if is_ready(pod)]
    causes = {annotation(pod, ANNOTATION_BECAUSE) for pod in ready}
    drifted = all(cause.startswith("Drifted: ConfigMap") for cause in causes)
    enough = len(ready) >= target.service["spec"]["replicas"]
    return min(causes) if drifted and enough and len(ready) == len(pods) else ""


DETECTED = (Heals.SUCCESSOR, Heals.BORN, Heals.RETIRED, Heals.ALL)
CHECKS: dict[Heals, Callable[[Target], Awaitable[str]]] = {
    Heals.SUCCESSOR: _replaced,
    Heals.REBIRTH: _reborn,
    Heals.BORN: _born,
    Heals.RETIRED: _retired,
    Heals.STATUS: _true_status,
    Heals.RECORD: _on_record,
    Heals.ALL: _all_replaced,
}


async def _undo(path: Path, target: Target) -> None:
    """Delete what the attempt created, or the instance that it changed."""
    if path.heals is Heals.STATUS:
        await target.away.restore_status(target.service)
    elif path.creates:
        await target.away.discard(path.creates(target))
    elif not path.connects and path.ask(target).path.startswith(target.of_pod()):
        await target.away.discard(target.of_pod())
