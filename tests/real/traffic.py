"""A client of a Service: requests at a steady rate, to where a kube-proxy would send them.

There is no kube-proxy on the nodes of the bed. This watches the Service's EndpointSlices
itself, acts on a change as late as kube-proxy may, and picks an instance for each connection.
Half of the requests have a connection of their own; the others go over a few connections that
are kept for as long as the server keeps them. A kept connection carries one request at a time: a
request that is due before the last one is answered is not sent, only counted, because the time
that it would wait for its turn says nothing about the server. Nothing is tried twice: a client
that retries would hide what is looked for here.

Requests go only to addresses of test beds (198.18.0.0/15) and to loopback, never more than
MOST_REQUESTS of them and never longer than MOST_SECONDS.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.controlplane import ControlPlane
from tests.waiting import wait_for

__all__ = ["Answer", "Endpoint", "Report", "Traffic", "endpoints_of", "receivers"]

ALLOWED = (IPv4Network("198.18.0.0/15"), IPv4Network("127.0.0.0/8"))
MOST_REQUESTS = 60_000
MOST_SECONDS = 300.0
PER_SECOND = 100
KEPT_CONNECTIONS = 8
# A request that nobody answers fails; one that a busy machine answers late is in the p99.
TIMEOUT_SECONDS = 20.0
# kube-proxy writes its rules at most once in this time (minSyncPeriod, as shipped).
PROXY_SECONDS = 1.0
REWATCH_SECONDS = 0.5
REQUEST = "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\n\r\n"


@dataclass(frozen=True)
class Endpoint:
    """One address of an EndpointSlice, with its conditions."""

    address: str
    port: int
    ready: bool
    serving: bool
    terminating: bool


def endpoints_of(slices: Iterable[Mapping[str, Any]]) -> Iterator[Endpoint]:
    """The endpoints of these EndpointSlices; a condition that is not set means what it must."""
    for piece in slices:
        port = piece["ports"][0]["port"] if piece.get("ports") else 0
        for entry in piece.get("endpoints") or ():
            conditions = entry.get("conditions") or {}
            ready = conditions.get("ready") is not False
            serving = conditions.get("serving")
            yield Endpoint(
                address=entry["addresses"][0],
                port=port,
                ready=ready,
                serving=ready if serving is None else serving,
                terminating=bool(conditions.get("terminating")),
            )


def receivers(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """Those that kube-proxy sends to: the ready ones, and without any the ones that still serve."""
    known = list(endpoints)
    ready = [e for e in known if e.ready]
    return ready or [e for e in known if e.serving and e.terminating]


@dataclass(frozen=True)
class Answer:
    """What became of one request; ``error`` is empty where it was answered as it should be.

    ``late`` is how long this client was late to send it, ``seconds`` how long it waited then
    (for a connection too); ``kept`` says that its connection was one of those that are kept.
    """

    due: float
    late: float
    seconds: float
    address: str
    kept: bool
    version: str
    error: str


def _grouped(answers: Iterable[Answer]) -> dict[tuple[str, bool], list[Answer]]:
    """The answers in order, by instance and by whether their connection was kept."""
    groups: dict[tuple[str, bool], list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[answer.address, answer.kept].append(answer)
    return groups


@dataclass(frozen=True)
class Report:
    """What became of all requests so far."""

    answers: tuple[Answer, ...]
    not_sent: int = 0
    """Requests that were due on a kept connection before it had answered the last one."""

    @property
    def failures(self) -> list[Answer]:
        return [a for a in self.answers if a.error]

    @property
    def versions(self) -> set[str]:
        return {a.version for a in self.answers if not a.error}

    @property
    def addresses(self) -> set[str]:
        return {a.address for a in self.answers if not a.error}

    def percentile(self, percent: float) -> float:
        """The latency in seconds that so many percent of the answered requests stayed below."""
        seconds = sorted(a.seconds for a in self.answers if not a.error)
        return seconds[min(len(seconds) - 1, int(len(seconds) * percent / 100))] if seconds else 0.0

    def __str__(self) -> str:
        lasted = self.answers[-1].due - self.answers[0].due if self.answers else 0.0
        p50, p99, most = (self.percentile(percent) * 1000 for percent in (50, 99, 100))
        late = max((a.late for a in self.answers), default=0.0) * 1000
        return (
            f"{len(self.answers)} requests in {lasted:.0f} s to {len(self.addresses)} instances:"
            f" {len(self.failures)} failed, p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {most:.0f} ms"
            f" (sent up to {late:.0f} ms late, {self.not_sent} not sent)"
        )

    def explain(self) -> str:
        """The failures by instance and the first ones one by one, for a test that fails."""
        began = self.answers[0].due if self.answers else 0.0
        lines = [
            f"{a.due - began:7.2f} s for {a.seconds:.2f} s {a.address}"
            f" ({'kept' if a.kept else 'new'} connection): {a.error}"
            for a in self.failures[:20]
        ]
        return "\n".join([str(self), *self._by_instance(began), *lines])

    def _by_instance(self, began: float) -> Iterator[str]:
        """When each instance answered new and kept connections, and how many it failed."""
        for (address, kept), found in sorted(_grouped(self.answers).items()):
            good = [a.due - began for a in found if not a.error]
            answered = f"{good[0]:.2f} s to {good[-1]:.2f} s" if good else "never"
            failed = sum(bool(a.error) for a in found)
            way = "kept" if kept else "new"
            yield f"{address} over {way} connections: answered {answered}, {failed} failed"


class Traffic:
    """Requests to a Service from `__enter__` on; they end with the block."""

    def __init__(
        self,
        plane: ControlPlane,
        namespace: str,
        service: str,
        per_second: int = PER_SECOND,
    ) -> None:
        self._api = plane.api()
        self._path = (
            f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
            f"?watch=true&labelSelector=kubernetes.io/service-name%3D{service}"
        )
        self._per_second = per_second
        self._slices: dict[str, Any] = {}
        self._receivers: list[Endpoint] = []
        self._answers: list[Answer] = []
        self._not_sent = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for("the first requests are answered", lambda: len(self._answers) >= 10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join(timeout=2 * TIMEOUT_SECONDS)

    def until_without(self, address: str) -> float:
        """Wait until nothing more is sent there over new connections; since when, as `due`."""
        wait_for(
            f"no new connection goes to {address}",
            lambda: address not in {receiver.address for receiver in self._receivers},
        )
        return time.monotonic()

    def report(self) -> Report:
        return Report(tuple(sorted(self._answers, key=lambda a: a.due)), self._not_sent)

    async def _run(self) -> None:
        watching = asyncio.create_task(self._watch())
        try:
            await self._send()
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def _watch(self) -> None:
        """Follow the slices; while the API server is away what was known last holds."""
        context = ssl.create_default_context(cafile=self._api.ca)
        context.load_cert_chain(self._api.certificate, self._api.key)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError, ValueError):
                    async with session.get(self._api.server + self._path, ssl=context) as answer:
                        # The first events tell all that there is.
                        self._slices = {}
                        async for line in answer.content:
                            self._notice(json.loads(line))
                await asyncio.sleep(REWATCH_SECONDS)

    def _notice(self, event: Mapping[str, Any]) -> None:
        piece = event["object"]
        if event["type"] == "DELETED":
            self._slices.pop(piece["metadata"]["name"], None)
        else:
            self._slices[piece["metadata"]["name"]] = piece
        now = receivers(endpoints_of(self._slices.values()))
        asyncio.get_running_loop().call_later(PROXY_SECONDS, self._follow, now)

    def _follow(self, receiving: list[Endpoint]) -> None:
        self._receivers = receiving

    async def _send(self) -> None:
        """One request after the other at its time, whether or not those before are answered."""
        while not self._receivers and not self._stopping.is_set():
            await asyncio.sleep(0.05)
        kept = [_Client(self, kept=True) for _ in range(KEPT_CONNECTIONS)]
        under_way: set[asyncio.Task[None]] = set()
        began = time.monotonic()
        for number in range(MOST_REQUESTS):
            due = began + number / self._per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self._stopping.is_set() or due - began > MOST_SECONDS:
                break
            client = kept[number // 2 % KEPT_CONNECTIONS] if number % 2 else _Client(self)
            if client.is_waiting:
                self._not_sent += 1
                continue
            client.is_waiting = True
            task = asyncio.create_task(self._request(client, due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)
        for client in kept:
            client.close()

    async def _request(self, client: _Client, due: float) -> None:
        version, error = "", ""
        sent = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                version = await client.ask()
        except (OSError, EOFError, ValueError, TimeoutError) as problem:
            client.close()
            error = f"{type(problem).__name__}: {problem}"
        client.is_waiting = False
        seconds = time.monotonic() - sent
        self._answers.append(
            Answer(due, sent - due, seconds, client.address, client.kept, version, error)
        )

    def pick(self) -> Endpoint:
        """Where the next connection goes; raises OSError where no endpoint would take it."""
        if not self._receivers:
            raise ConnectionRefusedError("no endpoint is ready")
        endpoint = random.choice(self._receivers)
        if not any(IPv4Address(endpoint.address) in network for network in ALLOWED):
            raise PermissionError(f"{endpoint.address} is no address of a test bed")
        return endpoint


@dataclass
class _Client:
    """One connection at a time; ``kept`` says not to close it after each answer."""

    traffic: Traffic
    kept: bool = False
    address: str = ""
    is_waiting: bool = False
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> str:
        """Send one request and give the version that answered."""
        if self._streams is None:
            endpoint = self.traffic.pick()
            self.address = endpoint.address
            self._streams = await asyncio.open_connection(endpoint.address, endpoint.port)
        reader, writer = self._streams
        connection = "keep-alive" if self.kept else "close"
        writer.write(REQUEST.format(host=self.address, connection=connection).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(_header(head, "content-length"))
        body = (await reader.readexactly(length)).decode().strip()
        if not self.kept or _header(head, "connection") == "close":
            self.close()
        if head.split()[1] != "200":
            raise ValueError(f"answer {head.split()[1]}: {body}")
        return body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


def _header(head: str, name: str) -> str:
    """A header of an answer, all in lower case; empty where it is not there."""
    lines = (line.partition(":") for line in head.splitlines()[1:])
    return next((value.strip() for key, _, value in lines if key == name), "")
