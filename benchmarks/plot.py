"""Bar and line charts as SVG, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["bars", "lines"]

WIDTH, LABEL, ROW, TOP = 780, 425, 26, 40
HEIGHT, LEFT, BOTTOM = 260, 60, 30
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
    return _svg(title, TOP + len(rows) * ROW, lines)


def lines(title: str, unit: str, points: Sequence[tuple[float, float]]) -> str:
    """Return an SVG with one line through (minute, value) points; both axes begin at 0."""
    last = max((minute for minute, _ in points), default=0.0) or 1.0
    most = max((value for _, value in points), default=0.0) or 1.0
    wide, high = WIDTH - LEFT - 20, HEIGHT - TOP - BOTTOM
    places = " ".join(
        f"{LEFT + wide * minute / last:.1f},{TOP + high * (1 - value / most):.1f}"
        for minute, value in points
    )
    axis = f"{LEFT},{TOP} {LEFT},{TOP + high} {LEFT + wide},{TOP + high}"
    drawn = [
        _text(0, 20, f"{title} ({unit})", "font-weight='bold'"),
        f"<polyline points='{axis}' fill='none' stroke='{TEXT}'/>",
        f"<polyline points='{places}' fill='none' stroke='{COLOR}' stroke-width='2'/>",
        _text(0, TOP + 5, f"{most:.0f}"),
        _text(0, TOP + high, "0"),
        _text(LEFT + wide - 60, HEIGHT - 8, f"{last:.0f} min"),
    ]
    return _svg(title, HEIGHT, drawn)


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}'"
        f" font-family='sans-serif' font-size='13' fill='{TEXT}' role='img'>\n"
        f"<title>{escape(title)}</title>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f"<text x='{x:.0f}' y='{y}' {more}>{escape(text)}</text>"
