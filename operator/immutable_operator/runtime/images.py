"""Whether what a node says it runs is what was pinned: proven by content, or left open.

A node may name an image by another digest than the pinned one and be right: an index and its
manifests, or a second repository with the same content. Only a registry can tell, and only what
it tells twice counts. What cannot be proven is counted in a metric and heals nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum

import structlog

from immutable_operator.registry.client import Registries, RegistryError, Stored
from immutable_operator.runtime.metrics import Metrics

__all__ = ["ImageProofs", "Verdict", "compare"]

log = structlog.get_logger()
Pair = tuple[str, str]
AGAIN_SECONDS = 10.0
RETRY_SECONDS = 600.0
MOST_PAIRS = 10_000


class Verdict(StrEnum):
    """What a pair of pinned image and reported id is found to be."""

    SAME = "Verified"
    DIFFERENT = "Mismatch"
    UNKNOWN = "Unverifiable"


async def compare(registries: Registries, pair: Pair) -> Verdict:
    """Judge one pair. Only the registry of the pinned image is asked."""
    pinned, reported = Stored.of(pair[0]), pair[1].rpartition("://")[2]
    if pinned is None:
        return Verdict.UNKNOWN
    digest = reported.rpartition("@")[2]
    try:
        digests, configs = await registries.contents(pinned)
        if digest in digests | configs:
            return Verdict.SAME
        claimed = Stored.of(reported)
        if claimed is None or claimed.host != pinned.host:
            return Verdict.UNKNOWN
        _, others = await registries.contents(claimed)
    except RegistryError as error:
        log.info("image not verified", image=pair[0], reported=pair[1], error=str(error))
        return Verdict.UNKNOWN
    return Verdict.SAME if configs & others else Verdict.DIFFERENT


class ImageProofs:
    """The verdicts so far, and the work on those that are open. Only the leader runs it.

    Pairs are of content, so a verdict holds for ever and for every instance.
    """

    def __init__(
        self,
        registries: Registries,
        changed: Callable[[str], None],
        metrics: Metrics,
        *,
        again: float = AGAIN_SECONDS,
    ) -> None:
        self._registries = registries
        self._changed = changed
        self._metrics = metrics
        self._again = again
        self._verdicts: dict[Pair, Verdict] = {}
        self._asked_by: dict[Pair, set[str]] = {}
        self._open: asyncio.Queue[Pair] = asyncio.Queue()

    def different(self, pairs: frozenset[Pair], owner: str) -> frozenset[Pair]:
        """Those that are proven different; ``owner`` is told when more is known."""
        for pair in pairs:
            if pair not in self._verdicts and len(self._asked_by) < MOST_PAIRS:
                if pair not in self._asked_by:
                    self._open.put_nowait(pair)
                self._asked_by.setdefault(pair, set()).add(owner)
        return frozenset(p for p in pairs if self._verdicts.get(p) is Verdict.DIFFERENT)

    async def run(self) -> None:
        """Work off open pairs, one at a time: nobody's pull limits are used up."""
        while True:
            pair = await self._open.get()
            verdict = await compare(self._registries, pair)
            if verdict is Verdict.DIFFERENT:
                await asyncio.sleep(self._again)
                verdict = await compare(self._registries, pair)
            self._metrics.image_verdicts.labels(verdict).inc()
            if verdict is Verdict.UNKNOWN:
                # Asked again after a while, should an instance still report it.
                loop = asyncio.get_running_loop()
                loop.call_later(RETRY_SECONDS, self._asked_by.pop, pair, None)
                continue
            self._verdicts[pair] = verdict
            for owner in self._asked_by.pop(pair, ()):
                self._changed(owner)
