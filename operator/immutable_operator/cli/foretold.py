"""A forecast for people and programs: which revision, what differs, which instances go, when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from immutable_operator.cli.change import Change
from immutable_operator.cli.diff import drawn
from immutable_operator.cli.objects import Json
from immutable_operator.cli.table import age, aligned, visible
from immutable_operator.domain.foreseen import Forecast, Hold, Step
from immutable_operator.domain.model import CreateRevision
from immutable_operator.domain.status.notices import REGENERATION_UNREADABLE
from immutable_operator.kube.times import second

__all__ = ["Foretold", "as_json", "as_text"]

TOLD = ("switch", "weight", "step")
TABLE = ("SLOT", "GOES", "COMES", "CREATED", "RETIRED", "BECAUSE")


@dataclass(frozen=True)
class Foretold:
    """What is known about one owner that is to be changed.

    ``title`` and ``titles`` name it and the two sides of the comparison; ``found`` is from ``now``
    on. ``new`` is the revision that would be recorded, ``asked`` names one that is on record.
    ``spec`` are the differences beside the template. ``is_observed`` says that the time until
    readiness was observed, and not assumed. ``unknown`` are sentences.
    """

    word: str
    namespace: str
    name: str
    exists: bool
    running: str
    asked: str
    new: CreateRevision | None
    titles: tuple[str, str]
    changes: Sequence[Change]
    spec: Sequence[Change]
    found: Forecast
    now: float
    start: float
    is_observed: bool
    desired: int
    unknown: Sequence[str] = field(default_factory=tuple)

    @property
    def instances(self) -> str:
        return "pods" if self.word == "service" else "nodes"

    @property
    def moves(self) -> list[Step]:
        """What happens to instances."""
        return [step for step in self.found.steps if step.moves_instance]

    @property
    def is_changed(self) -> bool:
        """Whether anything differs, or anything happens."""
        return bool(not self.exists or self.changes or self.spec or self.found.steps)


def as_text(told: Foretold) -> str:
    """Return what is printed for people."""
    lines = [_title(told)]
    for changes in (told.changes, told.spec):
        if changes:
            lines.append(drawn(*told.titles, changes))
    if rows := _rows(told):
        lines += ["", *aligned([TABLE, *rows]), ""]
    lines += _summary(told)
    return "\n".join(lines)


def _title(told: Foretold) -> str:
    what = f"{told.word} {told.name}"
    if told.new is not None:
        new = f"revision {told.new.number} ({told.new.id})"
        if not told.exists:
            return f"{what} does not exist: it would be created, with {new}"
        instead = f" instead of {told.running}" if told.running else ""
        return f"{what}: {new} would be recorded, {told.new.reason}, and run{instead}"
    if told.asked and told.running and told.asked != told.running:
        return f"{what}: {told.asked}, which is on record, would run instead of {told.running}"
    return f"{what}: no new revision; it stays at {told.running or told.asked or 'none'}"


def _rows(told: Foretold) -> list[tuple[str, ...]]:
    """Return a row for each replacement, in the order in which they begin."""
    retired = {s.name: s for s in told.moves if s.kind != "create"}
    rows: list[tuple[float, int, tuple[str, ...]]] = []
    for number, step in enumerate(told.moves):
        because = str(step.because or "")
        if step.kind == "create":
            gone = retired.pop(step.replaces, None)
            cells = (
                str(step.slot),
                step.replaces or "-",
                step.name,
                _after(told, step),
                _after(told, gone) if gone else "-",
                because,
            )
            rows.append((step.at, number, cells))
    for number, step in enumerate(retired.values()):
        at = _after(told, step)
        cells = (str(step.slot), step.name, "-", "-", at, str(step.because or ""))
        rows.append((step.at, number, cells))
    return [tuple(map(visible, cells)) for _, _, cells in sorted(rows)]


def _after(told: Foretold, step: Step) -> str:
    return f"+{age(step.at - told.now)}"


def _summary(told: Foretold) -> list[str]:
    found, things = told.found, told.instances
    lines = []
    if told.moves:
        created, gone = (_count(told, *kinds) for kinds in (("create",), ("retire", "quarantine")))
        lines.append(
            f"{created} created, {gone} retired; at least {found.least} of {told.desired} {things}"
            f" available ({found.before} now), at most {found.most} at once"
        )
    if told.moves or found.holds:
        lines.append(_duration(told))
    lines += [_told(told, step) for step in found.steps if step.kind in TOLD]
    lines += [_held(hold) for hold in found.holds]
    if not told.is_changed:
        lines.append("nothing would change")
    elif not told.moves and not found.holds:
        lines.append(f"no {things} would be replaced")
    if ignored := _ignored(told):
        lines.append(f"ignored: {ignored}")
    lines += [f"unknown: {text}" for text in told.unknown]
    return [visible(" ".join(line.split())) for line in lines]


def _ignored(told: Foretold) -> str:
    """Return which parts of the spec would be ignored, or ""."""
    found = told.found.status.condition(REGENERATION_UNREADABLE)
    return found.message if found else ""


def _count(told: Foretold, *kinds: str) -> int:
    return sum(step.kind in kinds for step in told.moves)


def _duration(told: Foretold) -> str:
    source = "as observed" if told.is_observed else "which is assumed"
    supposed = f"if each one is ready {age(told.start)} after its creation, {source}"
    if told.found.is_cut:
        by = age(told.found.steps[-1].at - told.now) if told.found.steps else "0s"
        return f"only the first steps are computed: this is the state after {by}, {supposed}"
    if told.found.ends is None:
        return f"the time of completion cannot be predicted, {supposed}"
    return f"done after about {age(told.found.ends - told.now)}, {supposed}"


def _told(told: Foretold, step: Step) -> str:
    """Return the line about a Service that is switched, a weight, or a step that is done."""
    if step.kind == "step":
        return f"{_after(told, step)}: {step.name} is done"
    if step.kind == "weight":
        return f"{_after(told, step)}: revision {step.revision} gets {step.name}"
    whom = f"revision {step.revision}" if step.revision else "all pods"
    return f"{_after(told, step)}: Service {step.name} selects {whom}"


def _held(hold: Hold) -> str:
    until = "an unknown time" if hold.until is None else second(hold.until)
    return f"held from {second(hold.since)} until {until}: {hold.reason}: {hold.message}"


def as_json(told: Foretold) -> Json:
    """Return what programs read; times are seconds from now, or RFC 3339."""
    found = told.found
    ready = found.status.condition("Ready")
    return {
        "kind": told.word,
        "namespace": told.namespace,
        "name": told.name,
        "exists": told.exists,
        "changed": told.is_changed,
        "revision": _revision(told),
        "running": told.running or None,
        "differences": [
            {"where": c.where, "old": list(c.old), "new": list(c.new)}
            for c in (*told.changes, *told.spec)
        ],
        "steps": [_step(told, step) for step in found.steps],
        "available": {"now": found.before, "least": found.least, "desired": told.desired},
        "mostInstances": found.most,
        "seconds": None if found.ends is None else found.ends - told.now,
        "isCut": found.is_cut,
        "readyAfterSeconds": told.start,
        "readyAfterObserved": told.is_observed,
        "holds": [
            {
                "reason": hold.reason,
                "message": hold.message,
                "since": second(hold.since),
                "until": None if hold.until is None else second(hold.until),
            }
            for hold in found.holds
        ],
        "end": {"reason": ready.reason, "message": ready.message} if ready else None,
        "ignored": _ignored(told) or None,
        "unknown": list(told.unknown),
    }


def _revision(told: Foretold) -> Json | None:
    if told.new is None:
        return {"name": told.asked, "isNew": False} if told.asked else None
    new = told.new
    return {"id": new.id, "number": new.number, "reason": new.reason, "isNew": True}


def _step(told: Foretold, step: Step) -> dict[str, Any]:
    found: dict[str, Any] = {
        "after": step.at - told.now,
        "move": step.kind,
        "name": step.name,
        "revision": step.revision,
        "available": step.available,
    }
    if step.moves_instance:
        found |= {"slot": step.slot, "replaces": step.replaces or None}
        found["because"] = str(step.because or "")
    return found
