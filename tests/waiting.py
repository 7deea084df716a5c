"""Waiting for a condition with a deadline, instead of sleeping for luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["WAIT_SECONDS", "wait_for"]

# Far longer than anything takes: several lanes share two processors, which may be slow ones.
WAIT_SECONDS = 100.0

# What takes long is polled rarely: polls of five lanes are a good part of a small machine's time.
POLL_SECONDS = 0.05
MOST_POLL_SECONDS = 0.3

T = TypeVar("T")


def wait_for(
    description: str,
    check: Callable[[], T],
    timeout: float = WAIT_SECONDS,
    describe: Callable[[], object] | None = None,
) -> T:
    """Poll ``check`` until it returns something true, and return that.

    An exception from ``check`` counts as "not yet": what is waited for often does not exist
    at first. After ``timeout`` seconds an AssertionError says what was waited for, what the
    last poll gave, and what ``describe`` (called once, then) has to say about the objects.
    """
    began = time.monotonic()
    last: object = "never polled"
    while True:
        try:
            value = check()
            if value:
                return value
            last = repr(value)
        except Exception as error:
            last = f"{type(error).__name__}: {error}"
        waited = time.monotonic() - began
        if waited >= timeout:
            break
        time.sleep(min(max(POLL_SECONDS, waited / 10), MOST_POLL_SECONDS))
    message = f"not within {timeout:g} s: {description}\nlast poll: {last}"
    if describe is not None:
        message += f"\n{_attempt(describe)}"
    raise AssertionError(message)


def _attempt(describe: Callable[[], object]) -> object:
    try:
        return describe()
    except Exception as error:
        return f"(describing it failed too: {type(error).__name__}: {error})"
