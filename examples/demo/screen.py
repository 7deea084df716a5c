"""The output: steps with their times, and the replacement as it happens.

On a terminal the replacement is a table that is updated; otherwise each change is a line.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from examples.demo.fleet import LEAVING, Fleet, Pod
from examples.demo.place import Json
from immutable_operator.cli.drawing import (
    Cell,
    Column,
    Picture,
    new_console,
    redrawn,
    style_of,
)

__all__ = ["Scene", "Screen"]

COUNTING = ": compiled "  # in the builder's progress, every 5 s
EVENTS_SHOWN = 5
NAME_WIDTH, STATE_WIDTH = 20, 8  # so that the table keeps its place


class Screen:
    """Prints texts without interpreting markup."""

    def __init__(self, steps: int) -> None:
        self._console = new_console()
        self.live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._steps, self._step = steps, 0

    def print(self, text: str = "", style: str | None = None) -> None:
        """Print text for reading: wrapped to the terminal's width, if it is one."""
        self._console.print(text, style=style, soft_wrap=not self.live)

    def command(self, text: str) -> None:
        """Print a command line that a person can copy: never wrapped."""
        self._console.print(text, style="bold", soft_wrap=True)

    @contextmanager
    def step(self, what: str, usual: str) -> Iterator[Screen]:
        """Print a step and its usual duration, and its actual duration at the end."""
        self._step += 1
        began = time.monotonic()
        self.print(f"[{self._step}/{self._steps}] {what} (usually {usual})")
        yield self
        self.print(f"      done in {time.monotonic() - began:.1f} s", style="dim")

    def detail(self, text: str) -> None:
        """Progress within a step; on a terminal a count of compiled packages is one line."""
        if not self.live:
            self.print(f"      {text}")
            return
        erase = Control((ControlType.ERASE_IN_LINE, 2), ControlType.CARRIAGE_RETURN)
        passing = COUNTING in text
        line = Text(f"      {text}", style="dim", no_wrap=passing, overflow="ellipsis")
        self._console.print(erase, line, sep="", end="" if passing else "\n")

    @contextmanager
    def scene(self, fleet: Fleet, since: str) -> Iterator[Scene]:
        """Show ``fleet`` while the block runs; ``since`` is the revision to be replaced."""
        if not self.live:
            yield Scene(self, fleet, since)
            return
        scene = Scene(self, fleet, since)
        with redrawn(self._console, scene.picture, whole=True):
            yield scene


class Scene:
    """One act on the screen: a table of pods and their successors, with the events."""

    def __init__(self, screen: Screen, fleet: Fleet, since: str) -> None:
        self._screen, self._fleet, self._since = screen, fleet, since
        self._began: float | None = None
        self._ended: float | None = None
        self._events: list[str] = []

    @property
    def seconds(self) -> float:
        now = self._ended or time.monotonic()
        return now - (self._began or now)

    def begin(self) -> None:
        """Start the clock if it is not running."""
        self._began = self._began or time.monotonic()

    def end(self) -> None:
        """Stop the clock."""
        self._ended = time.monotonic()

    def pod_changed(self, before: Pod | None, pod: Pod) -> None:
        if self._screen.live or (before and pod.state in (before.state, "starting")):
            return
        if before is None and pod.replaces:
            news = f"is created to replace {pod.replaces} ({pod.because.partition(':')[0]})"
        elif pod.state == LEAVING:
            news = "is terminating"
        else:
            news = f"is {pod.state if before else 'created'}"
        self._say(f"slot {pod.slot}  {pod.name} {news}; {self._fleet.available} available")

    def told(self, event: Json) -> None:
        """Show an event of the service."""
        text = f"{event['reason']}: {event['message']}"
        self._events.append(f"{self.seconds:5.1f} s  {text}")
        if not self._screen.live:
            self._say(f"event   {text}")

    def _say(self, text: str) -> None:
        self._screen.print(f"    {self.seconds:5.1f} s  {text}")

    def picture(self) -> Picture:
        """The current table, with the latest events below it."""
        columns = [Column("  SLOT")]
        for title in ("PREDECESSOR", "SUCCESSOR") if self._since else ("POD",):
            columns += [Column(title, NAME_WIDTH), Column(width=STATE_WIDTH)]
        rows = []
        for pair in self._fleet.pairs(self._since):
            newest = pair.successor or pair.predecessor
            replaces = newest is not None and newest is pair.successor
            because = newest.because.partition(":")[0] if newest and replaces else ""
            old = _cells(pair.predecessor) if self._since else ()
            rows.append((Cell(f"  {pair.slot}"), *old, *_cells(pair.successor), Cell(because)))
        events = [Cell(f"    {event}", "dim") for event in self._events[-EVENTS_SHOWN:]]
        return Picture([*columns, Column("WHY")], rows, below=[self._tally(), *events])

    def _tally(self) -> Cell:
        fleet, service = self._fleet, self._fleet.service
        wanted = service.wanted if service else 0
        text = f"    {self.seconds:5.1f} s  {fleet.available} of {wanted} available"
        if self._since:
            text += f" (fewest so far {fleet.fewest}), {fleet.active} pods (most {fleet.most})"
        return Cell(text, "bold")


def _cells(pod: Pod | None) -> tuple[Cell, Cell]:
    if pod is None:
        return Cell("—", "dim"), Cell("")
    return Cell(pod.name), Cell(pod.state, style_of(pod.state))
