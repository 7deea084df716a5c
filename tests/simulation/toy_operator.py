"""The control loop in small: the real planner and the real memory around it, on the toy cluster.

Every plan is held against the rules of safety (`tests.unit.rules`) before it is carried out,
and what is in the cluster is counted again after it was.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from immutable_operator.domain.model import (
    ABSENT,
    Action,
    Announcement,
    Cause,
    CheckKey,
    ConfigKey,
    Create,
    CreateRevision,
    CreateSnapshot,
    DeleteBudget,
    DeleteRevision,
    DeleteRoute,
    Measured,
    Move,
    Plan,
    Quarantine,
    Retire,
    RunCheck,
    SetBudget,
    SetRoute,
    SetVerdict,
    SetWeights,
    Source,
    Status,
    View,
)
from immutable_operator.domain.planner import plan
from immutable_operator.domain.status.tell import same_but_for_counts
from immutable_operator.instances.refused import Refused, refused
from immutable_operator.kube.errors import ApiError, Conflict, NotFound
from immutable_operator.runtime.memory import OwnerMemory
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.status import status_body, stored_status
from tests.simulation.toy_cluster import ToyCluster
from tests.unit.given import SERVICE, UID
from tests.unit.rules import Case, check

__all__ = ["Crash", "ToyOperator"]

MEASURED_AFTER = 1.0
FOUND = "http://web/healthz says so"


class Crash(Exception):
    """The operator dies here."""


class ToyOperator:
    """One replica that leads.

    ``crash`` is asked before and after each write and may raise `Crash`; ``order`` gives the
    order in which a plan's retirements and births are written.
    """

    def __init__(
        self,
        cluster: ToyCluster,
        *,
        crash: Callable[[], None] = lambda: None,
        order: random.Random | None = None,
    ) -> None:
        self.cluster = cluster
        self.crash, self.order = crash, order
        self.stored: Mapping[str, Any] = {}
        self.desk = OwnerMemory()
        self.due: float | None = None
        self.told: list[Announcement] = []
        self._keys: set[tuple[str, str]] = set()
        self._leaving: set[str] = set()
        self._asked: dict[CheckKey, tuple[float, RunCheck]] = {}
        self._answers: dict[CheckKey, Measured] = {}
        self.restart()

    def restart(self) -> None:
        """Begin anew with nothing but what is in the cluster."""
        self.desk = OwnerMemory()
        self._leaving.clear()
        self._asked.clear()
        self._answers.clear()
        self.due = self.cluster.now

    @property
    def waits(self) -> bool:
        """Whether the view does not show yet that a pod is gone which the operator knows of."""
        self._leaving = {
            uid
            for uid in self._leaving
            if any(pod.uid == uid and not pod.terminating for pod in self.cluster.seen.values())
        }
        return bool(self._leaving)

    @property
    def status(self) -> Status:
        """What was planned last, or what is stored."""
        return self.desk.planned or stored_status(self._record())

    def turn(self) -> Plan:
        """Look, plan, act, tell, write the status."""
        given = self.view()
        decided = plan(given, self.cluster.now)
        check(Case(given, decided, self.cluster.now))
        self._act(given, decided)
        self._answer(decided)
        self._tell(decided)
        self._store(decided)
        self._ask(decided)
        times = [at for at, _ in self._asked.values()]
        self.due = min((t for t in (decided.due, *times) if t is not None), default=None)
        return decided

    def _ask(self, decided: Plan) -> None:
        """Begin the measurements of a plan; each takes a second, and is lost with the process."""
        for run in decided.checks:
            if run.key not in self._asked and run.key not in self._answers:
                self._asked[run.key] = (self.cluster.now + MEASURED_AFTER, run)

    def _answered(self) -> tuple[Measured, ...]:
        """The answers that have arrived."""
        for key, (at, run) in list(self._asked.items()):
            if at <= self.cluster.now:
                del self._asked[key]
                self._answers[key] = Measured(key, at, self.cluster.found(run), FOUND)
        return tuple(self._answers.values())

    def view(self) -> View:
        """The service as this replica sees it."""
        cluster, desk = self.cluster, self.desk
        instances = tuple(cluster.seen.values())
        desk.refusals.forget_subjects({i.name for i in instances})
        return View(
            name=SERVICE,
            namespace="shop",
            uid=UID,
            generation=cluster.generation,
            spec=replace(cluster.spec, pinned=self._granted()),
            withheld=cluster.withheld,
            invalid=None if cluster.spec.template is not None else "spec.replicas: no",
            author="kubectl",
            instances=instances,
            departed=desk.departed(instances, {}),
            revisions=tuple(cluster.revisions.values()),
            refusals=desk.refusals.all(cluster.now),
            configs={name: cluster.configs.get(name, Source(ABSENT)) for name in self._pinned()},
            snapshots=frozenset(cluster.snapshots),
            budgets=cluster.budgets,
            routes=tuple(cluster.routes.values()),
            http_route=cluster.http_route if cluster.spec.http_route else None,
            freezes=cluster.freezes,
            requests=tuple(cluster.requests.values()),
            measured=self._answered(),
            retry=cluster.retry,
            prior=self.status,
            desired_before=self.desk.desired,
        )

    def _granted(self) -> dict[ConfigKey, bool]:
        pinned = self.cluster.spec.pinned.items()
        return {key: optional for key, optional in pinned if key not in self.cluster.withheld}

    def _pinned(self) -> set[ConfigKey]:
        recorded = {pin.key for r in self.cluster.revisions.values() for pin in r.config}
        return (recorded | set(self.cluster.spec.pinned)) - self.cluster.withheld

    def _act(self, given: View, decided: Plan) -> None:
        """Births one after the other until one is refused, the other moves beside them."""
        actions = list(decided.actions)
        if self.order:
            self.order.shuffle(actions)
        active = self._active()
        refused = False
        for action in actions:
            if isinstance(action, Create) and refused:
                continue
            self.crash()
            done = self._write(action)
            self.crash()
            refused = refused or (isinstance(action, Create) and not done)
        if any(isinstance(action, Create) for action in actions):
            most = Case(given, decided, self.cluster.now).most
            assert self._active() <= max(most, active)

    def _active(self) -> int:
        return sum(pod.active for pod in self.cluster.pods.values())

    def _write(self, action: Action) -> bool:
        cluster, refusals = self.cluster, self.desk.refusals
        match action:
            case Create():
                move, subject, revision = Move.CREATE, action.name, action.revision
                write: Callable[[], None] = lambda: cluster.create(action)  # noqa: E731
            case Retire():
                move, subject, revision = Move.RETIRE, action.name, ""
                write = lambda: cluster.evict(action)  # noqa: E731
            case Quarantine():
                move, subject, revision = Move.QUARANTINE, action.name, ""
                write = lambda: cluster.quarantine(action)  # noqa: E731
            case CreateRevision():
                move, subject, revision = Move.RECORD, action.id, ""
                write = lambda: cluster.record(action)  # noqa: E731
            case CreateSnapshot():
                move, subject, revision = Move.SNAPSHOT, action.pin.snapshot, ""
                write = lambda: cluster.snapshot(action)  # noqa: E731
            case SetVerdict():
                move, subject, revision = Move.VERDICT, action.revision.name, ""
                write = lambda: cluster.mark(action)  # noqa: E731
            case DeleteRevision():
                move, subject, revision = Move.FORGET, action.name, ""
                write = lambda: cluster.forget(action)  # noqa: E731
            case SetBudget() | DeleteBudget():
                move, subject, revision = Move.BUDGET, "", ""
                write = lambda: cluster.protect(action)  # noqa: E731
            case SetRoute() | DeleteRoute():
                move, subject, revision = Move.ROUTE, action.name, ""
                write = lambda: cluster.route(action)  # noqa: E731
            case SetWeights():
                move, subject, revision = Move.WEIGHTS, action.name, ""
                write = lambda: cluster.weigh(action)  # noqa: E731
        try:
            write()
        except NotFound:
            self._leaving |= {action.uid} if isinstance(action, Retire) else set()
            return True
        except Conflict as error:
            cause = Cause.NAME_TAKEN if move is Move.CREATE else Cause.API_SERVER
            refusals.note(
                move, subject, revision or None, Refused(cause, error.message), cluster.now
            )
            return False
        except ApiError as error:
            refusals.note(move, subject, revision or None, refused(move, error), cluster.now)
            return False
        refusals.accepted(move, subject, revision or None)
        return True

    def _answer(self, decided: Plan) -> None:
        """Write what becomes of people's actions."""
        for outcome in decided.outcomes:
            self.crash()
            self.cluster.answer(outcome)

    def _tell(self, decided: Plan) -> None:
        for announcement in decided.announcements:
            key = (announcement.reason, announcement.key)
            if key not in self._keys:
                self._keys.add(key)
                self.told.append(announcement)

    def _store(self, decided: Plan) -> None:
        """Write the status as it goes over the wire; mere counts may wait."""
        if decided.status is None:
            return
        before = self.status
        assert decided.status.observed_generation >= before.observed_generation
        self.desk.planned = decided.status
        self.desk.desired = decided.status.desired
        if self.order and same_but_for_counts(before, decided.status) and self.order.random() < 0.5:
            return
        self.stored = status_body(self._record(), decided.status)["status"]

    def _record(self) -> OwnerRecord:
        meta = {"name": SERVICE, "namespace": "shop", "uid": UID, "resourceVersion": "1"}
        return OwnerRecord.of({"metadata": meta, "status": dict(self.stored)})
