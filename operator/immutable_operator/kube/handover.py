"""What a standby sees of the lease: when it was renewed, and that its holder gave it back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.reading import Identity, decoded
from immutable_operator.kube.reflector import Reflector

__all__ = ["WatchedLease", "handover"]


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _Lease(msgspec.Struct):
    metadata: _Meta
    spec: _Spec | None = None

    @property
    def is_free(self) -> bool:
        return not (self.spec and self.spec.holder_identity)


class WatchedLease:
    """The sink of the watch.

    Without a watch `wait` waits for the whole time, and `since` knows no version.
    """

    def __init__(self) -> None:
        self._free = asyncio.Event()
        self._version = ""
        self._at = 0.0

    async def wait(self, seconds: float) -> None:
        """Wait until no replica holds the lease, at most so long.

        What happened since the last call counts.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._free.wait(), seconds)
        self._free.clear()

    def since(self, version: str) -> float | None:
        """Return since when the lease has had this version, by this process's monotonic clock.

        This is never before its holder sent it. None for another version than the newest one, and
        for "", which is none.
        """
        return self._at if version and version == self._version else None

    def replace(self, items: list[_Lease], version: int) -> None:
        for lease in items:
            self.upsert(lease, version)

    def upsert(self, item: _Lease, version: int) -> None:
        if item.metadata.resource_version != self._version:
            self._version, self._at = item.metadata.resource_version, time.monotonic()
        if item.is_free:
            self._free.set()

    def remove(self, item: _Lease, version: int) -> None:
        self._free.set()

    def advance(self, version: int) -> None:
        pass

    def known(self, which: Identity) -> _Lease | None:
        return None


@asynccontextmanager
async def handover(
    client: KubeClient, collection: str, name: str, watched: WatchedLease
) -> AsyncIterator[None]:
    """Tell ``watched`` about one lease as long as the context lasts."""
    watch = Reflector(
        client,
        collection,
        "leases",
        lambda raw: decoded(raw, _Lease),
        watched,
        fields=f"metadata.name={name}",
        optional=True,
    )
    watching = asyncio.create_task(watch.run(), name="lease of another replica")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])
