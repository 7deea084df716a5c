"""Shows a state once, or again after each change: redrawn on a terminal, else a line a change."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from immutable_operator.cli.action import NOT_ANSWERED
from immutable_operator.cli.arguments import Say
from immutable_operator.cli.table import aligned

__all__ = ["Shown", "follow", "news"]

if TYPE_CHECKING:
    from immutable_operator.cli.drawing import Picture

POLL_SECONDS = 1.0
AGES = ("AGE", "SINCE")
STATES = ("STATE", "STATUS")


@dataclass(frozen=True)
class Shown:
    """A state at one time: lines above a table, and the table with its head, if there is one.

    ``key`` is the number of the column that names a row.
    """

    above: Sequence[str] = ()
    table: Sequence[tuple[str, ...]] = field(default_factory=tuple)
    key: int = 0

    @property
    def text(self) -> str:
        space = [""] if self.above and self.table else []
        return "\n".join([*self.above, *space, *aligned(self.table)])

    def lines(self) -> list[tuple[str, str]]:
        """Return what names each line, "" for those above the table, and the line without ages."""
        found = [("", line) for line in self.above]
        if self.table:
            head, *rows = self.table
            kept = [n for n, title in enumerate(head) if title not in AGES]
            found += [(row[self.key], "   ".join(row[n] for n in kept)) for row in rows]
        return found


# The state at a time, in seconds since the epoch.
Render = Callable[[float], Shown]
Read = Callable[[], Awaitable[Render]]


async def follow(read: Read, watch: bool, say: Say, show: Say) -> int:
    """Print what ``read`` returns; with ``watch`` again whenever more changes than the ages.

    Returns the exit code. Raises `ApiError`, also before the first answer of a watch.
    """
    first = await read()
    if not watch:
        show(first(time.time()).text)
        return 0
    screen = _Screen(first)
    with screen.opened(show):
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                state = await read()
            except NOT_ANSWERED as error:
                screen.trouble(f"waiting for the API server: {error}", say)
            else:
                screen.take(state, show)


class _Screen:
    """What was shown last. A terminal is drawn by another thread."""

    def __init__(self, state: Render) -> None:
        self._state = state
        self._trouble = ""
        self._redraws = sys.stdout.isatty()

    def opened(self, show: Say) -> AbstractContextManager[None]:
        if self._redraws:
            try:
                # Only here, because it takes a while to load, and is not always installed.
                from immutable_operator.cli.drawing import new_console, redrawn
            except ModuleNotFoundError:
                self._redraws = False
            else:
                return redrawn(new_console(), self._picture, whole=False)
        show(self._state(time.time()).text)
        return nullcontext()

    def take(self, state: Render, show: Say) -> None:
        """Show another state."""
        before, self._state, self._trouble = self._state, state, ""
        if not self._redraws:
            for line in news(before, state, time.time()):
                show(line)

    def trouble(self, text: str, say: Say) -> None:
        """Say why nothing is known now, once."""
        if text != self._trouble:
            self._trouble = text
            if not self._redraws:
                say(text)

    def _picture(self) -> Picture:
        """Return what is drawn; called by another thread."""
        from immutable_operator.cli.drawing import Cell, Column, Picture, style_of

        shown = self._state(time.time())
        head, *rows = shown.table or ((),)
        states = [n for n, title in enumerate(head) if title in STATES]
        cells = [
            [Cell(text, style_of(text) if n in states else "") for n, text in enumerate(row)]
            for row in rows
        ]
        above = [Cell(line) for line in shown.above]
        below = [Cell(self._trouble, "red")] if self._trouble else []
        return Picture([Column(title) for title in head], cells, above, below)


def news(before: Render, after: Render, now: float) -> Iterator[str]:
    """Yield a line for each thing that differs, with the ages of now."""
    known, bare = before(0.0).lines(), after(0.0).lines()
    for found, (_, line) in zip(bare, after(now).lines(), strict=True):
        if found not in known:
            yield line
    names = {name for name, _ in bare}
    yield from (f"{name} is gone" for name, _ in known if name and name not in names)
