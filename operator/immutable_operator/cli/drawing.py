"""Draws a table that changes on a terminal. ``get -w`` and the demo share it.

It needs rich, which the extra ``cli`` installs. rich obeys NO_COLOR and TERM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

__all__ = ["Cell", "Column", "Picture", "drawn", "new_console", "redrawn", "style_of"]

REDRAWS_PER_SECOND = 8
STYLES = {
    "ready": "green",
    "terminating": "yellow",
    "leaving": "yellow",
    "draining": "yellow",
    "gone": "dim",
    "starting": "cyan",
    "created": "cyan",
    "pending": "cyan",
    "notready": "cyan",
    "unverified": "cyan",
}


@dataclass(frozen=True)
class Cell:
    """A text; ``style`` is one of rich."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Column:
    """A column that is never wrapped; ``width`` is the least one, so that it keeps its place."""

    title: str = ""
    width: int | None = None


@dataclass(frozen=True)
class Picture:
    """A table with lines above and below it."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    above: Sequence[Cell] = field(default_factory=tuple)
    below: Sequence[Cell] = field(default_factory=tuple)


def style_of(state: str) -> str:
    """Return the colour of a state; what is not known is a trouble."""
    first, _, rest = state.partition(", ")
    style = STYLES.get(first.lower(), "red")
    return "yellow" if rest and style == "green" else style


def drawn(picture: Picture) -> RenderableType:
    """Return what rich prints; texts are never interpreted as markup."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in picture.columns:
        table.add_column(Text(column.title), no_wrap=True, min_width=column.width)
    for row in picture.rows:
        table.add_row(*(Text(cell.text, style=cell.style) for cell in row))
    above, below = (
        [Text(c.text, style=c.style) for c in p] for p in (picture.above, picture.below)
    )
    return Group(*above, Text(), table, *([Text(), *below] if below else []))


def new_console() -> Console:
    """Return a console for standard output that prints texts as they are."""
    return Console(highlight=False, markup=False, emoji=False)


@contextmanager
def redrawn(console: Console, picture: Callable[[], Picture], *, whole: bool) -> Iterator[None]:
    """Draw a picture again and again while the block runs, in a thread of its own.

    Without ``whole`` it is cut off at the height of the terminal.
    """
    with Live(
        console=console,
        get_renderable=lambda: drawn(picture()),
        refresh_per_second=REDRAWS_PER_SECOND,
        vertical_overflow="visible" if whole else "ellipsis",
    ):
        yield
