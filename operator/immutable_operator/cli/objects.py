"""Functions that read API objects as JSON, and that wait for a state."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

__all__ = ["Json", "annotation", "condition", "controller_of", "is_ready", "is_there", "wait"]

Json = dict[str, Any]
POLL_SECONDS = 0.25


async def wait(check: Callable[[], Awaitable[Any]], seconds: float) -> Any:
    """Poll until ``check`` returns a true value, and return it; None after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        found = await check()
        if found or time.monotonic() >= deadline:
            return found or None
        await asyncio.sleep(POLL_SECONDS)


def annotation(item: Mapping[str, Any], key: str) -> str:
    """An annotation of any object; "" if it is not set."""
    return str((item["metadata"].get("annotations") or {}).get(key) or "")


def condition(item: Mapping[str, Any], kind: str) -> Json:
    """A condition of any object; {} if it is not set."""
    found = (item.get("status") or {}).get("conditions") or ()
    return next((c for c in found if c["type"] == kind), {})


def controller_of(item: Mapping[str, Any]) -> str:
    """The UID of the controller of any object; "" if it has none."""
    owners = item["metadata"].get("ownerReferences") or ()
    return next((str(o["uid"]) for o in owners if o.get("controller")), "")


def is_there(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is not terminating."""
    return "deletionTimestamp" not in pod["metadata"]


def is_ready(pod: Mapping[str, Any]) -> bool:
    return is_there(pod) and condition(pod, "Ready").get("status") == "True"
