"""Runs told as stories for people, and kept: tests/simulation/golden/*.txt.

A line has a time (where it moved on), who, and what. ``fleet`` draws the pods by revision, in
the marks of `tests.unit.given` (``#`` available, ``+`` ready, ``.`` not ready, ``x`` ended, ``-``
leaving, ``q`` in quarantine); ``r2/0`` is the pod in slot 0 of revision 2, ``r2/0'`` the next one
born there.

``UPDATE_GOLDEN=1 pytest tests/simulation`` writes the files anew; the diff is then read as what
changed for users.
"""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from pathlib import Path

from immutable_operator.domain.model import Command, Create, Instance, Plan
from tests.simulation.simulation import Simulation
from tests.simulation.toy_cluster import START
from tests.unit.given import REVISIONS

__all__ = ["GOLDEN", "Story", "begun", "counts_by_letter"]

GOLDEN = Path(__file__).parent / "golden"
DRAWN, NAMED = 8, 4  # more pods than these are counted instead


class Story(Simulation):
    """A run that writes down what happens; its golden file is in ``folder``."""

    folder = GOLDEN

    def __init__(self, title: str) -> None:
        self.lines = [title, "=" * len(title)]
        self._labels: dict[str, str] = {}
        self._befell: dict[str, list[str]] = {}
        self._works = ""
        self._condition = self._fleet = self._routes = ""
        self._told = 0
        self._at: float | None = None
        super().__init__()

    def say(self, who: str, what: str) -> None:
        at = self.cluster.now - START
        time = f"{at:.0f}s" if at != self._at else ""
        self._at = at
        for name, label in self._labels.items():
            what = what.replace(name, label)
        self.lines.append(f"{time:>6}  {who:<8}  {what}")

    def user(self, what: str, letter: str | None = None, **fields: object) -> None:
        """The user does something: said, then done."""
        self.say("user", what)
        self.apply(letter, **fields)

    def config(self, what: str, content: str | None) -> None:
        """The user does something to the ConfigMap ``settings``: said, then done."""
        self.say("user", what)
        self.configure("settings", content)

    def act(self, what: str, command: Command, revision: str = "", reason: str = "") -> None:
        """The user creates an action: said, then done."""
        self.say("user", what)
        self.command(command, revision, reason)

    def happened(self, verb: str, name: str) -> None:
        self._befell.setdefault(verb, []).append(self._label(self.cluster.pods[name]))

    def planned(self, plan: Plan) -> None:
        self._tell_what_befell()
        for action in plan.actions:
            if isinstance(action, Create):
                self._name(action.name, action.revision, action.slot, action.incarnation)
        if plan.actions:
            for note in plan.notes:
                self.say("operator", note)
        for outcome in plan.outcomes:
            self.say("action", f"{outcome.phase}: {outcome.message}")
        for told in self.operator.told[self._told :]:
            self.say("event", f"{told.reason}: {told.message}")
        self._told = len(self.operator.told)

    def passed(self) -> None:
        """The end of a moment: the status and the fleet, where they changed."""
        self._tell_what_befell()
        conditions = {c.type: c for c in self.operator.status.conditions}
        works = conditions.pop("Available", None)
        if works is not None and works.status != self._works:
            self.say("status", f"Available={works.status}")
            self._works = works.status
        true = [c for c in conditions.values() if c.status == "True"]
        shown = true or list(conditions.values())[:1]
        for condition in shown:
            kind = condition.type if true else "-"
            text = f"{kind} {condition.reason}: {condition.message}"
            if text != self._condition:
                self._condition = text
                self.say("status", text)
        routes = self._routing()
        if routes != self._routes:
            self._routes = routes
            self.say("traffic", routes)
        fleet = self._drawing()
        if fleet != self._fleet:
            self._fleet = fleet
            self.say("fleet", fleet)

    def end(self) -> None:
        """Compare with the golden file, or write it."""
        slug = re.sub("[^a-z0-9]+", "-", self.lines[0].lower()).strip("-")
        path = self.folder / f"{slug}.txt"
        told = "\n".join(self.lines) + "\n"
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(told, encoding="utf-8")
        known = path.read_text(encoding="utf-8") if path.exists() else ""
        if told != known:
            diff = difflib.unified_diff(
                known.splitlines(), told.splitlines(), path.name, "this run", lineterm=""
            )
            text = "\n".join(diff)
            raise AssertionError(f"the story changed (UPDATE_GOLDEN=1 keeps the new one):\n{text}")

    def _tell_what_befell(self) -> None:
        for verb, labels in sorted(self._befell.items()):
            names = " ".join(sorted(labels)) if len(labels) <= NAMED else self._counted(labels)
            self.say("cluster", f"{names} {verb}")
        self._befell.clear()

    def _counted(self, labels: list[str]) -> str:
        counts = Counter(label.partition("/")[0] for label in labels)
        return ", ".join(f"{count} of {revision}" for revision, count in sorted(counts.items()))

    def _drawing(self) -> str:
        rows: dict[str, list[tuple[int, int, str]]] = {}
        for pod in self.cluster.pods.values():
            row = rows.setdefault(self._revision(pod.revision), [])
            row.append((pod.slot, pod.incarnation, self._mark(pod)))
        drawn = []
        for revision, row in sorted(rows.items()):
            marks = "".join(mark for *_, mark in sorted(row))
            if len(marks) > DRAWN:
                marks = " ".join(f"{marks.count(m)}{m}" for m in "#+.xq-" if m in marks)
            drawn.append(f"{revision} {marks}")
        return "   ".join(drawn) or "none"

    def _routing(self) -> str:
        """Say which revision each Service of the operator selects."""
        own = sorted((r for r in self.cluster.routes.values() if r.is_own), key=lambda r: r.name)
        shown = {r.name: self._revision(r.revision) if r.revision else "all" for r in own}
        told = [f"{name} selects {whom}" for name, whom in shown.items()]
        route = self.cluster.http_route
        if route is not None and self.cluster.spec.http_route is not None:
            told.append(
                "no HTTPRoute" if route.lack else f"HTTPRoute gives preview {route.percent} %"
            )
        return ", ".join(told)

    def _mark(self, pod: Instance) -> str:
        if pod.terminating or pod.ended:
            return "-" if pod.terminating else "x"
        if pod.quarantined is not None:
            return "q"
        if pod.ready_since is None:
            return "."
        least = self.cluster.spec.min_ready_seconds
        return "#" if pod.ready_since + least <= self.cluster.now else "+"

    def _label(self, pod: Instance) -> str:
        return self._name(pod.name, pod.revision, pod.slot, pod.incarnation)

    def _name(self, name: str, revision: str, slot: int, incarnation: int) -> str:
        label = f"{self._revision(revision)}/{slot}" + "'" * incarnation
        return self._labels.setdefault(name, label)

    def _revision(self, id_: str) -> str:
        known = self.cluster.revisions.get(id_)
        numbers = {r.id: r.number for r in REVISIONS.values()}
        return f"r{known.number if known else numbers.get(id_, 0)}"


def begun(
    title: str, said: str = "3 wanted, maxSurge 1", of: type[Story] = Story, **fields: object
) -> Story:
    """A story that begins with the service ``web`` of revision 1, all well after a minute."""
    story = of(title)
    defaults: dict[str, object] = {"replicas": 3, "max_surge": 1, "max_unavailable": 0}
    story.user(f"applies web: {said}", "A", **(defaults | fields))
    story.run(60)
    return story


def counts_by_letter(story: Story) -> dict[str, int]:
    """How many active pods there are of each template."""
    letters = {r.id: letter for letter, r in REVISIONS.items()}
    live = [p for p in story.cluster.pods.values() if not p.terminating and not p.ended]
    return dict(Counter(letters[p.revision] for p in live))
