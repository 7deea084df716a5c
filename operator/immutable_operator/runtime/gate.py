"""A gate that lets a few through at once, owners by turns: nobody waits behind another's queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

__all__ = ["FairGate"]

Turn = asyncio.Future[None]


class FairGate:
    """At most ``limit`` inside at once; those who wait get in owner by owner, round robin.

    An owner with one thing to do waits for one turn of each other owner at most, however much
    they have queued. Of one owner at most ``each`` are inside at once.
    """

    def __init__(self, limit: int, *, each: int | None = None) -> None:
        if limit < 1:
            raise ValueError(f"a gate for {limit} lets nobody in")
        self._free = limit
        self._each = limit if each is None else each
        self._inside: dict[Hashable, int] = {}
        # In the order of their next turns; an owner who has nobody waiting is not in it.
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
                self._leave(owner)  # it was let in at the moment when it gave up
            else:
                self._forget(owner, turn)
            raise

    def _may(self, owner: Hashable) -> bool:
        return self._inside.get(owner, 0) < self._each

    def _take(self, owner: Hashable) -> None:
        self._free -= 1
        self._inside[owner] = self._inside.get(owner, 0) + 1

    def _leave(self, owner: Hashable) -> None:
        """Pass the place on to the next owner who may enter; it is free where nobody waits."""
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
            # Its task was cancelled and has not run since.

    def _forget(self, owner: Hashable, turn: Turn) -> None:
        turns = self._waiting.get(owner, deque())
        if turn in turns:
            turns.remove(turn)
        if not turns:
            self._waiting.pop(owner, None)
