"""A forecast: the planner, played step by step over a future in which everything works.

Pure like the planner itself. The world is modelled by few assumptions: an instance is ready some
time after its birth and gone some time after its retirement, budgets and quotas stay as they are.
What the planner waits for is taken from the status that it reports.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from immutable_operator.domain.families import Family
from immutable_operator.domain.foreseen import Assumed, Forecast, Hold
from immutable_operator.domain.imagined import World
from immutable_operator.domain.model import Plan, Policy, View
from immutable_operator.domain.planner import plan

__all__ = ["forecast"]

MOST_PLANS = 5000
# Of plans times instances, each of which takes about 40 µs.
MOST_WORK = 500_000
MOST_SECONDS = 366 * 86_400.0
# How long after the progress deadline a forecast in which nothing changes goes on.
PATIENCE = 600.0
# Reasons of a state in which nothing but time is needed.
UNDER_WAY = frozenset({"Progressing", "Replacing"})


def forecast(view: View, now: float, family: Family, assumed: Assumed, policy: Policy) -> Forecast:
    """Play the planner from ``now`` on until nothing is left to do, or nothing moves any more."""
    return _Play(World(view, now, family, assumed), policy).run()


@dataclass
class _Play:
    world: World
    policy: Policy
    holds: dict[str, Hold] = field(default_factory=dict)

    def run(self) -> Forecast:
        world = self.world
        began, ends = world.now, None
        before = least = world.available()
        most = world.active()
        work = 0
        for _ in range(MOST_PLANS):
            work += world.active()
            if work > MOST_WORK:
                break
            decided = plan(world.seen(), world.now, self.policy, world.family)
            self._report(decided)
            moved = world.carry_out(decided)
            least, most = min(least, world.available()), max(most, world.active())
            if moved:
                continue
            if self._is_done():
                ends = world.now
                break
            at = self._next(decided)
            if at is None or at > began + MOST_SECONDS:
                break
            world.advance(at)
            least = min(least, world.available())
        return Forecast(
            steps=tuple(world.steps),
            holds=tuple(h for h in self.holds.values() if h.until is None or h.until > h.since),
            status=world.status,
            before=before,
            least=least,
            most=most,
            ends=ends,
            revision=world.record,
            is_cut=work > MOST_WORK,
        )

    def _report(self, decided: Plan) -> None:
        """Note what the planner waits for, and since when it does not any more."""
        if decided.status is None:
            return
        now, status = self.world.now, decided.status
        self.world.status = status
        told = {str(b.reason): b.message for b in reversed(status.blockers)}
        ready = status.condition("Ready")
        if not told and ready is not None and ready.status != "True":
            moves = bool(decided.actions) or self.world.next_event is not None
            if not moves and ready.reason not in UNDER_WAY:
                told = {str(ready.reason): ready.message}
        for reason, hold in self.holds.items():
            if reason not in told and hold.until is None:
                self.holds[reason] = replace(hold, until=now)
        for reason, message in told.items():
            known = self.holds.get(reason) or Hold(reason, message, now)
            self.holds[reason] = replace(known, until=None)

    def _is_done(self) -> bool:
        ready = self.world.status.condition("Ready")
        return ready is not None and ready.status == "True" and not self.world.status.stale

    def _next(self, decided: Plan) -> float | None:
        """Return when something happens next; None if nothing does that would change anything."""
        world = self.world
        event, retry = world.next_event, world.next_retry
        times = [t for t in (event, decided.due, retry) if t is not None and t > world.now]
        if not times:
            return None
        waits_only = event is None and min(times) == retry
        deadline = world.view.spec.progress_deadline_seconds + PATIENCE
        return None if waits_only and world.now - world.changed > deadline else min(times)
