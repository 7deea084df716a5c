"""The control loop: take a key, observe, plan, act, report, write the status, schedule the next
look.

`step` is one complete turn for one service; `run` repeats it. The plan is pure; everything that it
needs to remember is stored in the cluster, except for refusals and the last planned status, which
are found out again after a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec
import structlog

from immutable_operator.api.names import ACTION_PLURAL, FIELD_MANAGER, FINALIZER_POOL, LABEL_POOL
from immutable_operator.domain.families import Family
from immutable_operator.domain.families.nodes import NODES
from immutable_operator.domain.families.pods import PODS
from immutable_operator.domain.model import (
    CONFIG_MAP,
    Announcement,
    Backoff,
    Cause,
    Create,
    CreateRevision,
    Evidence,
    Guard,
    Instance,
    Move,
    NodeEnd,
    Plan,
    Policy,
    Reason,
    Request,
    Status,
    View,
    slot_of,
)
from immutable_operator.domain.planner import plan
from immutable_operator.domain.status.facts import facts
from immutable_operator.instances.driver import Driver
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Conflict, NotFound
from immutable_operator.kube.lease import NotLeader
from immutable_operator.kube.reading import READ_ERRORS
from immutable_operator.kube.store import Children, Owners
from immutable_operator.runtime.actuator import Actuator
from immutable_operator.runtime.barrier import Lists
from immutable_operator.runtime.budgets import BudgetWriter
from immutable_operator.runtime.checks import CheckOptions, CheckRunner
from immutable_operator.runtime.contents import Contents
from immutable_operator.runtime.copies import CopyWriter
from immutable_operator.runtime.evidence import Witnesses
from immutable_operator.runtime.gateway import Gateway
from immutable_operator.runtime.lineages import Lineages
from immutable_operator.runtime.memory import OwnerMemory
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.notifications import Notifications
from immutable_operator.runtime.queue import KeyQueue
from immutable_operator.runtime.records import Records
from immutable_operator.runtime.routes import RouteWriter
from immutable_operator.runtime.schedules import Schedules
from immutable_operator.runtime.secrets import PinnedSecrets, SecretOptions
from immutable_operator.wire.action import ACTIONS, ActionRecord, action_status
from immutable_operator.wire.budget import BudgetRecord, covering
from immutable_operator.wire.check import Checks
from immutable_operator.wire.config import Configs
from immutable_operator.wire.event import announce
from immutable_operator.wire.freeze import Freezes
from immutable_operator.wire.owner import SERVICE, OwnerRecord
from immutable_operator.wire.revision import RevisionRecord
from immutable_operator.wire.route import RouteRecord, names_of_routes, route_key, routes_of
from immutable_operator.wire.status import stored_status

__all__ = ["ControlLoop"]

log = structlog.get_logger()
WORKERS = 32
RETRY = Backoff(1.0, 60.0)
CONFIRM_SECONDS = 10.0
FAMILIES: Mapping[str, Family] = {"service": PODS, "pool": NODES}


class ControlLoop:
    """Plans and acts for all services; only the leader runs it.

    Parameters
    ----------
    lists
        Lists of the collections that make up the view, for writes that stay invisible.
    identity
        This replica's name, for events.
    """

    def __init__(
        self,
        client: KubeClient,
        services: Owners[OwnerRecord],
        drivers: Mapping[str, Driver],
        revisions: Children[RevisionRecord],
        configs: Mapping[str, Configs],
        contents: Contents,
        queue: KeyQueue[str],
        metrics: Metrics,
        *,
        lists: Lists,
        identity: str,
        witnesses: Witnesses,
        secrets: PinnedSecrets | None = None,
        guard: Callable[[OwnerRecord], Guard | None] = lambda owner: None,
        actions: Children[ActionRecord] | None = None,
        freezes: Freezes | None = None,
        checks: Checks | None = None,
        check_runner: CheckRunner | None = None,
        budgets: Children[BudgetRecord] | None = None,
        routes: Children[RouteRecord] | None = None,
        gateway: Gateway | None = None,
        ends: Callable[[], Mapping[str, NodeEnd]] = dict,
        schedules: Schedules | None = None,
        lineages: Lineages | None = None,
        notifications: Notifications | None = None,
        policy: Policy | None = None,
    ) -> None:
        self._client, self._now = client, client.clock.time
        self._services, self._drivers, self._revisions = services, drivers, revisions
        self._contents = contents
        self._secrets = secrets or PinnedSecrets(client, SecretOptions(), queue.add)
        self._queue = queue
        self._metrics = metrics
        self._lists = lists
        self._identity = identity
        self._witnesses = witnesses
        self._guard = guard
        self._actions, self._freezes, self._ends = actions, freezes, ends
        none: Children[BudgetRecord] = Children(lambda namespace: None)
        self._budgets = none if budgets is None else budgets
        no_routes: Children[RouteRecord] = Children(lambda key: None)
        self._routes = no_routes if routes is None else routes
        self._gateway = gateway or Gateway(client, services, queue.add)
        self._policy = policy or Policy()
        self._checks = checks or Checks(lambda namespace: None)
        self._runner = check_runner or CheckRunner(client, CheckOptions(), queue.add, metrics)
        self._memories: dict[str, OwnerMemory] = {}
        self._unplanned = {owner.uid for owner in services}
        self._began = time.monotonic()
        self._resting = self._was_cut_off = False
        self._schedules = schedules or Schedules()
        self._lineages = lineages or Lineages(client, self._now, time.monotonic)
        self._notifications = notifications or Notifications(None, metrics)
        self._actuator = Actuator(
            drivers,
            Records(client, revisions, CopyWriter(client, configs[CONFIG_MAP], self._secrets)),
            BudgetWriter(client, self._budgets),
            RouteWriter(client, self._routes),
            self._gateway,
            metrics,
            client.clock.time,
            time.monotonic,
            self._holds,
        )

    async def run(self) -> None:
        """Process the queue forever, with several workers. Raises `NotLeader` when fenced."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(WORKERS):
                workers.create_task(self._work())

    async def rest(self, seconds: float) -> bool:
        """Begin no turn any more; return whether, within these seconds, those that had begun ended
        and the view showed all writes.
        """
        self._resting = True
        until = time.monotonic() + seconds
        while not self._is_settled():
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(0.01)
        return True

    def _is_settled(self) -> bool:
        if self._was_cut_off or self._queue.busy:
            return False
        return all(memory.barrier.is_open() for memory in self._memories.values())

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            if self._resting:
                self._queue.done(key)
                return
            try:
                await self.step(key)
            except (NotLeader, asyncio.CancelledError):
                # Whether its last write was done is not known.
                self._was_cut_off = True
                raise
            except Exception as error:
                self._failed(key, error)
            finally:
                self._queue.done(key)

    def _holds(self, planned: OwnerRecord) -> bool:
        """Return whether the plan for an owner is still to be carried out."""
        now = self._services.get(planned.uid)
        return now is not None and (now.deleting, now.generation) == (
            planned.deleting,
            planned.generation,
        )

    async def step(self, key: str) -> None:
        """Do one turn for the service with this uid."""
        owner = self._services.get(key)
        if owner is None:
            await self._part(key)
            self._forget(key)
            return
        memory = self._memories.setdefault(key, OwnerMemory())
        if memory.owner is not None and memory.owner.generation != owner.generation:
            memory.refusals.forget(Cause.CHANGED)  # the spec may accept now what was refused
        memory.owner = owner
        if not self._sees_own_writes(key, memory):
            return
        began = time.perf_counter()
        family = FAMILIES[owner.kind.word]
        view = self._view(owner, memory)
        decided = plan(view, self._now(), self._policy, family)
        self._metrics.plan_seconds.observe(time.perf_counter() - began)
        self._first_round(key)
        log.debug("planned", **_about(owner), notes=list(decided.notes))
        memory.note_records(*(revision.id for revision in view.revisions))
        if await self._is_gone(owner, decided, memory):
            self._queue.add(key)
            return
        if decided.actions:
            await self._actuator.act(owner, decided.actions, memory)
        records = any(isinstance(a, CreateRevision) for a in decided.actions)
        if not (records and any(r.move is Move.RECORD for r in memory.refusals.all())):
            await self._tell(owner, decided, memory)  # a refused record is not announced
        self._note(owner, view, decided)
        if decided.status is not None:
            memory.planned, memory.desired = decided.status, decided.status.desired
            await self._write_status(owner, decided.status, memory)
        await self._answer(owner, decided)
        self._runner.want(owner, decided.checks)
        self._measure(owner, decided, memory)
        if not owner.deleting:
            self._lineages.note(owner, view, decided)
        memory.failures = 0
        if decided.due is not None:
            self._queue.add_at(key, time.monotonic() + max(0.0, decided.due - self._now()))
        if decided.actions:
            # With many owners the next turn comes late: what the view shows now is not kept for it.
            memory.barrier.is_open()
            # A refusal changes the plan, and no watch shows it.
            self._queue.add(key)

    def _first_round(self, key: str) -> None:
        """Say when all that were there at the start have been planned once, or are gone."""
        if key not in self._unplanned:
            return
        self._unplanned.discard(key)
        if not self._unplanned:
            log.info("planned all", seconds=round(time.monotonic() - self._began, 1))

    async def _write_status(self, owner: OwnerRecord, status: Status, memory: OwnerMemory) -> None:
        try:
            turn = await memory.report.write(self._client, owner, status)
        except (NotFound, Conflict):
            # Deleted, recreated or written meanwhile: the next turn handles it.
            await self._look_up(owner, memory)
            self._queue.add(owner.uid)
            return
        if turn is not None:
            self._queue.add_at(owner.uid, turn)

    async def _is_gone(self, owner: OwnerRecord, decided: Plan, memory: OwnerMemory) -> bool:
        """Return whether the owner is found to be gone before anything is created for it.

        Its deletion may be seen after that of what it owned, which the garbage collector deletes,
        or never, if its watch missed it. So it is looked up whenever something that was there is to
        be created once more, and otherwise from time to time.
        """
        births = [a for a in decided.actions if isinstance(a, Create)]
        records = [a for a in decided.actions if isinstance(a, CreateRevision)]
        again = any(memory.was_recorded(record.id) for record in records) or any(
            birth.because.reason is Reason.MISSING for birth in births
        )
        is_due = time.monotonic() - memory.confirmed_at > CONFIRM_SECONDS
        if again or (is_due and (births or records)):
            await self._look_up(owner, memory)
        return self._services.get(owner.uid) is None

    async def _look_up(self, owner: OwnerRecord, memory: OwnerMemory) -> None:
        """Ask the API server for the service of this name; the permission to list is enough."""
        memory.confirmed_at = time.monotonic()
        kind = owner.kind
        path = kind.path.collection(owner.namespace if kind.is_namespaced else "")
        named = f"metadata.name={owner.name}"
        try:
            resource = kind.path.resource
            page = await self._client.list(path, resource=resource, fieldSelector=named)
            items = msgspec.json.decode(page)["items"] or ()
            found = [OwnerRecord.of(item, kind, owner.namespace) for item in items]
        except (ApiError, *READ_ERRORS) as error:
            log.warning("owner cannot be looked up", **_about(owner), error=str(error))
            return  # the watch will show it later
        if owner.uid not in {record.uid for record in found}:
            self._services.remove(owner.uid)
        for record in found:
            self._services.upsert(record)

    async def _part(self, key: str) -> None:
        """Say which instances stay after their owner was deleted; pods do not."""
        memory = self._memories.get(key)
        owner = memory.owner if memory else None
        if owner is None or owner.kind is SERVICE:
            return
        left = sorted(i.name for i in self._drivers[owner.kind.word].observe(owner))
        if not left:
            return
        told = Announcement("NodesOrphaned", orphaned_nodes(owner.name, left), owner.uid, True)
        with contextlib.suppress(ApiError):
            await announce(self._client, owner, told, self._now(), self._identity)
        log.warning(
            "nodes remain after the deletion of their pool", **_about(owner), nodes=len(left)
        )

    def _forget(self, key: str) -> None:
        """Drop everything about an owner that is gone."""
        self._first_round(key)
        self._memories.pop(key, None)
        self._contents.forget(key)
        self._secrets.forget(key)
        self._runner.forget(key)
        self._schedules.forget(key)
        self._metrics.owners.forget(key)
        self._lineages.forget(key)
        self._notifications.forget(key)
        self._queue.forget(key)

    def _view(self, owner: OwnerRecord, memory: OwnerMemory) -> View:
        driver = self._drivers[owner.kind.word]
        instances = driver.observe(owner)
        memory.refusals.forget_subjects({i.name for i in instances})
        is_service = owner.kind is SERVICE
        revisions = tuple(r.content for r in self._revisions.of(owner.uid))
        configs, snapshots = self._contents.look(owner, revisions)
        secrets = self._secrets.look(owner, revisions)
        spec = self._schedules.applied(owner.uid, owner.spec, _slots(instances))
        if spec.checks:
            spec = replace(spec, checks=self._checks.resolved(owner.namespace, spec.checks))
        if secrets.withheld:
            granted = {k: o for k, o in spec.pinned.items() if k not in secrets.withheld}
            spec = replace(spec, pinned=granted)
        return View(
            name=owner.name,
            namespace=owner.namespace,
            uid=owner.uid,
            generation=owner.generation,
            spec=spec,
            invalid=owner.invalid,
            deleting=owner.deleting,
            is_protected=FINALIZER_POOL in owner.finalizers,
            author=owner.author,
            instances=instances,
            departed=memory.departed(instances, driver.gone(owner)),
            retired=frozenset(memory.retired),
            revisions=revisions,
            budgets=covering(owner, self._budgets.of(owner.namespace)) if is_service else (),
            routes=routes_of(owner, self._known_routes(owner)) if is_service else (),
            http_route=self._gateway.look(owner) if is_service else None,
            ends=_ends_of(instances, self._ends()),
            configs={**configs, **secrets.sources},
            snapshots=snapshots | secrets.copies,
            withheld=secrets.withheld,
            refusals=memory.refusals.all(self._now()),
            evidence=self._witnesses.evidence(owner, memory.baselines, revisions)
            if is_service
            else Evidence(),
            guard=self._guard(owner),
            requests=tuple(self._requests(owner)),
            freezes=tuple(self._freezes.of(owner)) if self._freezes else (),
            prior=memory.planned or stored_status(owner),
            measured=self._runner.of(owner.uid, revisions),
            retry=owner.retry,
            desired_before=memory.desired,
            sent_numbers=memory.unanswered_numbers(revisions),
        )

    def _known_routes(self, owner: OwnerRecord) -> Iterator[RouteRecord]:
        for name in names_of_routes(owner.name):
            yield from self._routes.of(route_key(owner.namespace, name))

    def _requests(self, owner: OwnerRecord) -> Iterator[Request]:
        """Yield the actions on this service that are not finished."""
        return (action.content for action in self._open_actions(owner))

    def _open_actions(self, owner: OwnerRecord) -> Iterator[ActionRecord]:
        found = self._actions.of(owner.key) if self._actions else ()
        return (action for action in found if not action.ended)

    async def _answer(self, owner: OwnerRecord, decided: Plan) -> None:
        """Write the outcomes of requests of users, except those that ended since the plan."""
        for outcome in decided.outcomes:
            open_ones = {action.uid: action for action in self._open_actions(owner)}
            if (action := open_ones.get(outcome.uid)) is None:
                continue
            path = ACTIONS.item(owner.namespace, outcome.name, "status")
            body = action_status(action, outcome, self._now())
            resource = f"{ACTION_PLURAL}/status"
            try:
                await self._client.apply(path, body, resource=resource, manager=FIELD_MANAGER)
            except (NotFound, Conflict):
                continue  # it is another one by now: the watch shows it, and it is judged anew
            log.info("action", name=outcome.name, phase=outcome.phase, message=outcome.message)

    def _sees_own_writes(self, key: str, memory: OwnerMemory) -> bool:
        """Check the barrier: return False while the view lacks a write for this service."""
        if memory.barrier.is_open():
            return True
        now = time.monotonic()
        if late := memory.barrier.ask(now, self._lists):
            self._metrics.barrier_timeouts.inc(late)
            log.warning(
                "writes of the operator are not visible in the watch yet, listing again", key=key
            )
        # The awaited write arrives as an event of its own; this is the safety net.
        self._queue.add_at(key, memory.barrier.due(now))
        return False

    def _measure(self, owner: OwnerRecord, decided: Plan, memory: OwnerMemory) -> None:
        """Measure how long instances stay stale, and how long each blocker lasts."""
        now = time.monotonic()
        there = {i.name: i for i in self._drivers[owner.kind.word].observe(owner)}
        stale = dict(decided.stale)
        for name in list(memory.stale_since):
            if name not in there:
                since, reason = memory.stale_since.pop(name)
                self._metrics.stale_seconds.labels(owner.kind.name, reason).observe(now - since)
            elif there[name].active and name not in stale:
                del memory.stale_since[name]  # it is wanted again
        for name, reason in stale.items():
            memory.stale_since.setdefault(name, (now, reason))
        before, memory.observed_at = memory.observed_at, now
        if before is not None:
            for blocker in memory.blocked_by:
                self._metrics.blocked_seconds.labels(owner.kind.name, blocker).inc(now - before)
        if decided.status is not None:
            revisions = (r.content for r in self._revisions.of(owner.uid))
            self._metrics.owners.observe(owner, decided.status, revisions)
        blockers = decided.status.blockers if decided.status else ()
        memory.blocked_by = tuple(blocker.reason for blocker in blockers)

    async def _tell(self, owner: OwnerRecord, decided: Plan, memory: OwnerMemory) -> None:
        """Write events before the status: a crash between them repeats an event, but loses none."""
        for told in decided.announcements:
            key, now = (told.reason, told.key), time.monotonic()
            if memory.is_told(key, now):
                continue
            try:
                await announce(self._client, owner, told, self._now(), self._identity)
                memory.told(key, now)
            except ApiError as error:
                log.warning("event cannot be written", **_about(owner), error=str(error))

    def _note(self, owner: OwnerRecord, view: View, decided: Plan) -> None:
        """Let the receiver of notifications know what happened; no step fails because of it."""
        if not self._notifications.enabled:
            return
        try:
            self._notifications.note(owner, facts(view, decided, self._now()))
        except Exception as error:
            log.warning(
                "notifications of a step cannot be queued",
                **_about(owner),
                error=str(error),
                exc_info=error,
            )

    def _failed(self, key: str, error: Exception) -> None:
        """Retry a failed service with back-off, without delaying the others."""
        memory = self._memories.setdefault(key, OwnerMemory())
        memory.failures += 1
        pause = RETRY.after(memory.failures)
        self._metrics.failures.inc()
        owner = self._services.get(key)
        expected = isinstance(error, ApiError)
        log.warning(
            "step failed",
            **(_about(owner) if owner else {"uid": key}),
            error=str(error),
            retry_in=pause,
            exc_info=None if expected else error,
        )
        self._queue.add_at(key, time.monotonic() + pause)


def orphaned_nodes(pool: str, nodes: Sequence[str]) -> str:
    """Return the message about nodes that stay after their pool was deleted."""
    others = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
    return (
        f"pool {pool} was deleted, and its nodes still exist: {nodes[0]}{others}; drain and delete"
        f" those that you do not need (kubectl get nodes -l {LABEL_POOL}={pool})"
    )


def _about(owner: OwnerRecord) -> dict[str, str]:
    return {owner.kind.word: owner.name, "namespace": owner.namespace}


def _ends_of(instances: tuple[Instance, ...], ends: Mapping[str, NodeEnd]) -> dict[str, NodeEnd]:
    """Return the nodes about to be taken away on which a service has instances."""
    if not ends:
        return {}
    nodes = {i.node for i in instances}
    return {name: end for name, end in ends.items() if name in nodes}


def _slots(instances: tuple[Instance, ...]) -> set[float]:
    """Return the slots of the schedule for which living instances were created."""
    found = {slot_of(i.purpose) for i in instances}
    return {slot for slot in found if slot is not None}
