"""What the operator's modules read as ``time``, ``random`` and ``gc`` while a world runs."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import gc
import random
import sys
import time
from collections.abc import Iterator
from typing import Any

import structlog

from immutable_operator.admission.policies import policies
from immutable_operator.checks.asking import Found, NoAnswer
from immutable_operator.domain.model import Finding
from tests.simulation.world.clock import VirtualDatetime, VirtualLoop, WallClock

__all__ = ["stand_ins"]

# Every process reads its policies from the package, which takes longer than the rest of its life.
READ_ONCE = functools.cache(policies)
NOW_ONLY = {"immutable_operator.kube.lease"}  # ask datetime for nothing but the present


class _NoCollector:
    """A process's garbage is not collected apart: that takes longer than the rest of a run."""

    def collect(self) -> int:
        return 0

    def freeze(self) -> None:
        """Nothing."""


class _Measured:
    """What checks find: half of the time nothing, and after a moment."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"{seed}/checks")

    async def __call__(self, *_: object) -> Found:
        await asyncio.sleep(self._rng.choice([0.0, 0.3, 5.0]))
        if self._rng.random() < 0.5:
            raise NoAnswer("no response within 10 s")
        return Found(Finding.PASSED, "status 200")


async def _resolved(*_: object) -> list[tuple[int, str]]:
    return []


def _silent(logger: Any, name: str, event: Any) -> Any:
    raise structlog.DropEvent


@contextlib.contextmanager
def stand_ins(loop: VirtualLoop, seed: int) -> Iterator[None]:
    """Replace them in every module of the operator that has imported them, and put them back."""
    clock = WallClock(loop)
    replaced: list[tuple[Any, str, Any]] = []
    for name, module in sorted(sys.modules.items()):
        if not name.startswith("immutable_operator."):
            continue
        new: dict[str, Any] = {}
        if getattr(module, "time", None) is time:
            new["time"] = clock
        if getattr(module, "random", None) is random:
            new["random"] = random.Random(f"{seed}/{name}")
        if getattr(module, "gc", None) is gc:
            new["gc"] = _NoCollector()
        if getattr(module, "policies", None) is policies:
            new["policies"] = READ_ONCE
        if name in NOW_ONLY and getattr(module, "datetime", None) is datetime.datetime:
            new["datetime"] = VirtualDatetime(clock)
        if name == "immutable_operator.runtime.checks":
            new |= {"measure_http": _Measured(seed), "resolve": _resolved}
        for attribute, stand_in in new.items():
            replaced.append((module, attribute, getattr(module, attribute)))
            setattr(module, attribute, stand_in)
    logs = structlog.get_config()
    structlog.configure(
        processors=[_silent], wrapper_class=structlog.make_filtering_bound_logger(50)
    )
    # Garbage that is collected at some moment closes generators at that moment: no two runs alike.
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        structlog.configure(**logs)
        for module, attribute, before in replaced:
            setattr(module, attribute, before)
