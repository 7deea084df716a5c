"""A gate that admits a few at once, taking turns by owner: a long queue delays no other owner."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

__all__ = ["FairGate"]

Turn = asyncio.Future[None]


class FairGate:
    """At most ``limit`` inside at once; the waiting ones are admitted owner by owner, round robin.

    An owner with one task waits for at most one turn of each other owner, however many tasks they
    have queued. At most ``each`` tasks of one owner are inside at once.
    """

    def __init__(self, limit: int, *, each: int | None = None) -> None:
        if limit < 1:
            raise ValueError(f"the limit of a gate must be at least 1, not {limit}")
        self._free = limit
        self._each = limit if each is None else each
        self._inside: dict[Hashable, int] = {}
        # In the order of their next turns; an owner without waiting tasks is not in it.
        self._waiting: dict[Hashable, deque[Turn]] = {}

    @asynccontextmanager
    async def turn(self, owner: Hashable) -> AsyncIterator[None]:
        """Wait for a turn of this owner; it ends with the block."""
        await self._enter(owner)
        try:
            yield
        finally:
            self._leave(owner)

    async def _enter(self, owner: Hashable) -> None:
        if self._free and self._may(owner):
            self._take(owner)
            return
        turn: Turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(owner)  # it was admitted in the moment of its cancellation
            else:
                self._forget(owner, turn)
            raise

    def _may(self, owner: Hashable) -> bool:
        return self._inside.get(owner, 0) < self._each

    def _take(self, owner: Hashable) -> None:
        self._free -= 1
        self._inside[owner] = self._inside.get(owner, 0) + 1

    def _leave(self, owner: Hashable) -> None:
        """Pass the place to the next owner that may enter; free it if there is none."""
        self._free += 1
        self._inside[owner] -= 1
        if not self._inside[owner]:
            del self._inside[owner]
        while following := next(filter(self._may, self._waiting), None):
            turns = self._waiting.pop(following)
            turn = turns.popleft()
            if turns:
                self._waiting[following] = turns  # behind all others
            if not turn.done():
                self._take(following)
                turn.set_result(None)
                return
            # That task was cancelled and has not run since.

    def _forget(self, owner: Hashable, turn: Turn) -> None:
        turns = self._waiting.get(owner, deque())
        if turn in turns:
            turns.remove(turn)
        if not turns:
            self._waiting.pop(owner, None)
