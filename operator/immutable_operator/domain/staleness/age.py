"""Which instances are replaced although nothing is wrong with them: for their age, or on request.

What is to go is due by `regeneration.outlook` or meant by a request; what goes *now* is what is
under way, and as many more as maxConcurrent allows while the service is whole. Everything else
about it (successor first, surge, budgets) is the ledger's, as for any stale instance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from immutable_operator.domain.calendar.regeneration import Outlook, Regeneration, outlook
from immutable_operator.domain.model import Instance, Outcome, Request, Spec, Staleness, StaleReason

__all__ = ["Aging", "aging", "outcomes", "swap_seconds", "unheard"]

# A swap is estimated in these steps, so that what is said of it stays the same.
STEPS = (2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600)
# How long an action may come before the service that it concerns.
UNHEARD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Aging:
    """``going`` is by name why an instance goes now; ``waiting`` how many are due and wait.

    ``again`` is when that changes by time alone, ``window`` a sentence on the windows.
    """

    going: Mapping[str, Staleness] = field(default_factory=dict)
    waiting: int = 0
    again: float | None = None
    window: str = ""


def swap_seconds(instances: Sequence[Instance], min_ready: float) -> float:
    """How long a replacement takes here: the median start of those that are ready, rounded up."""
    starts = sorted(i.ready_since - i.born for i in instances if i.ready_since is not None)
    start = starts[len(starts) // 2] if starts else 10.0
    needed = max(0.0, start) + min_ready + 1.0
    return float(next((step for step in STEPS if step >= needed), needed))


def aging(
    spec: Spec,
    service_uid: str,
    candidates: Sequence[Instance],
    *,
    desired: int,
    available: Mapping[str, bool],
    requests: Sequence[Request],
    waits: bool,
    now: float,
) -> Aging:
    """Judge the active instances of the wanted revision that are stale for no other reason.

    ``available`` is by name. Successors are among the candidates. ``waits``: none may begin.
    """
    asked = {} if waits else _asked(candidates, requests)
    regeneration = spec.regeneration
    if not _wanted(regeneration):
        return Aging(asked)
    swap = swap_seconds(candidates, spec.min_ready_seconds)

    def judge(instances: Sequence[Instance]) -> Outlook:
        births = {i.uid: i.born for i in instances}
        return outlook(regeneration, births, service_uid, now, swap, spec.schedule_since)

    going = dict(asked)
    left = [i for i in candidates if i.name not in asked]
    successors = {i.replaces for i in candidates if i.replaces}
    replaced = [i for i in left if i.name in successors]
    old = {due.uid for due in judge(left).due} if replaced else set()
    under_way = [i for i in replaced if i.uid in old]
    for instance in under_way:
        going[instance.name] = Staleness(StaleReason.EXPIRED, "its successor is there")
    rest = [i for i in left if i.name not in going]
    seen = judge(rest)
    short = max(0, desired - len(rest) - len(under_way))
    unready = sum(not available[i.name] for i in rest)
    places = regeneration.max_concurrent - max(len(under_way), short + unready)
    names = {i.uid: i.name for i in rest}
    ready = [] if waits else [d for d in seen.due if d.may_start]
    for due in ready[: max(0, places)]:
        going[names[due.uid]] = Staleness(StaleReason.EXPIRED, due.reason)
    waiting = len(seen.due) - (len(going) - len(asked) - len(under_way))
    return Aging(going, waiting, seen.again, seen.window)


def _wanted(regeneration: Regeneration) -> bool:
    ages = (regeneration.max_age, regeneration.hard_max_age)
    return any(age is not None for age in ages) or regeneration.schedule is not None


def _asked(candidates: Sequence[Instance], requests: Sequence[Request]) -> dict[str, Staleness]:
    found: dict[str, Staleness] = {}
    for request in sorted(requests, key=lambda r: (r.created, r.name)):
        for instance in _meant(candidates, request):
            cause = f"{request.actor} asked for it ({request.name})"
            found.setdefault(instance.name, Staleness(StaleReason.REQUESTED, cause))
    return found


def _meant(instances: Sequence[Instance], request: Request) -> list[Instance]:
    """Those that a request means. Times are told in whole seconds: as old as it is too young."""
    return [i for i in instances if i.born < request.created and request.instance in (None, i.name)]


def outcomes(
    requests: Sequence[Request], instances: Sequence[Instance], blocked: str | None
) -> tuple[Outcome, ...]:
    """What is to be written of each request: only what is not written yet."""
    told = []
    for request in requests:
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


def unheard(
    service: str, requests: Sequence[Request], now: float
) -> tuple[tuple[Outcome, ...], float | None]:
    """What becomes of requests to a service that does not exist, and when more of them fail.

    One may come a moment before its service: each is given a minute.
    """
    late = [r for r in requests if r.created + UNHEARD_SECONDS <= now]
    message = (
        f"there is no ImmutableService {service} in this namespace (kubectl get isvc shows them);"
        " create it, or correct the name, and create another action"
    )
    young = [r.created + UNHEARD_SECONDS for r in requests if r not in late]
    return tuple(Outcome(r.name, r.uid, "Failed", message) for r in late), min(young, default=None)
