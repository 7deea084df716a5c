"""A table of the faults that were played: how often, how often all held, how long it took."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Report"]

HEAD = (
    "| what the operator does | fault | runs | held | seconds to recover: median | most |\n"
    "|---|---|---|---|---|---|\n"
)


@dataclass
class Report:
    """The runs so far, by scenario and fault: seconds from the fault to the end, None: not held."""

    runs: dict[tuple[str, str], list[float | None]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(self, scenario: str, fault: str, seconds: float | None) -> None:
        self.runs[scenario, fault].append(seconds)

    def table(self) -> str:
        """The runs in Markdown."""
        lines = []
        for (scenario, fault), seconds in sorted(self.runs.items()):
            held = [second for second in seconds if second is not None]
            times = f"{statistics.median(held):.1f} | {max(held):.1f}" if held else "– | –"
            lines.append(f"| {scenario} | {fault} | {len(seconds)} | {len(held)} | {times} |\n")
        return HEAD + "".join(lines)

    def write(self, path: Path) -> None:
        """Write the table, and print where."""
        path.parent.mkdir(exist_ok=True)
        path.write_text(self.table())
        print(f"\n{self.table()}\nThe table is in {path}.")
