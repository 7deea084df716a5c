"""An imagined cluster in which a forecast plays: the instances of one owner, and what becomes of
them by few assumptions.

It makes the moves of plans, and refuses those that a budget or a quota would refuse.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from immutable_operator.domain.families import Family
from immutable_operator.domain.foreseen import Assumed, Limit, Step
from immutable_operator.domain.model import (
    Backoff,
    Because,
    Cause,
    CheckKey,
    Create,
    CreateRevision,
    CreateSnapshot,
    DeleteBudget,
    DeleteRevision,
    DeleteRoute,
    DisruptionBudget,
    Finding,
    Instance,
    Machine,
    Measured,
    Move,
    Outcome,
    Plan,
    Quarantine,
    Refusal,
    Retire,
    Revision,
    Route,
    SetBudget,
    SetRoute,
    SetVerdict,
    SetWeights,
    View,
    preview_name,
    revision_name,
)
from immutable_operator.domain.routing import route_as_set
from immutable_operator.domain.weights import weights_as_set

__all__ = ["World"]

RETRY = Backoff(5.0, 300.0)


@dataclass
class World:
    """One owner; events are in a queue by time.

    ``changed`` is when an instance last changed, ``record`` the first revision that was recorded.
    """

    view: View
    now: float
    family: Family
    assumed: Assumed
    steps: list[Step] = field(default_factory=list)
    record: CreateRevision | None = None

    def __post_init__(self) -> None:
        self._count = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._instances = {i.name: i for i in self.view.instances}
        self._refusals: dict[tuple[Move, str], Refusal] = {}
        self._requests = {r.uid: r for r in self.view.requests}
        self._answers: dict[CheckKey, Measured] = {}
        self.status = self.view.prior
        self._works = 0
        self.changed = self.now
        for instance in self.view.instances:
            self._continue(instance)

    def _continue(self, instance: Instance) -> None:
        """Let an instance that exists live on."""
        if instance.terminating:
            self._leave(instance)
        elif instance.ready_since is None and not instance.ended:
            stuck = instance.trouble is not None and instance.trouble.settled
            if not stuck:
                at = max(self.now + 1.0, instance.born + self.assumed.start)
                self._after(at, lambda: self._ready(instance.name))

    # What is seen.

    def seen(self) -> View:
        """Return what the planner is given."""
        return replace(
            self.view,
            instances=tuple(self._instances.values()),
            refusals=tuple(self._refusals.values()),
            requests=tuple(self._requests.values()),
            measured=tuple(self._answers.values()),
            prior=self.status,
        )

    def available(self) -> int:
        """Return the number of available instances."""
        return sum(map(self._is_available, self._instances.values()))

    def _is_available(self, instance: Instance) -> bool:
        at = self.family.available_at(instance, self.view.spec.min_ready_seconds)
        return at is not None and at <= self.now

    def active(self) -> int:
        """Return the number of instances that count."""
        return sum(i.active for i in self._instances.values())

    @property
    def next_event(self) -> float | None:
        """When something happens by itself next."""
        return self._events[0][0] if self._events else None

    @property
    def next_retry(self) -> float | None:
        """When a refused move may be tried again."""
        return min((r.retry_at for r in self._refusals.values()), default=None)

    def advance(self, at: float) -> None:
        """Let time pass, and what happens by itself meanwhile."""
        self.now = at
        while self._events and self._events[0][0] <= self.now:
            heapq.heappop(self._events)[2]()
            self.changed = self.now

    def _after(self, at: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at, next(self._count), what))

    # Moves.

    def carry_out(self, decided: Plan) -> bool:
        """Make the moves of a plan; return whether there were any."""
        self._works = self.available()
        for outcome in decided.outcomes:
            self._answer(outcome)
        done = [self._make(action) for action in decided.actions]
        measured = self._measure(decided)
        return measured or any(done) or (bool(decided.outcomes) and not decided.actions)

    def _measure(self, decided: Plan) -> bool:
        """Let each measurement of a check pass at once; return whether there were new ones."""
        new = [run.key for run in decided.checks if run.key not in self._answers]
        self._answers |= {key: Measured(key, self.now, Finding.PASSED) for key in new}
        return bool(new)

    def _answer(self, outcome: Outcome) -> None:
        request = self._requests.pop(outcome.uid)
        if outcome.phase not in ("Succeeded", "Failed"):
            told = replace(request, phase=outcome.phase, message=outcome.message)
            self._requests[outcome.uid] = told

    def _make(self, action: object) -> bool:
        """Make one move; return False if it was refused, or does nothing in this model."""
        match action:
            case CreateRevision():
                self._record(action)
            case Create():
                return self._create(action)
            case Retire():
                return self._retire(action)
            case Quarantine():
                gone = self._instances[action.name]
                self._note("quarantine", gone, action.because)
                self._instances[gone.name] = replace(gone, quarantined=self.now)
            case CreateSnapshot():
                copies = self.view.snapshots | {action.pin.snapshot}
                self.view = replace(self.view, snapshots=copies)
            case SetVerdict():
                self._go_on(action)
                self._revise(action.revision.id, replace(action.revision, verdict=action.verdict))
            case DeleteRevision():
                kept = tuple(r for r in self.view.revisions if r.uid != action.uid)
                self.view = replace(self.view, revisions=kept)
            case SetBudget() | DeleteBudget():
                self._protect(action)
            case SetRoute() | DeleteRoute():
                self._expose(action)
            case SetWeights():
                self._weigh(action)
            case _:
                return False
        return True

    def _record(self, new: CreateRevision) -> None:
        name, author = revision_name(self.view.name, new.id), self.view.author
        made = Revision(
            new.id, new.number, new.hash, name, f"revision-{new.id}", new.config, author=author
        )
        self.record = self.record or new
        self.view = replace(self.view, revisions=(*self.view.revisions, made))
        self.steps.append(Step(self.now, "record", name, new.id, self._works))

    def _go_on(self, action: SetVerdict) -> None:
        """Note a step of a canary that is done."""
        canary, done = self.view.spec.canary, action.verdict.step
        if canary is None or done <= action.revision.verdict.step:
            return
        name = f"step {done} of {len(canary.steps)} ({canary.steps[done - 1]})"
        self.steps.append(Step(self.now, "step", name, action.revision.id, self._works))

    def _revise(self, id_: str, revision: Revision) -> None:
        known = tuple(revision if r.id == id_ else r for r in self.view.revisions)
        self.view = replace(self.view, revisions=known)

    def _protect(self, action: SetBudget | DeleteBudget) -> None:
        others = tuple(b for b in self.view.budgets if not b.is_own)
        own: tuple[DisruptionBudget, ...] = ()
        if isinstance(action, SetBudget):
            least, revision = action.min_available, action.revision
            own = (DisruptionBudget("own", "own", least, is_own=True, revision=revision),)
        self.view = replace(self.view, budgets=(*others, *own))

    def _expose(self, action: SetRoute | DeleteRoute) -> None:
        others = tuple(r for r in self.view.routes if r.name != action.name)
        own: tuple[Route, ...] = ()
        if isinstance(action, SetRoute):
            own = (route_as_set(action),)
            before = next((r for r in self.view.routes if r.name == action.name), None)
            if before is not None and before.revision != action.revision:
                name, revision = action.name, action.revision
                self.steps.append(Step(self.now, "switch", name, revision, self._works))
        self.view = replace(self.view, routes=(*others, *own))

    def _weigh(self, action: SetWeights) -> None:
        route = self.view.http_route
        if route is None:
            return
        self.view = replace(self.view, http_route=weights_as_set(route, action))
        shown = (r.revision for r in self.view.routes if r.name == preview_name(self.view.name))
        name = f"{action.percent} % of the traffic"
        self.steps.append(Step(self.now, "weight", name, next(shown, None) or "", self._works))

    def _create(self, birth: Create) -> bool:
        there = sum(not i.ended for i in self._instances.values()) - len(self.view.instances)
        room = self.assumed.room
        if room is not None and there >= room:
            self._refuse(Move.CREATE, birth.revision, Cause.QUOTA, self.assumed.quota)
            return False
        pool = self.view.spec.pool is not None
        born = Instance(
            name=birth.name,
            uid=f"uid-{birth.name}",
            revision=birth.revision,
            slot=birth.slot,
            incarnation=birth.incarnation,
            born=self.now,
            replaces=birth.replaces,
            replaces_uid=birth.replaces_uid,
            because=birth.because,
            heals=birth.heals,
            tries=birth.tries,
            purpose=birth.purpose,
            machine=Machine(lacks=("its node is not ready",)) if pool else None,
        )
        self._note("create", born, birth.because)
        self._instances[born.name] = born
        self._refusals.pop((Move.CREATE, birth.revision), None)
        self._after(self.now + self.assumed.start, lambda: self._ready(born.name))
        self.changed = self.now
        return True

    def _retire(self, order: Retire) -> bool:
        gone = self._instances[order.name]
        ready = gone.ready_since is not None
        free = order.by_will or gone.ended or not ready
        if not free and (limit := self._limit()) is not None:
            text = f"PodDisruptionBudget {limit.name} needs {limit.least} ready pods"
            self._refuse(Move.RETIRE, gone.name, Cause.DISRUPTION_BUDGET, text)
            return False
        self._note("retire", gone, order.because)
        left = replace(gone, terminating=True)
        if gone.machine is not None:
            machine = replace(gone.machine, retiring=self.now, deleted=self.now, guests=())
            left = replace(left, machine=machine)
        self._instances[gone.name] = left
        self._refusals.pop((Move.RETIRE, gone.name), None)
        self._leave(left)
        self.changed = self.now
        return True

    def _limit(self) -> Limit | None:
        """Return a budget that does not admit that one more ready instance goes."""
        if self.view.spec.pool is not None:
            return None
        ready = sum(i.ready_since is not None and i.active for i in self._instances.values())
        own = [b.min_available for b in self.view.budgets if b.is_own and b.min_available]
        limits = (*self.assumed.limits, *(Limit("of the operator", least) for least in own))
        return next((limit for limit in limits if ready - 1 < limit.least), None)

    def _refuse(self, move: Move, subject: str, cause: Cause, text: str) -> None:
        before = self._refusals.get((move, subject))
        attempts = before.attempts + 1 if before else 1
        self._refusals[move, subject] = Refusal(
            move=move,
            subject=subject,
            cause=cause,
            message=text,
            since=before.since if before else self.now,
            retry_at=self.now + RETRY.after(attempts),
            attempts=attempts,
            revision=subject if move is Move.CREATE else None,
            shared=move is Move.CREATE,
        )

    def _note(self, kind: str, instance: Instance, because: Because) -> None:
        """Note a move; ``_works`` is counted once a plan, because there can be many moves."""
        self.steps.append(
            Step(
                self.now,
                kind,
                instance.name,
                instance.revision,
                self._works,
                instance.slot,
                instance.replaces or "",
                because,
            )
        )
        self._works -= self._is_available(instance)

    # What happens by itself.

    def _leave(self, instance: Instance) -> None:
        self._after(self.now + self.assumed.end, lambda: self._go(instance.name))

    def _go(self, name: str) -> None:
        del self._instances[name]
        self._refusals.pop((Move.RETIRE, name), None)

    def _ready(self, name: str) -> None:
        known = self._instances.get(name)
        if known is None or not known.active:
            return
        machine = known.machine
        if machine is not None:
            at = self.now
            machine = replace(
                machine, ready_since=at, verified=at, steady_since=at, lacks=(), held=False
            )
        self._instances[name] = replace(known, ready_since=self.now, trouble=None, machine=machine)
