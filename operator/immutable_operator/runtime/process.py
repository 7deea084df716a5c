"""The life of one replica: synchronize, stand by, lead, and end as a whole.

Every replica watches and serves; only the holder of the lease plans and writes. If any part ends,
or the lease is lost, the process ends with an exit code other than 0, so that the kubelet restarts
it; a signal ends it gracefully and gives the lease back.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from immutable_operator.admission.fault import Chosen
from immutable_operator.domain.model import Policy
from immutable_operator.kube.client import KubeClient, load_configuration
from immutable_operator.kube.errors import ApiError
from immutable_operator.kube.lease import Lease, LeaseTimes, NotLeader
from immutable_operator.registry.client import Registries
from immutable_operator.runtime.admissions import Admissions
from immutable_operator.runtime.checks import CheckOptions, CheckRunner
from immutable_operator.runtime.evidence import Witnesses
from immutable_operator.runtime.health import Health, heartbeat
from immutable_operator.runtime.host import OwnerReader, run_kopf, sweep
from immutable_operator.runtime.images import ImageProofs
from immutable_operator.runtime.lineages import Lineages
from immutable_operator.runtime.loop import ControlLoop
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.node_watches import NodeOptions
from immutable_operator.runtime.notifications import Notifications
from immutable_operator.runtime.queue import KeyQueue
from immutable_operator.runtime.receiver import NotifyOptions
from immutable_operator.runtime.secrets import SecretOptions
from immutable_operator.runtime.watches import Watches
from immutable_operator.runtime.webhook import Webhook
from immutable_operator.wire.owner import POOL, SERVICE, OwnerKind

__all__ = ["Operator", "Options"]

log = structlog.get_logger()
SWEEP_SECONDS = 600.0
SECOND_SWEEP_SECONDS = 15.0
GRACE_SECONDS = 5.0
# How long a leader that ends waits for the end of the turns that have begun.
REST_SECONDS = 0.5
# A new leader looks first at what changed so lately that the one before may not have seen it.
RECENT_SECONDS = 30.0


@dataclass(frozen=True)
class Options:
    """How to run a replica; see ``immutable-operator run --help``."""

    namespace: str
    identity: str
    kubeconfig: Path | None = None
    context: str | None = None
    lease_name: str = "immutable-operator"
    lease: LeaseTimes = field(default_factory=LeaseTimes)
    listen: str = "0.0.0.0:8080"
    writes_per_second: float = 200.0
    policy: Policy = field(default_factory=Policy)
    watch_secrets: bool = False
    pinning: SecretOptions = field(default_factory=SecretOptions)
    checks: CheckOptions = field(default_factory=CheckOptions)
    plain_http_registries: frozenset[str] = frozenset()
    nodes: NodeOptions | None = None
    gateway: bool = False
    owner_metrics: int = 500
    enforcement: Chosen = field(default_factory=Chosen)
    notify: NotifyOptions | None = None


class Operator:
    """One replica."""

    def __init__(
        self,
        options: Options,
        client: KubeClient,
        metrics: Metrics,
        webhook: Webhook | None = None,
    ) -> None:
        self._options = options
        self._webhook = webhook
        self._client = client
        self._metrics = metrics
        self._health = Health(metrics)
        self._stop = asyncio.Event()
        self._kopf_ready = asyncio.Event()
        self._swept = asyncio.Event()
        self._control: ControlLoop | None = None
        self._queue: KeyQueue[str] = KeyQueue(time.monotonic)
        self._watches = Watches(
            client,
            metrics,
            self._queue,
            secrets=options.watch_secrets,
            pinning=options.pinning,
            break_glass=webhook is not None,
            nodes=options.nodes,
            gateway=options.gateway,
            enforcement=options.enforcement,
        )
        kinds = (SERVICE,) if options.nodes is None else (SERVICE, POOL)
        self._readers = [
            OwnerReader.of(kind, metrics.count_unreadable, options.namespace) for kind in kinds
        ]
        metrics.watch_ages(self._watches.births, client.clock.time)
        registries = Registries(options.plain_http_registries)
        self._images = ImageProofs(registries, self._queue.add, metrics)
        self._admissions = Admissions(client, self._queue.add)
        self._checks = CheckRunner(client, options.checks, self._queue.add, metrics)
        self._lease = Lease(
            client, options.namespace, options.lease_name, options.identity, options.lease
        )
        self._lease.expiring = self._watches.hurry
        client.fence = self._lease.fence
        metrics.watch_owners(options.owner_metrics, lambda: self._lease.leading, client.clock.time)
        self._health.waits_for = self._waits_for
        self._measure()

    async def run(self) -> int:
        """Run until a signal or a failure; return the exit code."""
        await self._health.start(self._options.listen)
        # At its exit kopf cancels every task that is younger than itself: ours start first.
        leader = self._part("leader", self._lead())
        parts = [
            leader,
            self._part("heartbeat", heartbeat(self._health)),
            *(self._part(f"reflector {r.resource}", r.run()) for r in self._watches.reflectors),
            self._part("sweeper", self._sweeps()),
        ]
        if self._webhook:
            parts.append(self._part("webhook", self._webhook.run()))
            parts.append(self._part("webhook probe", self._watches.guards.probe()))
        told = self._part("signal", self._told_to_stop())
        host = self._part("kopf", self._host())
        await asyncio.wait([*parts, host, told], return_when=asyncio.FIRST_COMPLETED)
        code = self._verdict(parts, host)
        await self._step_down(leader)
        await _end([*parts, told])
        self._stop.set()
        await asyncio.wait([host], timeout=GRACE_SECONDS)
        await self._health.stop()
        await self._client.close()
        return code

    async def _step_down(self, leader: asyncio.Task[None]) -> None:
        """First stop all writes, then give the lease back, with what the next leader must see."""
        settled = False
        if self._control is not None and not leader.done():
            # What fails meanwhile cuts off writes of which nobody knows whether they were done.
            settled = await self._rested(self._control) and not leader.done()
        await _end([leader])
        settled = settled and self._watches.claims.is_settled()
        await self._lease.release(self._watches.seen() if settled else None)

    async def _rested(self, control: ControlLoop) -> bool:
        try:
            return await control.rest(REST_SECONDS)
        except Exception as error:
            # The lease is given back whatever happens.
            log.error("the view cannot be handed over", error=str(error))
            return False

    def _part(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.create_task(work, name=name)

    async def _told_to_stop(self) -> None:
        """Take over the signals from kopf, which would wait for tasks that it does not know."""
        await self._kopf_ready.wait()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await stop.wait()

    def _verdict(self, parts: list[asyncio.Task[None]], host: asyncio.Task[None]) -> int:
        """Return 0 if a signal ended the process, or log the part that ended and return 1."""
        failed = [part for part in parts if part.done()]
        if host.done() and host.exception():
            failed.append(host)
        for part in failed:
            log.error("ended", part=part.get_name(), error=_cause(part.exception()))
        if not failed:
            log.info("stopping")
        return 1 if failed else 0

    async def _host(self) -> None:
        """Run kopf once the API server serves our resources, since it discovers them only once."""

        async def login() -> Any:
            return await load_configuration(self._options.kubeconfig, self._options.context)

        while not await self._served():
            await asyncio.sleep(1)
        await run_kopf(login, self._watches.owners, self._kopf_ready, self._stop, self._readers)

    async def _served(self) -> bool:
        for path in (reader.kind.path for reader in self._readers):
            try:
                await self._client.list(path.all(), resource=path.resource, limit=1)
            except ApiError as error:
                log.warning(f"{path.resource} cannot be listed yet", error=str(error))
                return False
        return True

    async def _sweeps(self) -> None:
        """Sweep once kopf watches, soon again for objects that vanished in between, then
        regularly.
        """
        await self._kopf_ready.wait()
        pauses = iter([SECOND_SWEEP_SECONDS])
        while True:
            try:
                corrected = await self._sweep()
                if corrected and self._swept.is_set():
                    self._metrics.corrections.inc(corrected)
                    log.warning("the watches missed some services or pools", missed=corrected)
                self._swept.set()
                pause = next(pauses, SWEEP_SECONDS)
            except ApiError as error:
                log.warning("services or pools cannot be listed", error=str(error))
                pause = 1.0
            await asyncio.sleep(pause)

    async def _sweep(self) -> int:
        """List the owners; return how many the watches had not reported."""
        owners = self._watches.owners
        return sum([await sweep(self._client, owners, reader) for reader in self._readers])

    async def _lead(self) -> None:
        """Stand by until the view is complete and the lease is ours; then plan until it is lost."""
        await self._swept.wait()
        for reflector in self._watches.reflectors:
            await reflector.synced.wait()
        gc.collect()
        gc.freeze()
        log.info("synced", services=self._count(SERVICE), pods=len(self._watches.pods))
        # What the first lists brought is no news: a pod that is lost from here on comes before it.
        self._queue.postpone(0.0)
        election = asyncio.create_task(self._lease.run(), name="lease")
        work = asyncio.create_task(self._work(), name="control loop")
        doubts = asyncio.create_task(self._watches.claims.check(), name="doubtful pods")
        parts = [work, election, doubts]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for task in parts:
                if task.done() and (error := task.exception()):
                    raise error
            raise NotLeader("the lease was lost")
        finally:
            await _end(parts)

    async def _work(self) -> None:
        await self._lease.acquired.wait()
        # A standby plans nothing: what it heard long ago is as good as planned.
        self._queue.postpone(RECENT_SECONDS)
        if self._lease.took_over:
            await self._catch_up(self._lease.handed_over)
        # A new leader does not rely on plans of its predecessor: it plans every service.
        await self._watches.guards.look()
        self._watches.all_again()
        async with asyncio.TaskGroup() as tasks:
            clock = self._client.clock.time
            lineages = Lineages(self._client, clock, time.monotonic)
            notifications = Notifications(self._options.notify, self._metrics, clock)
            self._control = self._loop(lineages, notifications)
            tasks.create_task(self._control.run())
            tasks.create_task(lineages.run())
            tasks.create_task(notifications.run())
            tasks.create_task(self._watches.claims.lead())
            tasks.create_task(self._watches.contents.run())
            tasks.create_task(self._watches.secrets.run())
            tasks.create_task(self._images.run())
            tasks.create_task(self._admissions.run())
            tasks.create_task(self._checks.run())
            tasks.create_task(self._watches.guards.run())
            tasks.create_task(self._watches.orphan_actions.run())
            if self._watches.pools:
                tasks.create_task(self._watches.pools.run())
            if self._webhook:
                tasks.create_task(self._webhook.renew(self._client))

    async def _catch_up(self, seen: Mapping[str, int]) -> None:
        """Wait until the view shows the last write of the leader before.

        After one that was killed everything is listed, the owners beside the rest.
        """
        if seen:
            if await self._watches.refresh(seen):
                await self._sweep_again()
        else:
            await asyncio.gather(self._watches.refresh(seen), self._sweep_again())

    async def _sweep_again(self) -> None:
        while True:
            try:
                await self._sweep()
                return
            except ApiError as error:
                log.warning("services or pools cannot be listed", error=str(error))
                await asyncio.sleep(1.0)

    def _loop(self, lineages: Lineages, notifications: Notifications) -> ControlLoop:
        watches = self._watches
        return ControlLoop(
            self._client,
            watches.owners,
            watches.drivers,
            watches.revisions,
            watches.configs,
            watches.contents,
            self._queue,
            self._metrics,
            lists=watches,
            identity=self._options.identity,
            secrets=watches.secrets,
            guard=watches.guards.of,
            actions=watches.actions,
            freezes=watches.freezes,
            checks=watches.checks,
            check_runner=self._checks,
            budgets=watches.budgets,
            routes=watches.routes,
            gateway=watches.gateway,
            ends=lambda: watches.nodes.ends,
            schedules=watches.schedules,
            lineages=lineages,
            notifications=notifications,
            witnesses=Witnesses(
                watches.configs,
                self._images,
                watches.pods,
                self._admissions,
                watches.secrets.copies.get,
            ),
            policy=self._options.policy,
        )

    def _waits_for(self) -> str | None:
        if not self._swept.is_set():
            return "the list of services"
        if late := self._watches.late:
            return f"the list of {', '.join(late)}"
        if self._webhook and not self._webhook.serving:
            return "the webhook's certificate"
        return None

    def _count(self, kind: OwnerKind) -> int:
        return sum(owner.kind is kind for owner in self._watches.owners)

    def _measure(self) -> None:
        """Let the gauges count when they are scraped: to count each second costs too much."""
        metrics, watches = self._metrics, self._watches
        metrics.leading.set_function(lambda: self._lease.leading)
        metrics.queue_depth.set_function(lambda: len(self._queue))
        counts: dict[str, Callable[[], float]] = {
            "services": lambda: self._count(SERVICE),
            "pods": lambda: len(watches.pods),
            "pools": lambda: self._count(POOL),
            "nodes": lambda: sum(bool(node.owner) for node in watches.nodes.all.values()),
            "revisions": lambda: len(watches.revisions),
        }
        for kind, count in counts.items():
            metrics.objects.labels(kind).set_function(count)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they are gone, but not forever; log what they failed with."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    await asyncio.wait(tasks, timeout=GRACE_SECONDS)
    for task in running:
        if task.done() and not task.cancelled() and (error := task.exception()):
            log.warning("ended", part=task.get_name(), error=_cause(error))


def _cause(error: BaseException | None) -> str:
    """Return the innermost error of a group, as a sentence."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error or "it returned unexpectedly")
