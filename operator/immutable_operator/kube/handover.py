"""What a standby sees of the lease: that its holder gave it back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec

from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.reading import Identity, decoded
from immutable_operator.kube.reflector import Reflector

__all__ = ["handover"]


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None


class _Lease(msgspec.Struct):
    spec: _Spec | None = None

    @property
    def is_free(self) -> bool:
        return not (self.spec and self.spec.holder_identity)


class _Seen:
    """The sink of the watch: ``free`` is set when no replica holds the lease any more."""

    def __init__(self) -> None:
        self.free = asyncio.Event()

    def replace(self, items: list[_Lease], version: int) -> None:
        for lease in items:
            self.upsert(lease, version)

    def upsert(self, item: _Lease, version: int) -> None:
        if item.is_free:
            self.free.set()

    def remove(self, item: _Lease, version: int) -> None:
        self.free.set()

    def advance(self, version: int) -> None:
        pass

    def known(self, which: Identity) -> _Lease | None:
        return None


@asynccontextmanager
async def handover(
    client: KubeClient, collection: str, name: str
) -> AsyncIterator[Callable[[float], Awaitable[None]]]:
    """Watch one lease; yield a function that waits until it is free, at most so many seconds.

    What happened since the last call counts. Without the watch the function waits for the whole
    time.
    """
    seen = _Seen()

    async def wait(seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(seen.free.wait(), seconds)
        seen.free.clear()

    watch = Reflector(
        client,
        collection,
        "leases",
        lambda raw: decoded(raw, _Lease),
        seen,
        fields=f"metadata.name={name}",
        optional=True,
    )
    watching = asyncio.create_task(watch.run(), name="lease of another replica")
    try:
        yield wait
    finally:
        watching.cancel()
        await asyncio.wait([watching])
