"""Requested: a person asked for it. And what is to be written of each request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from immutable_operator.domain.model import (
    Because,
    Instance,
    Outcome,
    Reason,
    Request,
    purpose_of_request,
)

__all__ = ["orphaned", "outcomes", "requested"]

# How long an action may come before the service that it concerns.
ORPHAN_SECONDS = 60.0


def requested(candidates: Iterable[Instance], requests: Sequence[Request]) -> dict[str, Because]:
    """By name, which instances a request asks to replace."""
    found: dict[str, Because] = {}
    known = list(candidates)
    for request in _in_order(requests):
        cause = f"{request.actor} asked for it ({request.name})"
        why = Because(Reason.REQUESTED, cause, purpose_of_request(request.uid))
        for instance in _meant(known, request):
            found.setdefault(instance.name, why)
    return found


def _in_order(requests: Sequence[Request]) -> list[Request]:
    return sorted(requests, key=lambda r: (r.created, r.name, r.uid))


def _meant(instances: Iterable[Instance], request: Request) -> list[Instance]:
    """Those that a request means. Times are told in whole seconds: as old as it is too young.

    Who was born for it is not meant, whatever the clocks of the API servers say.
    """
    born_for = purpose_of_request(request.uid)
    return [
        i
        for i in instances
        if i.born < request.created and request.instance in (None, i.name) and i.purpose != born_for
    ]


def outcomes(
    requests: Sequence[Request], instances: Sequence[Instance], blocked: str | None
) -> tuple[Outcome, ...]:
    """What is to be written of each request: only what is not written yet."""
    told = []
    for request in _in_order(requests):
        left = [i for i in _meant(instances, request) if i.active]
        gone = not any(i.name == request.instance for i in instances)
        if left and blocked:
            phase, message = "Pending", blocked
        elif left:
            phase, message = "Running", "replacing what is older than this action"
        elif not request.phase and request.instance and gone:
            phase = "Failed"
            message = f"there is no instance {request.instance}; kubectl get pods shows them"
        else:
            phase, message = "Succeeded", "all that it meant were replaced"
        if (phase, message) != (request.phase, request.message):
            told.append(Outcome(request.name, request.uid, phase, message))
    return tuple(told)


def orphaned(
    service: str, requests: Sequence[Request], now: float
) -> tuple[tuple[Outcome, ...], float | None]:
    """What becomes of requests to a service that does not exist, and when more of them fail.

    One may come a moment before its service: each is given a minute.
    """
    late = [r for r in requests if r.created + ORPHAN_SECONDS <= now]
    message = (
        f"there is no ImmutableService {service} in this namespace (kubectl get imsvc shows them);"
        " create it, or correct the name, and create another action"
    )
    young = [r.created + ORPHAN_SECONDS for r in requests if r not in late]
    return tuple(Outcome(r.name, r.uid, "Failed", message) for r in late), min(young, default=None)
