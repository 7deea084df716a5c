"""The planner: a pure, total function from what is observed to what is to be done.

It is called after every change and at the ``due`` time of the last plan; it stores nothing, so that
a restart, a new leader and a lost event all lead to the same next step.
"""

from __future__ import annotations

from immutable_operator.domain.families import Family
from immutable_operator.domain.families.pods import PODS
from immutable_operator.domain.fleet import Fleet, sort_out
from immutable_operator.domain.history import beyond_history
from immutable_operator.domain.ledger import Ledger
from immutable_operator.domain.model import Command, Outcome, Plan, Policy, SetVerdict, Spec, View
from immutable_operator.domain.protection import protection
from immutable_operator.domain.routing import routing
from immutable_operator.domain.staleness.requested import outcomes
from immutable_operator.domain.status.tell import tell
from immutable_operator.domain.strategies.blue_green import BLUE_GREEN
from immutable_operator.domain.strategies.canary import CANARY
from immutable_operator.domain.strategies.rolling import ROLLING, counts
from immutable_operator.domain.strategies.step import Step, Strategy
from immutable_operator.domain.target import choose
from immutable_operator.domain.turn import RESUME, Turn
from immutable_operator.domain.verdict import Verdicts, verdicts
from immutable_operator.domain.weights import weighing

__all__ = ["plan"]

POLICY = Policy()


def plan(
    view: View,
    now: float,
    policy: Policy = POLICY,
    family: Family = PODS,
    strategy: Strategy | None = None,
) -> Plan:
    """Return what to do for one owner at ``now`` (seconds since the epoch).

    The order of instances, revisions, requests and refusals in the view does not matter. The plan
    of a converged service has no actions.
    """
    view = family.judged(view, now)
    if view.deleting:
        note = "being deleted: the garbage collector removes all dependents"
        care = family.care(view, now)
        return Plan(actions=care.moves, due=min(care.due, default=None), notes=(note,))
    target = choose(view, now, family)
    turn = Turn.of(view, target, now, policy, family)
    fleet = sort_out(turn)
    judged = verdicts(turn, fleet)
    step = Step() if judged.decides else _step(turn, fleet, strategy or _strategy(view.spec))
    return _plan(turn, fleet, judged, step)


def _strategy(spec: Spec) -> Strategy:
    if spec.sides is not None:
        return BLUE_GREEN
    return ROLLING if spec.canary is None else CANARY


def _step(turn: Turn, fleet: Fleet, strategy: Strategy) -> Step:
    if turn.spec.suspend:
        return Step(notes=["suspended"])
    return strategy.step(turn, fleet, Ledger(turn.budget, counts(turn, fleet)))


def _plan(turn: Turn, fleet: Fleet, judged: Verdicts, step: Step) -> Plan:
    """Return the actions in the order in which they start, and what is reported about them."""
    target = turn.target
    told = None if target.is_open or judged.decides else tell(turn, fleet)
    care = turn.care
    budgets, later = protection(turn)
    routed, weighed = routing(turn), weighing(turn)
    actions = (
        *target.moves,
        *judged.marks,
        *budgets,
        *routed.moves,
        *weighed.moves,
        *care.moves,
        *step.quarantines,
        *step.retires,
        *step.creates,
        *beyond_history(turn, fleet),
    )
    times = (
        *step.due,
        *target.due,
        *judged.due,
        *later,
        *routed.due,
        *weighed.due,
        *care.due,
        told.deadline if told else None,
        turn.next_available(fleet.active),
        target.freeze.again,
    )
    return Plan(
        actions=actions,
        status=told.status if told else None,
        due=min((t for t in times if t is not None), default=None),
        notes=(
            *target.notes,
            *_marked(judged.marks),
            *routed.notes,
            *weighed.notes,
            *care.notes,
            *step.notes,
        )
        or ("nothing to do",),
        announcements=(
            *target.announcements,
            *judged.announcements,
            *routed.announcements,
            *weighed.announcements,
            *(told.announcements if told else ()),
        ),
        stale=tuple((i.name, fleet.why[i.name].reason) for i in fleet.stale if i.name in fleet.why),
        outcomes=(*_outcomes(turn), *judged.outcomes),
        checks=judged.checks,
    )


def _marked(marks: tuple[SetVerdict, ...]) -> list[str]:
    """Describe what is written to records: a new phase, or that another field changed."""
    notes = []
    for mark in marks:
        revision, phase = mark.revision, mark.verdict.phase
        same = phase is revision.verdict.phase
        what = ": record updated" if same else f" is {phase}"
        notes.append(f"revision {revision.number} ({revision.id}){what}")
    return notes


def _outcomes(turn: Turn) -> tuple[Outcome, ...]:
    """Return what is to be written to requests of users, including what delays them."""
    view, freeze = turn.view, turn.target.freeze
    requests = tuple(r for r in view.requests if r.command is Command.REGENERATE)
    there, listing = view.instances, turn.words.listing
    if turn.spec.suspend:
        held = f"the {turn.words.owner} is suspended; {RESUME}"
        return outcomes(requests, there, held, listing)
    if not freeze.holds:
        return outcomes(requests, there, None, listing)
    passing = [r for r in requests if r.override_freeze]
    others = [r for r in requests if not r.override_freeze]
    return (
        *outcomes(passing, there, None, listing),
        *outcomes(others, there, freeze.message, listing),
    )
