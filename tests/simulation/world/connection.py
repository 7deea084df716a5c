"""The way from one operator process to the model API server, and what goes wrong on it.

`Connection` is the real `KubeClient` down to where bytes would go over a socket.
"""

from __future__ import annotations

import asyncio
import functools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any, cast

import aiohttp
from aiolimiter import AsyncLimiter

from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.clock import ServerClock
from immutable_operator.kube.errors import Unreachable, error_from
from immutable_operator.kube.transport import Transport
from tests.simulation.world.api import ModelApi, Request
from tests.simulation.world.refusals import Refused
from tests.simulation.world.storage import encode
from tests.simulation.world.watching import Stream

__all__ = ["Connection", "Network"]

LATENCY = 0.01
# The body, the date, and what it means for the client. A refusal has a date, too.
Said = tuple[bytes, str, Exception | None]


@dataclass
class Network:
    """What befalls the requests and watches of one process; probabilities from 0 to 1.

    ``lost`` requests are never served; ``unanswered`` ones are, but nobody hears of it; ``late``
    ones are served seconds after they were sent. ``lag`` is by resource, ``""`` for all others.
    """

    lost: float = 0.0
    unanswered: float = 0.0
    trouble: float = 0.0
    throttled: float = 0.0
    late: float = 0.0
    down: bool = False
    lag: dict[str, float] = field(default_factory=dict)

    def calm(self) -> None:
        """Everything works from now on."""
        self.lost = self.unanswered = self.trouble = self.throttled = self.late = 0.0
        self.down = False
        self.lag.clear()


class _Response:
    """The part of an HTTP response that the client uses."""

    def __init__(self, body: bytes, content: Stream | None = None) -> None:
        self._body = body
        self.content = content
        self.status = 200

    async def read(self) -> bytes:
        return self._body

    def close(self) -> None:
        if self.content is not None:
            self.content.close()


class _Wire:
    """The part of a transport that the client uses for a response."""

    server = "https://10.0.0.1"

    async def read(self, response: _Response) -> bytes:
        return await response.read()


class Connection(KubeClient):
    """The client of one process. ``sends`` is told of each request before it is on its way."""

    def __init__(
        self,
        api: ModelApi,
        who: str,
        network: Network,
        rng: random.Random,
        sends: Callable[[Request], None],
        served: Callable[[Request], None],
    ) -> None:
        # Nothing of the kubernetes package: there is no socket.
        self._transport = cast(Transport, _Wire())
        self._limit = AsyncLimiter(200.0, 1.0)
        self._seconds = 15.0
        self._model, self.who, self._network, self._rng = api, who, network, rng
        self._sends, self._served = sends, served
        self._count = lambda verb, resource, code: None
        self.fence = lambda: math.inf
        self.clock = ServerClock()

    async def close(self) -> None:
        """There is nothing to close."""

    async def _send(
        self,
        method: str,
        path: str,
        verb: str,
        resource: str,
        query: Mapping[str, str | int] | None,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
        headers: Mapping[str, str],
        seconds: float | None,
        silence: float | None = None,
    ) -> aiohttp.ClientResponse:
        request = Request(
            self.who,
            method,
            path,
            dict(body or {}) if not isinstance(body, Sequence) else {"operations": list(body)},
            {key: str(value) for key, value in (query or {}).items()},
            headers.get("Content-Type", ""),
            "PartialObjectMetadata" in headers["Accept"],
        )
        self._sends(request)
        if self._network.down:
            await asyncio.sleep(self._pause())  # a process that died just now ends here
        if verb == "watch":
            return cast(aiohttp.ClientResponse, await self._watch(request, silence or 70.0))
        return cast(aiohttp.ClientResponse, await self._ask(request, seconds or 15.0))

    async def _watch(self, request: Request, silence: float) -> _Response:
        await asyncio.sleep(self._pause())
        self._stumble(request)
        stream = self._model.watch(request, silence, lambda: self._lag_of(request.route[1]))
        return _Response(b"", stream)

    async def _ask(self, request: Request, patience: float) -> _Response:
        """On the wire a request is its own: it arrives whatever becomes of who sent it."""
        self._stumble(request)
        loop, network, rng = self._model.loop, self._network, self._rng
        answered: asyncio.Future[Said] = loop.create_future()
        sent = self.clock.local()
        late = network.late and rng.random() < network.late
        delay = rng.uniform(0.5, 20.0) if late else self._pause()
        loop.after(delay, self._arrive, request, answered, loop.time() + patience)
        if delay >= patience:
            loop.after(patience, self._give_up, request, answered)
        body, date, error = await answered
        self.clock.note(sent, date)
        if error is not None:
            raise error
        return _Response(body)

    def _give_up(self, request: Request, answered: asyncio.Future[Said]) -> None:
        error = Unreachable(0, "Unreachable", f"{request.path}: no response in time")
        self._answer(answered, (b"", "", error))

    def _arrive(self, request: Request, answered: asyncio.Future[Said], deadline: float) -> None:
        network, rng, loop = self._network, self._rng, self._model.loop
        left = max(0.0, deadline - loop.time())
        if network.down and rng.random() < 0.5:
            loop.after(left, self._give_up, request, answered)
            return  # it went down with its sender
        if loop.time() > deadline:
            # No operator can know of it: it counts as nobody's, like that of a former leader.
            request = replace(request, who=f"{request.who} (gave up)")
        answer = self._model.handle(request)
        self._served(request)
        if network.unanswered and rng.random() < network.unanswered:
            if rng.random() < 0.5:
                loop.after(left, self._give_up, request, answered)
                return  # nobody ever answers
            error = Unreachable(0, "Unreachable", f"{request.path}: connection reset")
            loop.after(self._pause(), self._answer, answered, (b"", "", error))
            return
        refused = error_from(answer.status, answer.body) if answer.status >= 300 else None
        said = (answer.body, _date(int(loop.wall)), refused)
        loop.after(self._pause(), self._answer, answered, said)

    @staticmethod
    def _answer(answered: asyncio.Future[Said], said: Said) -> None:
        if not answered.done():
            answered.set_result(said)

    def _stumble(self, request: Request) -> None:
        """What goes wrong before the server has done anything."""
        network, rng = self._network, self._rng
        if network.down or (network.lost and rng.random() < network.lost):
            raise Unreachable(0, "Unreachable", f"{request.path}: connection refused")
        if network.trouble and rng.random() < network.trouble:
            code = rng.choice([500, 502, 503, 504])
            text = rng.choice([b"<html>bad gateway</html>", b""])
            raise error_from(code, text or _status(code, "InternalError", "etcd is slow"))
        if network.throttled and rng.random() < network.throttled:
            raise error_from(429, b"Too many requests, please try again later.\n", "1")

    def _pause(self) -> float:
        return LATENCY * (0.2 + self._rng.random())

    def _lag_of(self, resource: str) -> float:
        lag = self._network.lag
        most = lag.get(resource, lag.get("", 0.02))
        return most * self._rng.random()


def _status(code: int, reason: str, message: str) -> bytes:
    return encode(Refused(code, reason, message).status)


@functools.lru_cache(maxsize=16)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
