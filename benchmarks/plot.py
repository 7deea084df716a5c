"""A bar chart as SVG, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["bars"]

WIDTH, LABEL, ROW, TOP = 780, 425, 26, 40
COLOR, TEXT = "#5c6bc0", "#888"


def bars(title: str, unit: str, rows: Sequence[tuple[str, float]]) -> str:
    """Return an SVG with one horizontal bar for each (label, value)."""
    most = max((value for _, value in rows), default=0.0) or 1.0
    room = WIDTH - LABEL - 90
    lines = [_text(0, 20, title, "font-weight='bold'")]
    for number, (label, value) in enumerate(rows):
        y = TOP + number * ROW
        width = max(1.0, room * value / most)
        bar = f"<rect x='{LABEL}' y='{y}' width='{width:.1f}' height='16' fill='{COLOR}'/>"
        end = LABEL + width + 6
        lines += [_text(0, y + 13, label), bar, _text(end, y + 13, f"{value:.0f} {unit}")]
    height = TOP + len(rows) * ROW
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}'"
        f" font-family='sans-serif' font-size='13' fill='{TEXT}' role='img'>\n"
        f"<title>{escape(title)}</title>\n" + "\n".join(lines) + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f"<text x='{x:.0f}' y='{y}' {more}>{escape(text)}</text>"
