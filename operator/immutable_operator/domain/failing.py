"""When a revision has failed: what its instances and checks show, and its progress deadline.

The progress is stored in the record of the revision, in few writes: a higher number of available
instances is written once the last noted progress is a quarter of the deadline old. An instance that
flaps between ready and unready is no progress, because only a new highest number counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from immutable_operator.domain.canary import is_reached
from immutable_operator.domain.checks import failed_check
from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.goal import goal
from immutable_operator.domain.model import Cause, Instance, Move, Trouble, TroubleKind, Verdict
from immutable_operator.domain.standing import latest_completed
from immutable_operator.domain.turn import Turn

__all__ = [
    "BAKING_FAILED",
    "CHECK_FAILED",
    "DEADLINE",
    "IMAGE_NOT_FOUND",
    "Failure",
    "excused_until",
    "failure",
    "is_judged",
    "progressed",
]

DEADLINE = "ProgressDeadlineExceeded"
IMAGE_NOT_FOUND = "ImageNotFound"
BAKING_FAILED = "FailedWhileBaking"
CHECK_FAILED = "CheckFailed"
# While one of these refuses a write, the deadline stands still: the revision is not the cause.
EXCUSES = frozenset(
    {
        Cause.QUOTA,
        Cause.DISRUPTION_BUDGET,
        Cause.NAMESPACE_TERMINATING,
        Cause.FORBIDDEN,
        Cause.DEPENDENCY,
        Cause.CONFIG,
        Cause.API_SERVER,
    }
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a revision has failed: one word, and the evidence in a sentence."""

    reason: str
    message: str


def failure(turn: Turn, fleet: Fleet) -> tuple[Failure | None, float | None]:
    """Return why the wanted revision has failed, or when that is to be judged again."""
    wanted = turn.wanted
    if wanted is None or turn.spec.suspend or turn.target.is_open or not is_judged(turn):
        return None, None
    own = [*fleet.current, *(i for i in fleet.ended if i.revision == wanted.id)]
    for instance in _by_age(own):
        if reason := turn.family.failure(instance, wanted):
            return Failure(reason, _told(instance)), None
    if found := _failed_while_baking(turn, fleet, wanted.verdict):
        return found, None
    if evidence := failed_check(turn.spec.checks, wanted.verdict.checks):
        return Failure(CHECK_FAILED, evidence), None
    found, again = _image_not_found(turn, fleet)
    if found is not None:
        return found, None
    found, deadline = _late(turn, fleet, wanted.verdict)
    return found, min((t for t in (again, deadline) if t is not None), default=None)


def is_judged(turn: Turn) -> bool:
    """Return whether the wanted revision is in a rollout that can fail.

    The last good revision is not: it worked, and what ends its instances now is no rollout.
    """
    return turn.target.is_asked and bool(turn.budget.desired) and _is_new(turn)


def _is_new(turn: Turn) -> bool:
    wanted = turn.wanted
    if wanted is None or not wanted.verdict.is_under_way:
        return False
    return wanted != latest_completed(turn.view)


def _told(instance: Instance) -> str:
    trouble = instance.trouble
    return f"{instance.name}: {trouble.message}" if trouble else instance.name


def _failed_while_baking(turn: Turn, fleet: Fleet, verdict: Verdict) -> Failure | None:
    """Return whether an instance that was available at the start of the bake works no more."""
    if verdict.baking is None:
        return None
    baked = (i for i in fleet.current if i.born <= (verdict.baking or 0.0) and not i.ready_since)
    own = [i for i in baked if not (i.trouble and turn.family.excuses(i.trouble))]
    crashed = [i for i in own if i.trouble and i.trouble.kind is TroubleKind.CRASH_LOOP]
    if crashed:
        return Failure(BAKING_FAILED, f"{_told(crashed[0])}, while the revision was baking")
    if own and fleet.available_current < turn.budget.fewest_available:
        text = f"{own[0].name} was available and is no longer ready, while the revision was baking"
        return Failure(BAKING_FAILED, text)
    return None


def _image_not_found(turn: Turn, fleet: Fleet) -> tuple[Failure | None, float | None]:
    """Return whether no instance finds its image, after each node has tried twice."""
    pulls = [
        (i, i.trouble)
        for i in fleet.current
        if i.trouble and i.ready_since is None and i.trouble.kind is TroubleKind.IMAGE_PULL
    ]
    if not pulls or any(i.ready_since for i in fleet.current):
        return None, None
    if not all(t.is_final for _, t in pulls):
        return None, None
    tried = max(i.born if t.since is None else t.since for i, t in pulls) + turn.policy.second_try
    if tried > turn.now:
        return None, tried
    return Failure(IMAGE_NOT_FOUND, _told(pulls[0][0])), None


def _late(turn: Turn, fleet: Fleet, verdict: Verdict) -> tuple[Failure | None, float | None]:
    if _stands_still(turn, fleet):
        return None, None
    if verdict.paused is not None or verdict.progressed is None or verdict.replicas == 0:
        return None, None  # since when it goes on is written first
    seconds = turn.spec.progress_deadline_seconds
    deadline = _progress(turn, fleet, verdict)[1] + seconds
    if deadline > turn.now:
        return None, deadline
    seen = _seen(turn, fleet)
    text = f"no progress for {seconds} s"
    return Failure(DEADLINE, f"{text}; {seen}" if seen else text), None


def _seen(turn: Turn, fleet: Fleet) -> str:
    """Return what keeps the wanted revision from progress, "" if nothing is known."""
    wanted = turn.wanted.id if turn.wanted else ""
    # A node is given up at the same deadline: it may have ended, or be gone, already.
    over = (*fleet.ended, *fleet.terminating, *turn.view.departed)
    ended = (i for i in over if i.ended and i.revision == wanted)
    tried = [*_by_age(fleet.current), *_by_age(ended)]
    said = [_told(i) for i in tried if i.trouble]
    machines = ((i.name, i.machine.waits_for) for i in tried if i.machine)
    said += [f"{name}: {waits_for}" for name, waits_for in machines if waits_for]
    said += [r.message for r in turn.view.refusals if r.revision == wanted]
    # An operator that was restarted does not know that it refused them.
    own = (i for i in turn.view.instances if i.revision == wanted)
    said += [f"{i.name}: {i.refused}" for i in _by_age(own) if i.refused]
    return next(iter(said), "")


def _by_age(instances: Iterable[Instance]) -> list[Instance]:
    return sorted(instances, key=lambda i: (i.born, i.name))


def _stands_still(turn: Turn, fleet: Fleet) -> bool:
    """Return whether the deadline stands still: nothing is lacking, or nothing may be done."""
    if turn.spec.suspend or not turn.target.is_asked:
        return True
    return fleet.available_current >= goal(turn) or _excused(turn, fleet)


def excused_until(turn: Turn, fleet: Fleet) -> float | None:
    """Return when a rollout that the cluster holds back has made no progress for too long."""
    done = fleet.available_current >= turn.budget.desired and not fleet.stale
    done = done or is_reached(turn, fleet)
    paused = turn.target.freeze.holds or turn.target.lacking or fleet.held
    if turn.wanted is None or done or paused or not _is_held_back(turn, fleet):
        return None
    seconds = turn.spec.progress_deadline_seconds
    return _progress(turn, fleet, turn.wanted.verdict)[1] + seconds


def _excused(turn: Turn, fleet: Fleet) -> bool:
    """Return whether something else than the revision holds back its progress."""
    if turn.target.freeze.holds or turn.target.lacking or fleet.held:
        return True
    # What modifies instances modifies those of any revision.
    wanted = turn.wanted.id if turn.wanted else ""
    if any(i.name in fleet.deviations for i in turn.view.instances if i.revision == wanted):
        return True
    return _is_held_back(turn, fleet)


def _is_held_back(turn: Turn, fleet: Fleet) -> bool:
    """Return whether a refusal of the API server, a node, or a provider holds the rollout back."""
    if any(
        r.cause in EXCUSES and r.move not in (Move.ROUTE, Move.WEIGHTS) for r in turn.view.refusals
    ):
        return True
    wanted = turn.wanted.id if turn.wanted else ""
    # A machine that its provider cannot start is gone until the next try.
    lost = (i for i in turn.view.departed if i.ended and i.revision == wanted)
    known = (*fleet.current, *fleet.ended, *lost)
    troubles: list[Trouble] = [i.trouble for i in known if i.trouble]
    return any(turn.family.excuses(t) for t in troubles)


def _progress(turn: Turn, fleet: Fleet, verdict: Verdict) -> tuple[bool, float]:
    """Return whether there is progress that is not noted, and the time of the last progress."""
    noted = _noted_progress(verdict)
    if fleet.available_current <= verdict.most_available:
        return False, noted
    least = turn.spec.min_ready_seconds
    times = [turn.family.available_at(i, least) for i in fleet.current if turn.available(i)]
    # Without a minimum the time of readiness itself counts.
    times += [i.ready_since for i in fleet.current if not least]
    known = (t for t in times if t is not None and t <= turn.now)
    return True, max([noted, *known])


def _noted_progress(verdict: Verdict) -> float:
    return max(verdict.progressed or 0.0, verdict.started or 0.0)


def progressed(turn: Turn, fleet: Fleet, verdict: Verdict) -> tuple[Verdict, float | None]:
    """Return a verdict with the progress that is to be noted now, and when to look again.

    The time in which the deadline stands still is noted, too, once the last noted progress is a
    quarter of the deadline old: a shorter one counts.

    A version that knew no deadline noted neither: then the time in which it may have stood still is
    not known, and the deadline begins now.
    """
    if turn.target.is_open or not _is_new(turn) or not turn.budget.desired:
        return verdict, None
    if verdict.progressed is None:
        most = fleet.available_current
        return replace(verdict, progressed=turn.now, most_available=most), None
    is_new, last = _progress(turn, fleet, verdict)
    stands = _stands_still(turn, fleet)
    if verdict.paused is not None:
        if stands:
            return verdict, None
        on = last + max(0.0, turn.now - verdict.paused)
        return replace(verdict, progressed=min(on, turn.now), paused=None), None
    if not stands and not is_new:
        return verdict, None
    due = _noted_progress(verdict) + turn.spec.progress_deadline_seconds / 4
    if due > turn.now:
        return verdict, due
    if is_new:
        return replace(verdict, most_available=fleet.available_current, progressed=last), None
    return replace(verdict, paused=turn.now), None
