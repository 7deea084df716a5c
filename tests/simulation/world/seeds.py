"""Which seeds a test plays: those of the environment, or a few and those that failed once."""

from __future__ import annotations

import os

from tests.unit.examples import examples

__all__ = ["chosen"]


def chosen(usual: str, once_failed: list[int]) -> list[int]:
    """Return the seeds of ``SEEDS`` (``4711`` or ``0-500``), else ``usual`` and ``once_failed``.

    `make unit` plays a part of the usual ones, and all that once failed.
    """
    given = os.environ.get("SEEDS")
    first, _, last = (given or usual).partition("-")
    asked = range(int(first), int(last or first) + 1)
    if given:
        return list(asked)
    return [*once_failed, *(s for s in asked[: examples(len(asked))] if s not in once_failed)]
