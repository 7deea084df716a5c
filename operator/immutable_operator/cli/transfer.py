"""Moves pods from one side of a migration to the other, in small steps, successor first."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from immutable_operator.cli.action import NOT_ANSWERED, PLUGIN
from immutable_operator.cli.arguments import Say
from immutable_operator.cli.migration import Count, step
from immutable_operator.cli.objects import Json, condition
from immutable_operator.cli.sides import AUTOSCALERS, Side

__all__ = ["Transfer"]

POLL_SECONDS = 0.5


@dataclass
class Transfer:
    """One way of a migration: ``old`` loses its pods, ``new`` gets as many.

    ``scaler`` is the autoscaler to bring along, None if there is none. ``total`` is the number of
    pods that must be available; with an autoscaler it is read again before that changes sides.
    Nothing is kept here that the cluster does not say: another run goes on from there.
    """

    old: Side
    new: Side
    total: int
    surge: int
    scaler: Json | None
    timeout: float
    show: Say
    _told: str = ""
    _moved: float = field(default_factory=time.monotonic)

    async def run(self) -> str:
        """Move all pods; return why it cannot go on, "" if all are moved. Raises `ApiError`."""
        while True:
            try:
                problem = await self._once()
            except NOT_ANSWERED as error:
                self._tell(f"waiting for the API server: {error}")
                problem = None
            if problem is not None:
                return problem
            if time.monotonic() - self._moved > self.timeout:
                return (
                    f"nothing changed for {self.timeout:g} s ({self._told}); to see what it waits"
                    f" for: kubectl immutable why {self.new.name}"
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _once(self) -> str | None:
        """Do one step; return "" if all is done, a problem, or None to go on."""
        bodies = [await side.there() for side in (self.old, self.new)]
        old, new = self.old.count(bodies[0]), self.new.count(bodies[1])
        self._tell(f"{self._line(self.old, old)}; {self._line(self.new, new)}")
        if await self._brings_scaler(old, new):
            return None
        shrunk, grown = step(self.total, self.surge, old, new)
        if grown != new.wanted:
            await self.new.scale(grown)
        if shrunk != old.wanted and self._may_shrink():
            await self.old.scale(shrunk)
        stalled = condition(bodies[1], "Stalled")
        if stalled.get("status") == "True" and new.available < new.wanted:
            return f"{self.new.kind} {self.new.name} is stalled: {stalled.get('message')}"
        is_done = old.wanted == old.there == 0 and new.available >= self.total
        return "" if is_done and self._may_shrink() else None

    def _may_shrink(self) -> bool:
        """Whether the autoscaler does not work against it any more."""
        return self.scaler is None or self._scales_new()

    def _scales_new(self) -> bool:
        assert self.scaler is not None  # noqa: S101
        return bool(self.scaler["spec"]["scaleTargetRef"]["kind"] == self.new.kind)

    async def _brings_scaler(self, old: Count, new: Count) -> bool:
        """Let the autoscaler scale the new side once that has pods: it ignores a side without."""
        if self.scaler is None or self._scales_new():
            return False
        self.total = max(self.total, old.wanted)
        if not new.available and self.total:
            return False
        name, namespace = self.scaler["metadata"]["name"], self.old.namespace
        target = {**self.new.target, "name": self.new.name}
        await self.old.client.patch(
            AUTOSCALERS.item(namespace, name),
            {"spec": {"scaleTargetRef": target}},
            resource=AUTOSCALERS.resource,
            manager=PLUGIN,
        )
        self.scaler = {**self.scaler, "spec": {**self.scaler["spec"], "scaleTargetRef": target}}
        self.show(f"HorizontalPodAutoscaler {name} scales {self.new.kind} {self.new.name}")
        return True

    def _line(self, side: Side, count: Count) -> str:
        return (
            f"{side.kind} {count.wanted} wanted, {count.there} there, {count.available} available"
        )

    def _tell(self, line: str) -> None:
        if line != self._told:
            self.show(line)
            self._told, self._moved = line, time.monotonic()
