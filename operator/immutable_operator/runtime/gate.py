"""A gate that lets a few through at once, owners by turns: nobody waits behind another's queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["FairGate"]

Turn = asyncio.Future[None]


class FairGate:
    """At most ``limit`` inside at once; those who wait get in owner by owner, round robin.

    An owner with one thing to do waits for one turn of each other owner at most, however much
    they have queued.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"a gate for {limit} lets nobody in")
        self._free = limit
        # In the order of their next turns; an owner who has nobody waiting is not in it.
        self._waiting: dict[str, deque[Turn]] = {}

    @asynccontextmanager
    async def turn(self, owner: str) -> AsyncIterator[None]:
        """Wait for a turn of this owner; it ends with the block."""
        await self._enter(owner)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, owner: str) -> None:
        if self._free:
            self._free -= 1
            return
        turn: Turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # it was let in at the moment when it gave up
            else:
                self._forget(owner, turn)
            raise

    def _leave(self) -> None:
        """Pass the place on to the next owner; free it where nobody waits."""
        while self._waiting:
            owner = next(iter(self._waiting))
            turns = self._waiting.pop(owner)
            turn = turns.popleft()
            if turns:
                self._waiting[owner] = turns  # behind all others
            if not turn.done():
                turn.set_result(None)
                return
            # Its task was cancelled and has not run since.
        self._free += 1

    def _forget(self, owner: str, turn: Turn) -> None:
        turns = self._waiting.get(owner, deque())
        if turn in turns:
            turns.remove(turn)
        if not turns:
            self._waiting.pop(owner, None)
