"""Whether the image that a node reports is the pinned one: proven by content, or left open.

A node may legitimately report another digest than the pinned one: for an index and its manifests,
or for a second repository with the same content. Only a registry can decide, and only an answer
that it gives twice counts. A pair that cannot be proven is counted in a metric and replaces
nothing.
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
LATER_SECONDS = 600.0  # until a pair that was not proven is compared again
RETRY = Backoff(10.0, 600.0)
MOST_PAIRS = 10_000


class Verdict(StrEnum):
    """The result for a pair of pinned image and reported image id."""

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
        log.info("image cannot be verified", image=pair[0], reported=pair[1], error=str(error))
        return Verdict.UNKNOWN
    return Verdict.SAME if configs & others else Verdict.DIFFERENT


class ImageProofs:
    """The verdicts so far, and the comparison of open pairs. Only the leader runs it.

    Pairs identify content, so a verdict is valid forever and for every instance; the most recently
    used verdicts are kept.
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
        self._inquiry = Inquiry("image comparison failed", self._judge, lane=_host, retry=RETRY)

    def different(self, pairs: frozenset[Pair], owner: str) -> frozenset[Pair]:
        """Return the pairs proven different; ``owner`` is notified when more is known."""
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
        """Compare open pairs: one at a time per registry, so that pull limits are not used up,
        and several registries at once, so that a slow one delays no other.
        """
        await self._inquiry.run()

    async def _judge(self, pair: Pair) -> float | None:
        owners = self._asked_by.get(pair)
        if not owners:
            # It could not be proven, and no instance reports it any longer.
            self._asked_by.pop(pair, None)
            return None
        verdict = await compare(self._registries, pair)
        if verdict is Verdict.DIFFERENT:
            await asyncio.sleep(self._again)
            verdict = await compare(self._registries, pair)
        self._metrics.image_verdicts.labels(verdict).inc()
        if verdict is Verdict.UNKNOWN:
            owners.clear()  # owners that still report it are added again
            return LATER_SECONDS
        self._verdicts[pair] = verdict
        while len(self._verdicts) > MOST_PAIRS:
            self._verdicts.popitem(last=False)
        for owner in self._asked_by.pop(pair, ()):
            self._changed(owner)
        return None


def _host(pair: Pair) -> str:
    """Return the registry that is asked about a pair; "" if there is none."""
    pinned = Stored.of(pair[0])
    return pinned.host if pinned else ""
