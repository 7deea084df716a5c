"""Whether what a node says it runs is what was pinned: proven by content, or left open.

A node may name an image by another digest than the pinned one and be right: an index and its
manifests, or a second repository with the same content. Only a registry can tell, and only what
it tells twice counts. What cannot be proven is counted in a metric and heals nothing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum

import structlog

from immutable_operator.domain.model import Backoff
from immutable_operator.registry.client import Registries, RegistryError, Stored
from immutable_operator.runtime.inquiry import Inquiry
from immutable_operator.runtime.metrics import Metrics

__all__ = ["ImageProofs", "Verdict", "compare"]

log = structlog.get_logger()
Pair = tuple[str, str]
AGAIN_SECONDS = 10.0
LATER_SECONDS = 600.0  # until what was not proven is looked at again
RETRY = Backoff(10.0, 600.0)
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

    Pairs are of content, so a verdict holds for ever and for every instance; those that were
    used last are kept.
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
        self._verdicts: OrderedDict[Pair, Verdict] = OrderedDict()
        self._asked_by: dict[Pair, set[str]] = {}
        self._inquiry = Inquiry("image not compared", self._judge, lane=_host, retry=RETRY)

    def different(self, pairs: frozenset[Pair], owner: str) -> frozenset[Pair]:
        """Those that are proven different; ``owner`` is told when more is known."""
        found = set()
        for pair in pairs:
            if pair in self._verdicts:
                self._verdicts.move_to_end(pair)
                if self._verdicts[pair] is Verdict.DIFFERENT:
                    found.add(pair)
            elif pair in self._asked_by or len(self._asked_by) < MOST_PAIRS:
                self._inquiry.want(pair)
                self._asked_by.setdefault(pair, set()).add(owner)
        return frozenset(found)

    async def run(self) -> None:
        """Work off open pairs: of one registry one at a time, so that nobody's pull limits are
        used up, and of several at once, so that a slow one holds up no other."""
        await self._inquiry.run()

    async def _judge(self, pair: Pair) -> float | None:
        owners = self._asked_by.get(pair)
        if not owners:
            # It could not be proven, and no instance reports it any more.
            self._asked_by.pop(pair, None)
            return None
        verdict = await compare(self._registries, pair)
        if verdict is Verdict.DIFFERENT:
            await asyncio.sleep(self._again)
            verdict = await compare(self._registries, pair)
        self._metrics.image_verdicts.labels(verdict).inc()
        if verdict is Verdict.UNKNOWN:
            owners.clear()  # who still reports it until then comes again
            return LATER_SECONDS
        self._verdicts[pair] = verdict
        while len(self._verdicts) > MOST_PAIRS:
            self._verdicts.popitem(last=False)
        for owner in self._asked_by.pop(pair, ()):
            self._changed(owner)
        return None


def _host(pair: Pair) -> str:
    """The registry that is asked about a pair; "" where none is."""
    pinned = Stored.of(pair[0])
    return pinned.host if pinned else ""
