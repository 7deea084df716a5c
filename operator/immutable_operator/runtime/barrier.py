"""Read-your-writes: no new plan for an owner before its last writes are in the view."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Barrier"]

Seen = Callable[[], bool]


class Barrier:
    """Writes of one owner that the watches have not shown yet."""

    def __init__(self, patience: float = 10.0) -> None:
        self._patience = patience
        self._unseen: list[Seen] = []
        self._until = 0.0

    def expect(self, seen: Seen, now: float) -> None:
        """After a write: ``seen`` tells whether the view has it. ``now`` is monotonic."""
        self._unseen.append(seen)
        self._until = now + self._patience

    def open(self) -> bool:
        """Whether everything written is in the view."""
        self._unseen = [seen for seen in self._unseen if not seen()]
        return not self._unseen

    def overdue(self, now: float) -> bool:
        return bool(self._unseen) and now >= self._until

    @property
    def until(self) -> float:
        """When patience ends, by the monotonic clock."""
        return self._until

    def clear(self) -> None:
        self._unseen.clear()
