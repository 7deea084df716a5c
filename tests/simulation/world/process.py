"""Operator processes: the real operator on a connection of its own, killed, frozen and thawed.

`start_operator` is the only place that builds anything of the operator.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError
from immutable_operator.kube.lease import Lease, LeaseTimes
from immutable_operator.kube.store import Owners
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.node_watches import NodeOptions
from immutable_operator.runtime.process import Operator, Options
from immutable_operator.wire.owner import POOL, SERVICE, OwnerKind, OwnerRecord
from tests.simulation.world.api import Request
from tests.simulation.world.clock import PROCESS, Running
from tests.simulation.world.connection import Connection, Network
from tests.simulation.world.families import HOME
from tests.simulation.world.karpenter import KARPENTER

if TYPE_CHECKING:
    from tests.simulation.world.world import World

__all__ = ["LEASE", "LEASE_TIMES", "QUIET_TIMES", "Process", "count_tasks", "start_operator"]

LEASE = "immutable-operator"
LEASE_TIMES = LeaseTimes(duration=30.0, renew=20.0, retry=5.0)
# Where nobody competes for it, renewals would be most of what happens.
QUIET_TIMES = LeaseTimes(duration=600.0, renew=400.0, retry=100.0)


class Process(Running):
    """One life of one replica. ``ended`` says why it is over."""

    def __init__(self, world: World, name: str, network: Network) -> None:
        super().__init__(name)
        self._world = world
        self.network = network
        self.tasks: list[asyncio.Task[Any]] = []
        self.ended: str | None = None
        self.dies_at_write: int | None = None
        self.dies_before = True
        self.lease: Lease | None = None
        self.told_to_end = asyncio.Event()

    def renew_seldom(self) -> None:
        """Hold the lease for long at a time, from the next renewal on."""
        if self.lease is not None:
            self.lease.times = QUIET_TIMES

    def sends(self, request: Request) -> None:
        """A request is about to go out: the watcher sees it, and it may be the last one."""
        self._world.sent(self, request)
        if self._counts(request) and self.dies_before:
            self._die()

    def served(self, request: Request) -> None:
        if self._counts(request) and not self.dies_before:
            self._die()

    def _counts(self, request: Request) -> bool:
        return self.dies_at_write is not None and request.is_write and "/leases" not in request.path

    def _die(self) -> None:
        assert self.dies_at_write is not None
        self.dies_at_write -= 1
        if self.dies_at_write < 0:
            self.dies_at_write = None
            self.kill("it crashed at a write")

    def kill(self, why: str) -> None:
        """End every task of it; nothing is asked or written on the way out."""
        if self.ended is not None:
            return
        self.ended = why
        self.network.down = True
        if self.frozen:
            self._world.loop.thaw(self)
        tasks = [t for t in asyncio.all_tasks(self._world.loop) if isinstance(t, _Task)]
        for task in sorted(tasks, key=lambda t: t.number):
            if task.process is self:
                task.cancel()
        self._world.process_ended(self)


class _Task(asyncio.Task):  # type: ignore[type-arg]
    """A task that knows whose it is. Sets of tasks have them in the same order in each run."""

    def __init__(self, coro: Any, *, loop: Any, context: Any, number: int) -> None:
        self.number = number
        known = PROCESS.get() if context is None else context.get(PROCESS)
        self.process: Running | None = known
        super().__init__(coro, loop=loop, context=context)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


def count_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Have the loop make tasks that remember the process in whose context they were made."""
    numbers = itertools.count()

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, context: Any = None) -> Any:
        return _Task(coro, loop=loop, context=context, number=next(numbers))

    loop.set_task_factory(factory)


def start_operator(world: World, name: str) -> Process:
    """Build one replica of the operator as `runtime.process` does, and set it going."""
    network = replace(world.network, lag=dict(world.network.lag))
    process = Process(world, name, network)
    process.wall_offset = world.wall_offset

    async def live() -> None:
        client = Connection(
            world.api,
            name,
            network,
            random.Random(world.rng.random()),
            process.sends,
            process.served,
        )
        options = Options(
            namespace=HOME,
            identity=name,
            lease=world.lease_times,
            nodes=_node_options(world.pools),
        )
        operator = Operator(options, client, Metrics())
        process.lease = operator._lease
        if world.seed % 2:
            operator._watches.few = 0  # as with many instances
        parts = [
            operator._lead(),
            operator._sweeps(),
            *(reflector.run() for reflector in operator._watches.reflectors),
            *_feeds(client, operator, (SERVICE, POOL) if world.pools else (SERVICE,)),
        ]
        process.tasks = [asyncio.create_task(part) for part in parts]
        told = asyncio.create_task(process.told_to_end.wait())
        await asyncio.wait([*process.tasks, told], return_when=asyncio.FIRST_COMPLETED)
        done = [task for task in process.tasks if task.done()]
        if told.done() and not done:
            await operator._step_down(process.tasks[0])
            process.kill("it was told to end")
            return
        error = next((t.exception() for t in done if not t.cancelled()), None)
        process.kill(f"it ended: {_cause(error)}")

    context = copy_context()
    context.run(PROCESS.set, process)
    world.loop.create_task(live(), context=context)
    return process


def _node_options(provider: str) -> NodeOptions | None:
    if not provider:
        return None
    return NodeOptions(home=HOME, simulated=True, karpenter=provider == KARPENTER)


def _cause(error: BaseException | None) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return repr(error)


def _feeds(
    client: KubeClient, operator: Operator, kinds: tuple[OwnerKind, ...]
) -> list[Coroutine[Any, Any, None]]:
    """One feed a kind; kopf is ready when all of them have listed."""
    unlisted = set(kinds)

    def listed(kind: OwnerKind) -> None:
        unlisted.discard(kind)
        if not unlisted:
            operator._kopf_ready.set()

    return [_feed(client, operator._watches.owners, kind, listed) for kind in kinds]


async def _feed(
    client: KubeClient,
    owners: Owners[OwnerRecord],
    kind: OwnerKind,
    listed: Callable[[OwnerKind], None],
) -> None:
    """In the place of kopf: list, watch, list anew; what vanishes in between is not told."""
    path = kind.path.all()
    resource = kind.path.resource
    while True:
        try:
            page = msgspec.json.decode(await client.list(path, resource=resource))
            for body in page["items"] or ():
                owners.upsert(OwnerRecord.of(body, kind, HOME))
            version = int(page["metadata"]["resourceVersion"])
            listed(kind)
            async with client.watch(
                path, resource=resource, silence=310.0, resourceVersion=version
            ) as stream:
                await _follow(stream, owners, kind)
        except (ApiError, TimeoutError, OSError, msgspec.DecodeError):
            await asyncio.sleep(1.0)


async def _follow(stream: Any, owners: Owners[OwnerRecord], kind: OwnerKind) -> None:
    rest = b""
    async for chunk in stream.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            event = msgspec.json.decode(line)
            body = event["object"]
            if event["type"] == "ERROR":
                return
            if event["type"] == "DELETED":
                owners.remove(body["metadata"]["uid"])
            elif event["type"] != "BOOKMARK":
                owners.upsert(OwnerRecord.of(body, kind, HOME))
