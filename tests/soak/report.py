"""The report of a soak in Markdown, with plots beside it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.plot import lines
from tests.soak.judge import RULES, Judgement

__all__ = ["Report", "Sample"]

SHOWN = 20


@dataclass(frozen=True)
class Sample:
    """The resident MB of the process that leads, and the writes of all processes so far."""

    minute: float
    process: str
    mb: float
    writes: int


@dataclass
class Report:
    """What happened, what was judged, and the figures."""

    seed: int
    minutes: float
    machine: str
    deeds: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    judgement: Judgement = field(default_factory=Judgement)
    resting: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    cut_off: int = 0

    @property
    def holds(self) -> bool:
        return not self.failures and not any(self.judgement.broken.values())

    def text(self) -> str:
        """The report; plots are in files beside it."""
        verdict = "Everything held." if self.holds else "**Something did not hold; see below.**"
        sections = [
            f"# A soak of {self.minutes:.0f} minutes",
            f"{self.machine}; `{self._command()}`. {verdict}",
            "## Judged\n\n" + self._judged(),
            "## Figures\n\n" + self._figures(),
            "## What happened\n\n" + self._happened(),
            "## At the end\n\n" + self._end(),
        ]
        if self.failures:
            shown = "\n\n".join(f"```\n{text}\n```" for text in self.failures[:SHOWN])
            sections.append(f"## Failures\n\n{shown}")
        return "\n\n".join(sections) + "\n"

    def write(self, folder: Path) -> Path:
        """Write it with its plots, and the list of all deeds; return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        memory = [(sample.minute, sample.mb) for sample in self.samples]
        (folder / "memory.svg").write_text(lines("Memory of the leader", "MB", memory))
        (folder / "writes.svg").write_text(lines("Writes", "a minute", self._rates()))
        (folder / "deeds.txt").write_text("\n".join(self.deeds) + "\n")
        path = folder / "soak.md"
        path.write_text(self.text())
        return path

    def _command(self) -> str:
        return f"make soak HOURS={self.minutes / 60:.2g} SEED={self.seed}"

    def _rates(self) -> list[tuple[float, float]]:
        """Writes a minute between two samples."""
        pairs = zip(self.samples, self.samples[1:], strict=False)
        return [
            (new.minute, (new.writes - old.writes) / (new.minute - old.minute))
            for old, new in pairs
            if new.minute > old.minute
        ]

    def _judged(self) -> str:
        rows = ["| invariant | judged | broken |", "|---|---|---|"]
        for rule in RULES:
            broken = self.judgement.broken.get(rule, [])
            rows.append(f"| {rule} | {self.judgement.judged[rule]} | {len(broken)} |")
        told = [f"- {text}" for texts in self.judgement.broken.values() for text in texts[:SHOWN]]
        return "\n".join([*rows, "", *told]).rstrip()

    def _figures(self) -> str:
        if not self.samples:
            return "No process was sampled."
        memory, rates = [s.mb for s in self.samples], [rate for _, rate in self._rates()] or [0.0]
        middle = sorted(memory)[len(memory) // 2]
        return (
            f"Memory of the leader: median {middle:.0f} MB, most {max(memory):.0f} MB, at the end"
            f" {memory[-1]:.0f} MB. Writes of all replicas: {self.samples[-1].writes},"
            f" at most {max(rates):.0f} a minute. Leaders that ended because the API server gave no"
            f" answer until their lease was lost: {self.cut_off}.\n\n"
            "![Memory](memory.svg)\n\n![Writes](writes.svg)"
        )

    def _happened(self) -> str:
        """How often each deed and fault was tried; refused ones are among them."""
        counted = Counter(deed.partition(": ")[0] for deed in self.deeds)
        rows = [f"| {name} | {count} |" for name, count in sorted(counted.items())]
        return "\n".join(["| deed or fault | times |", "|---|---|", *rows])

    def _end(self) -> str:
        rows = [f"| {name} | {state} |" for name, state in sorted(self.resting.items())]
        return "\n".join(["| object | came to rest |", "|---|---|", *rows])
