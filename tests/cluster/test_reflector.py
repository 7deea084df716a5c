"""The reflector against the real API server, with the way to it spoiled in every manner.

Whatever happens to its stream, its store ends equal to what a list says, vanished objects are
told as removed, and it does not ask in a hot loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from immutable_operator.api.names import LABEL_SERVICE
from immutable_operator.instances.pods.codec import PODS, PodRecord, decode_pod
from immutable_operator.kube import reflector as reflector_module
from immutable_operator.kube.client import KubeClient, load_configuration
from immutable_operator.kube.reflector import Reflector
from immutable_operator.kube.store import Children
from tests.cluster.fault_proxy import (
    Fault,
    FaultProxy,
    close_at_once,
    cut_in_the_middle,
    error,
    html,
    refused,
    silence,
)
from tests.cluster.guards import without_guards
from tests.cluster.operator_process import Installation
from tests.cluster.services import pin
from tests.controlplane import ControlPlane
from tests.namespaces import fresh_namespace

NOBODY = ""  # an owner that does not exist would have the garbage collector come
DIRECT = 5_000.0  # writes per second of the test itself


@dataclass
class Bed:
    """One reflector behind a proxy, and a client that goes past it."""

    plane: ControlPlane
    namespace: str
    direct: KubeClient
    proxy: FaultProxy
    store: Children[PodRecord]
    told: list[str]
    resumed: list[str]

    async def create(self, names: Iterable[str]) -> None:
        """Pods that no scheduler and no node touches."""
        await self._together(self._create, names)

    async def delete(self, names: Iterable[str]) -> None:
        await self._together(self._delete, names)

    async def delete_all(self) -> None:
        path = PODS.collection(self.namespace)
        await self.direct.delete(path, {}, resource="pods")

    def known(self) -> set[str]:
        return {pod.content.name for pod in self.store.of(NOBODY)}

    async def until_known(self, names: Iterable[str], timeout: float = 60) -> None:
        wanted = set(names)
        try:
            await _until(lambda: self.known() == wanted, timeout)
        except TimeoutError:
            more, less = len(self.known() - wanted), len(wanted - self.known())
            pytest.fail(f"{more} too many and {less} missing after {timeout} s")

    async def _create(self, name: str) -> None:
        body = {
            "metadata": {"name": name, "labels": {LABEL_SERVICE: "web"}},
            "spec": {
                "schedulingGates": [{"name": "test.example/never"}],
                "containers": [{"name": "web", "image": pin("a")}],
            },
        }
        await self.direct.create(PODS.collection(self.namespace), body, resource="pods")

    async def _delete(self, name: str) -> None:
        await self.direct.delete(PODS.item(self.namespace, name), {}, resource="pods")

    async def _together(self, one: Callable[[str], Awaitable[None]], names: Iterable[str]) -> None:
        gate = asyncio.Semaphore(16)

        async def paced(name: str) -> None:
            async with gate:
                await one(name)

        await asyncio.gather(*(paced(name) for name in names))


@pytest.fixture(scope="module", autouse=True)
def unguarded(installation: Installation) -> Iterator[None]:
    """The pods of these tests are made by an administrator, which the policies refuse."""
    with without_guards(installation.plane):
        yield


@asynccontextmanager
async def bed(plane: ControlPlane, namespace: str) -> AsyncIterator[Bed]:
    """A reflector of the namespace's pods that runs until the end of the block."""
    configuration = await load_configuration(plane.kubeconfig())
    direct = KubeClient(configuration, writes_per_second=DIRECT, timeout=120)
    async with FaultProxy(plane) as proxy:
        through = KubeClient(proxy.configuration())
        told: list[str] = []
        resumed: list[str] = []
        store: Children[PodRecord] = Children(told.append)
        mirror = Reflector(
            through,
            PODS.collection(namespace),
            "pods",
            decode_pod,
            store,
            selector=LABEL_SERVICE,
            resumed=resumed.append,
        )
        running = asyncio.create_task(mirror.run())
        try:
            async with asyncio.timeout(60):
                await mirror.synced.wait()
                while not proxy.watches:
                    await asyncio.sleep(0.01)
            yield Bed(plane, namespace, direct, proxy, store, told, resumed)
            assert not running.done(), "the reflector ended"
        finally:
            running.cancel()
            await asyncio.wait([running])
            await through.close()
            await direct.close()


def pods(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{i}" for i in range(count)]


def test_reflector_loses_no_event_when_stream_is_cut(
    control_plane: ControlPlane, namespace: str
) -> None:
    """Every second, as by a proxy that lets nothing live: no event is lost, and none waits
    for long: a stream that brought news is resumed at once, however it ended."""

    async def run() -> None:
        async with bed(control_plane, namespace) as it:
            names = pods("pod", 600)
            cuts = 0

            async def cutter() -> None:
                nonlocal cuts
                while True:
                    await asyncio.sleep(1)
                    it.proxy.cut()
                    cuts += 1

            cutting = asyncio.create_task(cutter())
            await it.create(names)
            await it.until_known(names)
            await it.delete_all()
            await it.until_known([])
            cutting.cancel()
            assert cuts > 1, "no stream was ever cut: this showed nothing"
            told = f"{len(it.proxy.watches)} watches after {cuts} cuts"
            assert len(it.proxy.watches) >= cuts * 0.7, told
            assert it.proxy.lists == 1, "a cut stream is resumed, not listed again"

    asyncio.run(run())


def test_expired_version_is_listed_again_and_removals_are_reported(
    control_plane: ControlPlane, namespace: str
) -> None:
    """410 after a time in which nothing was heard: the list replaces all that was known."""

    async def run() -> None:
        async with bed(control_plane, namespace) as it:
            first = pods("first", 520)  # more than a page
            await it.create(first)
            await it.until_known(first)
            it.proxy.faults.extend([silence, error(410)])
            it.proxy.cut()
            await _until(lambda: len(it.proxy.faults) == 1)
            await it.delete(first[420:])
            later = pods("later", 20)
            await it.create(later)
            assert it.known() == set(first), "nothing was heard"
            it.told.clear()
            lists = it.proxy.lists
            it.proxy.cut()
            await it.until_known([*first[:420], *later])
            assert it.proxy.lists > lists
            assert len(it.told) == 100 + 20, "each change is told, and nothing else"

    asyncio.run(run())


def test_list_with_expired_page_starts_again(control_plane: ControlPlane, namespace: str) -> None:
    async def run() -> None:
        async with bed(control_plane, namespace) as it:
            names = pods("pod", 520)
            await it.create(names)
            await it.until_known(names)
            it.proxy.refuse_pages = 2
            it.proxy.faults.append(error(410))
            it.proxy.cut()
            await _until(lambda: it.proxy.refuse_pages == 0 and it.proxy.lists >= 7)
            await it.delete(names[:1])
            await it.until_known(names[1:])

    asyncio.run(run())


async def each_at_once(
    plane: ControlPlane, faults: Mapping[str, Fault], one: Callable[[Bed, Fault], Awaitable[None]]
) -> None:
    """Each fault with a reflector, a proxy and a namespace of its own, all at the same time."""

    async def alone(name: str, fault: Fault, namespace: str) -> None:
        try:
            async with bed(plane, namespace) as it:
                await one(it, fault)
        except BaseException as failure:
            failure.add_note(f"with {name}")
            raise

    with ExitStack() as stack:
        names = [stack.enter_context(fresh_namespace(plane)) for _ in faults]
        await asyncio.gather(
            *(alone(*fault, name) for fault, name in zip(faults.items(), names, strict=True))
        )


SPOILED: Mapping[str, Fault] = {
    "ERROR 410": error(410),
    "ERROR 500": error(500),
    "ERROR 429": error(429),
    "HTTP 410": refused(410),
    "HTTP 503": refused(503),
    "HTML": html,
    "a line that is cut in the middle": cut_in_the_middle(3),
    "a stream that is closed at once": close_at_once,
}


def test_reflector_is_complete_after_spoiled_stream(control_plane: ControlPlane) -> None:
    async def one(it: Bed, fault: Fault) -> None:
        await it.create(pods("before", 5))
        await it.until_known(pods("before", 5))
        it.proxy.faults.extend([fault] * 3)
        it.proxy.cut()
        await it.create(pods("after", 10))
        await it.delete(["before-0"])
        wanted = {*pods("before", 5), *pods("after", 10)} - {"before-0"}
        await it.until_known(wanted)
        await _until(lambda: len(it.proxy.watches) >= 5)
        assert it.known() == wanted

    asyncio.run(each_at_once(control_plane, SPOILED, one))


FAILING: Mapping[str, Fault] = {
    name: SPOILED[name] for name in ("ERROR 500", "HTML", "a stream that is closed at once")
}


def test_failing_watch_is_retried_with_pauses(control_plane: ControlPlane) -> None:
    async def one(it: Bed, fault: Fault) -> None:
        it.proxy.always = fault
        it.proxy.cut()
        before = len(it.proxy.watches)
        await asyncio.sleep(5)  # what must not happen has this long
        tries = len(it.proxy.watches) - before
        assert 1 <= tries <= 25, f"{tries} watches in 5 s"
        it.proxy.always = None
        await it.create(["late"])
        await it.until_known(["late"])

    asyncio.run(each_at_once(control_plane, FAILING, one))


def test_half_open_stream_is_detected(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 70 s in a cluster, where a bookmark comes every minute; here after one."""
    assert reflector_module.SILENCE_SECONDS <= 70
    monkeypatch.setattr(reflector_module, "SILENCE_SECONDS", 1.0)

    async def run() -> None:
        async with bed(control_plane, namespace) as it:
            it.proxy.faults.append(silence)
            it.proxy.cut()
            await _until(lambda: not it.proxy.faults)
            await it.create(["late"])
            await it.until_known(["late"])

    asyncio.run(run())


async def _until(check: Callable[[], Any], timeout: float = 60) -> None:
    async with asyncio.timeout(timeout):
        while not check():
            await asyncio.sleep(0.02)
