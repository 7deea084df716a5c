"""Requested: a person asked for it. And what is to be written to each request."""

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

__all__ = [
    "ALL_REPLACED",
    "REPLACING",
    "elsewhere",
    "no_owner",
    "orphaned",
    "outcomes",
    "requested",
]

# How many seconds an action may exist before the owner that it names.
ORPHAN_SECONDS = 60.0

REPLACING = "replacing the instances that are older than this action"
ALL_REPLACED = "all requested instances were replaced"


def requested(candidates: Iterable[Instance], requests: Sequence[Request]) -> dict[str, Because]:
    """Return by name which instances a request asks to replace."""
    found: dict[str, Because] = {}
    known = list(candidates)
    for request in _in_order(requests):
        cause = f"requested by {request.actor} ({request.name})"
        why = Because(Reason.REQUESTED, cause, purpose_of_request(request.uid))
        for instance in _meant(known, request):
            found.setdefault(instance.name, why)
    return found


def _in_order(requests: Sequence[Request]) -> list[Request]:
    return sorted(requests, key=lambda r: (r.created, r.name, r.uid))


def _meant(instances: Iterable[Instance], request: Request) -> list[Instance]:
    """Return the instances that a request covers: those older than it, in whole seconds.

    An instance that was created for the request is not covered, whatever the clocks of the API
    servers say.
    """
    born_for = purpose_of_request(request.uid)
    return [
        i
        for i in instances
        if i.born < request.created and request.instance in (None, i.name) and i.purpose != born_for
    ]


def outcomes(
    requests: Sequence[Request],
    instances: Sequence[Instance],
    blocked: str | None,
    listing: str = "kubectl get pods",
) -> tuple[Outcome, ...]:
    """Return what is to be written to each request: only what is not written yet.

    ``listing`` is the command that lists the instances.
    """
    told = []
    for request in _in_order(requests):
        left = [i for i in _meant(instances, request) if i.active]
        gone = not any(i.name == request.instance for i in instances)
        if left and blocked:
            phase, message = "Pending", blocked
        elif left:
            phase, message = "Running", REPLACING
        elif not request.phase and request.instance and gone:
            phase = "Failed"
            message = f"instance {request.instance} not found; {listing} lists the instances"
        else:
            phase, message = "Succeeded", ALL_REPLACED
        if (phase, message) != (request.phase, request.message):
            told.append(Outcome(request.name, request.uid, phase, message))
    return tuple(told)


def no_owner(word: str, name: str) -> str:
    """Return the beginning of the message of an action whose owner does not exist.

    ``word`` is service or pool.
    """
    if word == "service":
        return f"ImmutableService {name} not found in this namespace (kubectl get imsvc lists them)"
    return f"ImmutableNodePool {name} not found (kubectl get imnp lists them)"


def elsewhere(home: str) -> str:
    """Return the message of an action on a pool outside of ``home``, the operator's namespace."""
    return (
        f"actions on node pools are carried out in namespace {home} only; create the action there"
    )


def orphaned(
    message: str, requests: Sequence[Request], now: float
) -> tuple[tuple[Outcome, ...], float | None]:
    """Return the outcomes of requests to an owner that does not exist, and when more of them fail.

    A request may be created shortly before its owner: each has one minute.
    """
    late = [r for r in requests if r.created + ORPHAN_SECONDS <= now]
    young = [r.created + ORPHAN_SECONDS for r in requests if r not in late]
    return tuple(Outcome(r.name, r.uid, "Failed", message) for r in late), min(young, default=None)
