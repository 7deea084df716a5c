"""The disruption ledger: one budget for every reason to create or retire an instance.

A plan opens one ledger over what it observed and asks it before each move. Whatever the
reason, the moves of one plan together stay inside maxSurge and maxUnavailable.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Budget", "Counts", "Ledger", "resolve"]


def resolve(value: int | str, total: int, *, round_up: bool) -> int:
    """An absolute number from ``3`` or ``"25%"`` of ``total``, rounded as Kubernetes does."""
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * total
    return -(-share // 100) if round_up else share // 100


@dataclass(frozen=True, slots=True)
class Budget:
    """Absolute limits for ``desired`` instances.

    ``surge`` more may exist, ``unavailable`` fewer may be available. Where both come out as
    0, one may be unavailable, as for a Deployment: else nothing could ever be replaced.
    """

    desired: int
    surge: int
    unavailable: int

    @classmethod
    def of(cls, desired: int, max_surge: int | str, max_unavailable: int | str) -> Budget:
        """From what the user wrote: numbers, or percentages of ``desired``."""
        surge = resolve(max_surge, desired, round_up=True)
        unavailable = min(resolve(max_unavailable, desired, round_up=False), desired)
        if surge == 0 and unavailable == 0:
            unavailable = 1
        return cls(desired, surge, unavailable)

    @property
    def most(self) -> int:
        """How many active instances there may be."""
        return self.desired + self.surge

    @property
    def fewest_available(self) -> int:
        """How many instances must stay available."""
        return max(0, self.desired - self.unavailable)


@dataclass(frozen=True, slots=True)
class Counts:
    """What was observed of a service's active instances, stale and current.

    ``current_*`` are those of the wanted revision. ``terminating`` are those on their way out that
    count against the most that may exist, which is none unless the user says so. ``is_crowded``
    says that the wanted revision lacks a place that only the end of another instance gives.
    """

    active: int
    available: int
    current_available: int
    current_unavailable: int
    terminating: int = 0
    is_crowded: bool = False


class Ledger:
    """What the budget still allows, given what was observed and what this plan spent.

    A retirement is spent at once; a create is not paid for by a retirement of the same
    plan, because the eviction may yet be refused.
    """

    def __init__(self, budget: Budget, seen: Counts) -> None:
        self.budget = budget
        self._room = budget.most - seen.active - seen.terminating
        self._empty = budget.desired - seen.active - seen.terminating
        self._active = seen.active
        self._available = seen.available
        self._current_unavailable = seen.current_unavailable
        # While nothing of the wanted revision has proved itself and a surge can prove it,
        # maxUnavailable is not spent on it: a broken revision costs no healthy instance. Where the
        # surge has no place, maxUnavailable is the only way.
        unproven = seen.current_available == 0 and budget.surge > 0 and not seen.is_crowded
        covered = budget.unavailable >= budget.desired
        self.floor = budget.desired if unproven and not covered else budget.fewest_available

    def room(self, *, replacing: bool) -> int:
        """How many instances may be created now; the surge is for replacing only."""
        return max(0, self._room if replacing else self._empty)

    def spend(self, births: int) -> None:
        """Count births of this plan in."""
        self._room -= births
        self._empty -= births

    @property
    def over(self) -> int:
        """How many active instances there are beyond the most allowed."""
        return max(0, self._active - self.budget.most)

    def retire_available(self) -> bool:
        """Spend the retirement of an available instance; False if the budget forbids it."""
        if self._available - 1 < self.floor:
            return False
        self._available -= 1
        self._active -= 1
        return True

    def take(self, *, available: bool) -> None:
        """Count an instance out that goes whatever the budget says (it is quarantined)."""
        self._available -= available
        self._active -= 1

    def retire_unavailable_stale(self) -> bool:
        """Spend the retirement of a stale instance that is not available.

        It may be on the point of becoming available, so enough others must remain that
        either are, or were so before (Deployment's rule for cleaning up unhealthy ones).
        """
        if self._active - 1 < self.budget.fewest_available + self._current_unavailable:
            return False
        self._active -= 1
        return True

    def retire_unavailable_current(self) -> None:
        """Spend the retirement of a surplus instance of the wanted revision; always allowed."""
        self._active -= 1
        self._current_unavailable -= 1
