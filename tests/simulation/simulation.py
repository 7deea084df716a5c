"""One run: the toy cluster and the toy operator, turn by turn, until nothing happens any more."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace

from immutable_operator.domain.config.references import content_digest
from immutable_operator.domain.model import (
    ABSENT,
    CONFIG_MAP,
    SECRET,
    Command,
    Plan,
    Request,
    Source,
    Spec,
)
from tests.simulation.toy_cluster import START, ToyCluster
from tests.simulation.toy_operator import Crash, ToyOperator
from tests.unit.given import template

__all__ = ["DB", "Simulation"]

DB = (SECRET, "db")

# Turns without any time passing, for each instance that is there or wanted: a retirement and
# a birth each, refused once each; more is a planner that runs in circles.
TURNS_AT_ONCE = 6


class Simulation:
    """A service, its user, its cluster, its operator."""

    clusters: type[ToyCluster] = ToyCluster
    operators: type[ToyOperator] = ToyOperator

    def __init__(self, seed: int = 0, *, wild: bool = False) -> None:
        """``wild``: what happens is seen one by one, and late, and writes come in any order."""
        self.rng = random.Random(seed)
        lags = [0.0, 0.0, 0.0, 0.2, 3.0]
        lag: Callable[[], float] = (lambda: self.rng.choice(lags)) if wild else (lambda: 0.0)
        self.wild = wild
        self._actions = itertools.count(1)
        self.crash_chance = 0.0
        self.cluster = self.clusters(self.rng, self.happened, lag)
        self.operator = self.operators(
            self.cluster, crash=self._crash, order=self.rng if wild else None
        )

    # What a story tells; see story.py.

    def happened(self, verb: str, name: str) -> None:
        """Something befell a pod."""

    def planned(self, plan: Plan) -> None:
        """The operator had its turn."""

    def passed(self) -> None:
        """All that this moment brought has been dealt with."""

    # The user.

    def apply(self, letter: str | None = None, **fields: object) -> None:
        """Apply the template ``letter`` (or keep the one that is) with other fields changed."""
        spec = self.cluster.spec
        known = {f: getattr(spec, f) for f in Spec.__slots__}
        if letter is not None:
            known["template"] = template(letter)
        self.cluster.spec = Spec(**{**known, **fields})
        self.cluster.generation += 1
        self.operator.due = self.cluster.now

    def configure(self, name: str, content: str | None) -> None:
        """Let a ConfigMap say something; None: delete it."""
        digest = content_digest({"is": content}, {}) if content is not None else ABSENT
        self.cluster.configs[CONFIG_MAP, name] = Source(digest, author="kubectl-edit")
        self.operator.due = self.cluster.now

    def rotate(self, source: Source) -> None:
        """Let the Secret ``db`` say something else, or be known by another digest."""
        self.cluster.configs[DB] = source
        self.operator.due = self.cluster.now

    def grant(self, *, granted: bool) -> None:
        """Grant the namespace's Secrets to the operator, or take the grant back."""
        self.cluster.withheld = frozenset() if granted else frozenset({DB})
        self.operator.due = self.cluster.now

    def command(self, command: Command, revision: str = "", reason: str = "") -> None:
        """A person creates an action."""
        uid = f"act-{self.cluster.generation}-{next(self._actions)}"
        now = self.cluster.now
        self.cluster.requests[uid] = Request(
            uid, uid, now, "jane", command=command, revision=revision, reason=reason
        )
        self.operator.due = now

    def retry(self, word: str) -> None:
        """Git writes a word into the annotation for retries."""
        self.cluster.retry = word
        self.operator.due = self.cluster.now

    def refuse(self) -> None:
        """Apply a spec that the operator's own check refuses."""
        self.cluster.spec = replace(self.cluster.spec, template=None)
        self.cluster.generation += 1
        self.operator.due = self.cluster.now

    # Time.

    def run(self, seconds: float | None = None) -> None:
        """Let ``seconds`` pass, or as many as it takes until nothing more will happen."""
        end = None if seconds is None else self.cluster.now + seconds
        while True:
            self._settle()
            self.passed()
            times = [t for t in (self.cluster.next_event, self.operator.due) if t is not None]
            if not times or (end is not None and min(times) > end):
                break
            if end is None and self.cluster.now > START + 10 * 86400:
                raise AssertionError("after ten days there is still something to do")
            self.cluster.now = max(self.cluster.now, min(times))
            self.cluster.happen(1 if self.wild else 1000)
        self.cluster.now = end if end is not None else self.cluster.now

    def _settle(self) -> None:
        """Turns until one changes nothing, as the loop is asked again after each write."""
        wanted = self.cluster.spec.replicas
        most = 20 + TURNS_AT_ONCE * (len(self.cluster.pods) + (wanted or 0))
        for _ in range(most):
            if self.operator.waits:
                self.operator.due = None  # the next thing seen wakes it
                return
            before = self.operator.status
            try:
                plan = self.operator.turn()
            except Crash:
                self.operator.restart()
                continue
            self.planned(plan)
            told = plan.status is not None and plan.status != before
            if not plan.actions and not plan.outcomes and not told:
                return
        raise AssertionError(f"{most} turns and no end: {plan.notes}")

    def _crash(self) -> None:
        if self.rng.random() < self.crash_chance:
            raise Crash
