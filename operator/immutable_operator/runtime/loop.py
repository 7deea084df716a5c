"""The control loop: take a key, look, plan, act, tell, write the status, say when to look again.

`step` is one turn for one service and is all there is to it; `run` repeats it. The plan is
pure; everything that it needs to remember is in the cluster, but for refusals and the last
status that was planned, which a restart finds out anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

import structlog

from immutable_operator.api.names import ACTION_PLURAL, FIELD_MANAGER
from immutable_operator.domain.model import (
    CreateRevision,
    Guard,
    Instance,
    Move,
    Plan,
    Policy,
    Request,
    Status,
    View,
)
from immutable_operator.domain.planner import plan
from immutable_operator.instances.pods.watched import Pods
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, NotFound
from immutable_operator.kube.lease import NotLeader
from immutable_operator.kube.store import Children, Owners
from immutable_operator.runtime.actuator import Actuator, Memory
from immutable_operator.runtime.contents import Contents
from immutable_operator.runtime.evidence import Baselines, Witnesses
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.queue import KeyQueue
from immutable_operator.runtime.report import Report
from immutable_operator.runtime.schedules import Schedules
from immutable_operator.wire.action import ACTIONS, ActionRecord, action_status
from immutable_operator.wire.config import Configs
from immutable_operator.wire.event import announce
from immutable_operator.wire.freeze import Freezes
from immutable_operator.wire.revision import RevisionRecord
from immutable_operator.wire.service import ServiceRecord
from immutable_operator.wire.status import stored_status

__all__ = ["ControlLoop", "Desk"]

log = structlog.get_logger()
WORKERS = 8
RETELL = 3600.0  # seconds that the API server keeps an event
RETRY_BASE, RETRY_MOST = 0.5, 60.0


class Desk(Memory):
    """What the loop remembers of one service beside what the actuator does."""

    def __init__(self) -> None:
        super().__init__()
        self.planned: Status | None = None
        self.report = Report()
        self.told: dict[tuple[str, str], float] = {}
        self.failures = 0
        self.baselines = Baselines()
        self.stale_since: dict[str, tuple[float, str]] = {}
        self.observed_at: float | None = None
        self.blocked_by: tuple[str, ...] = ()
        self._last: dict[str, Instance] = {}
        self._departed: dict[str, Instance] = {}

    def departed(
        self, instances: tuple[Instance, ...], gone: Mapping[str, Instance]
    ) -> tuple[Instance, ...]:
        """Those seen before that are gone, until a successor of theirs is seen or all is well.

        ``gone`` has them by name as they were in the end.
        """
        here = {i.name: i for i in instances}
        if self.planned and self.planned.rollout is None:
            self._departed.clear()
        left = {name: i for name, i in self._last.items() if name not in here}
        self._departed |= {name: gone.get(name, i) for name, i in left.items()}
        for instance in instances:
            self._departed.pop(instance.replaces or "", None)
        self._last = here
        known = (*instances, *self._departed.values())
        self.retired &= {instance.uid for instance in known}
        return tuple(self._departed.values())


class ControlLoop:
    """Plans and acts for all services; only the leader runs it.

    Parameters
    ----------
    relist
        Called when an own write stays unseen: the reflectors list again.
    identity
        This replica's name, for events.
    """

    def __init__(
        self,
        client: KubeClient,
        services: Owners[ServiceRecord],
        pods: Pods,
        revisions: Children[RevisionRecord],
        configs: Configs,
        contents: Contents,
        queue: KeyQueue,
        metrics: Metrics,
        *,
        relist: Callable[[], None],
        identity: str,
        witnesses: Witnesses,
        guard: Callable[[str], Guard | None] = lambda namespace: None,
        actions: Children[ActionRecord] | None = None,
        freezes: Freezes | None = None,
        policy: Policy | None = None,
    ) -> None:
        self._client = client
        self._services, self._pods, self._revisions = services, pods, revisions
        self._contents = contents
        self._queue = queue
        self._metrics = metrics
        self._relist = relist
        self._identity = identity
        self._witnesses = witnesses
        self._guard = guard
        self._actions, self._freezes = actions, freezes
        self._policy = policy or Policy()
        self._desks: dict[str, Desk] = {}
        self._schedules = Schedules()
        self._actuator = Actuator(
            client, pods, revisions, configs, metrics, time.time, time.monotonic
        )

    async def run(self) -> None:
        """Work off the queue for ever, with several hands. Raises `NotLeader` when fenced."""
        async with asyncio.TaskGroup() as hands:
            for _ in range(WORKERS):
                hands.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                await self.step(key)
            except NotLeader:
                raise
            except Exception as error:
                self._failed(key, error)
            finally:
                self._queue.done(key)
                self._metrics.queue_depth.set(len(self._queue))

    async def step(self, key: str) -> None:
        """One turn for the service with this uid."""
        service = self._services.get(key)
        if service is None:
            self._desks.pop(key, None)
            self._contents.forget(key)
            self._schedules.forget(key)
            self._queue.forget(key)
            return
        desk = self._desks.setdefault(key, Desk())
        if not self._sees_own_writes(key, desk):
            return
        began = time.perf_counter()
        decided = plan(self._view(service, desk), time.time(), self._policy)
        self._metrics.plan_seconds.observe(time.perf_counter() - began)
        log.debug("planned", service=service.name, notes=list(decided.notes))
        if decided.actions:
            await self._actuator.act(service, decided.actions, desk)
        records = any(isinstance(a, CreateRevision) for a in decided.actions)
        if not (records and any(r.move is Move.RECORD for r in desk.refusals.all())):
            await self._tell(service, decided, desk)  # a refused record is not told as made
        if decided.status is not None:
            desk.planned = decided.status
            turn = await desk.report.write(self._client, service, decided.status)
            if turn is not None:
                self._queue.add_at(key, turn)
        await self._answer(service, decided)
        self._measure(service, decided, desk)
        desk.failures = 0
        if decided.due is not None:
            self._queue.add_at(key, time.monotonic() + max(0.0, decided.due - time.time()))
        if decided.actions:
            # What was refused changes the plan and shows in no watch.
            self._queue.add(key)

    def _view(self, service: ServiceRecord, desk: Desk) -> View:
        pods = list(self._pods.of(service.uid))
        instances = tuple(pod.content for pod in pods)
        desk.refusals.forget_subjects({i.name for i in instances})
        revisions = tuple(r.content for r in self._revisions.of(service.uid))
        configs, snapshots = self._contents.look(service, revisions)
        return View(
            name=service.name,
            namespace=service.namespace,
            uid=service.uid,
            generation=service.generation,
            spec=service.spec and self._schedules.applied(service.uid, service.spec),
            invalid=service.invalid,
            deleting=service.deleting,
            author=service.author,
            instances=instances,
            departed=desk.departed(instances, self._pods.gone(service.uid)),
            retired=frozenset(desk.retired),
            revisions=revisions,
            configs=configs,
            snapshots=snapshots,
            refusals=desk.refusals.all(),
            evidence=self._witnesses.evidence(service, pods, desk.baselines, revisions),
            guard=self._guard(service.namespace),
            requests=tuple(self._requests(service)),
            freezes=tuple(self._freezes.of(service)) if self._freezes else (),
            prior=desk.planned or stored_status(service),
        )

    def _requests(self, service: ServiceRecord) -> Iterator[Request]:
        """Actions on this service that are not finished."""
        found = self._actions.of(f"{service.namespace}/{service.name}") if self._actions else ()
        return (action.content for action in found if not action.ended)

    async def _answer(self, service: ServiceRecord, decided: Plan) -> None:
        """Write what became of people's requests."""
        requests = {r.uid: r for r in self._requests(service)}
        for outcome in decided.outcomes:
            path = ACTIONS.item(service.namespace, outcome.name, "status")
            body = action_status(service.namespace, requests[outcome.uid], outcome, time.time())
            resource = f"{ACTION_PLURAL}/status"
            with contextlib.suppress(NotFound):
                await self._client.apply(path, body, resource=resource, manager=FIELD_MANAGER)
            log.info("action", name=outcome.name, phase=outcome.phase, message=outcome.message)

    def _sees_own_writes(self, key: str, desk: Desk) -> bool:
        """The barrier: False while the view lacks what was written for this service."""
        if desk.barrier.open():
            return True
        now = time.monotonic()
        if desk.barrier.overdue(now):
            self._metrics.barrier_timeouts.inc()
            log.warning("own writes not seen, listing again", key=key)
            desk.barrier.clear()
            self._relist()
            self._queue.add_at(key, now + 1.0)
            return False
        # News of the awaited write comes as an event of its own; this is the safety net.
        self._queue.add_at(key, min(desk.barrier.until, now + 0.5))
        return False

    def _measure(self, service: ServiceRecord, decided: Plan, desk: Desk) -> None:
        """How long instances stay stale, and how long a service is held back by what."""
        now = time.monotonic()
        there = {pod.content.name: pod.content for pod in self._pods.of(service.uid)}
        stale = dict(decided.stale)
        for name in list(desk.stale_since):
            if name not in there:
                since, reason = desk.stale_since.pop(name)
                self._metrics.stale_seconds.labels(reason).observe(now - since)
            elif there[name].active and name not in stale:
                del desk.stale_since[name]  # it is wanted again
        for name, reason in stale.items():
            desk.stale_since.setdefault(name, (now, reason))
        before, desk.observed_at = desk.observed_at, now
        if before is not None:
            for blocker in desk.blocked_by:
                self._metrics.blocked_seconds.labels(blocker).inc(now - before)
        blockers = decided.status.blockers if decided.status else ()
        desk.blocked_by = tuple(blocker.reason for blocker in blockers)

    async def _tell(self, service: ServiceRecord, decided: Plan, desk: Desk) -> None:
        """Events before the status, so that a crash between them repeats rather than loses."""
        for told in decided.announcements:
            key, now = (told.reason, told.key), time.monotonic()
            if now - desk.told.get(key, float("-inf")) < RETELL:
                continue
            try:
                await announce(self._client, service, told, time.time(), self._identity)
                desk.told[key] = now
            except ApiError as error:
                log.warning("event not written", service=service.name, error=str(error))

    def _failed(self, key: str, error: Exception) -> None:
        """One service's trouble is retried with back-off and does not hold up the others."""
        desk = self._desks.setdefault(key, Desk())
        desk.failures += 1
        pause = min(RETRY_MOST, RETRY_BASE * 2.0 ** min(desk.failures, 10))
        self._metrics.failures.inc()
        service = self._services.get(key)
        expected = isinstance(error, ApiError)
        log.warning(
            "step failed",
            service=service.name if service else key,
            namespace=service.namespace if service else "",
            error=str(error),
            retry_in=pause,
            exc_info=None if expected else error,
        )
        self._queue.add_at(key, time.monotonic() + pause)
