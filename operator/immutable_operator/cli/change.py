"""One difference between two states, and how it is printed: as a hunk of a unified diff."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from immutable_operator.cli.table import visible

__all__ = ["Change", "coloured", "unified"]

RED, GREEN, CYAN, BOLD, END = "\033[31m", "\033[32m", "\033[36m", "\033[1m", "\033[0m"
CONTEXT = 3


@dataclass(frozen=True)
class Change:
    """What differs at one place: the lines of both sides; without lines there is nothing."""

    where: str
    old: Sequence[str] = ()
    new: Sequence[str] = ()


def unified(old: str, new: str, changes: Iterable[Change]) -> list[str]:
    """Return the lines of a unified diff between two states with these titles."""
    lines = [f"--- {visible(old)}", f"+++ {visible(new)}"]
    for change in changes:
        body = difflib.unified_diff(change.old, change.new, n=CONTEXT, lineterm="")
        for number, line in enumerate(body):
            if number < 2:
                continue  # names of files
            if line.startswith("@@"):
                lines.append(visible(f"{line} {change.where}"))
            else:
                lines.append(visible(line))
    return lines


def coloured(lines: Iterable[str]) -> list[str]:
    """Return the lines of a unified diff with the colours of ``diff --color``."""
    colours = {"---": BOLD, "+++": BOLD, "@@ ": CYAN}
    marks = {"-": RED, "+": GREEN}
    out = []
    for number, line in enumerate(lines):
        # A line of content can begin with the mark of a title.
        title = colours.get(line[:3]) if number < 2 or line.startswith("@@ ") else None
        colour = title or marks.get(line[:1], "")
        out.append(f"{colour}{line}{END}" if colour else line)
    return out
