"""Tables as kubectl prints them, and texts that cannot confuse a terminal."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["age", "aligned", "visible"]

MINUTE, HOUR, DAY = 60, 3600, 86400
# Up to how many seconds: two units, of which the second may be left out.
STEPS = (
    (2 * MINUTE, 1, "s", 0, ""),
    (10 * MINUTE, MINUTE, "m", 1, "s"),
    (3 * HOUR, MINUTE, "m", 0, ""),
    (8 * HOUR, HOUR, "h", MINUTE, "m"),
    (2 * DAY, HOUR, "h", 0, ""),
    (8 * DAY, DAY, "d", HOUR, "h"),
    (2 * 365 * DAY, DAY, "d", 0, ""),
)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each row; all rows have the same number of cells."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def age(seconds: float) -> str:
    """Return a duration as in the column AGE of kubectl."""
    whole = max(0, int(seconds))
    for most, large, unit, small, rest in STEPS:
        if whole < most:
            left = whole % large // small if small else 0
            return f"{whole // large}{unit}" + (f"{left}{rest}" if left else "")
    years, left = divmod(whole // DAY, 365)
    return f"{years}y" + (f"{left}d" if left and years < 8 else "")


def visible(text: str) -> str:
    """Return a line in which control characters are escaped; tabs stay."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text
    )
