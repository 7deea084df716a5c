"""The disruption ledger: one budget for every reason to create or retire an instance.

A plan opens one ledger over the observed counts and asks it before each move. Whatever the reasons,
the moves of one plan together stay within the budget with which it was opened.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Budget", "Counts", "Ledger", "resolve"]


def resolve(value: int | str, total: int, *, round_up: bool) -> int:
    """Return the number for ``3`` or ``"25%"`` of ``total``, rounded as Kubernetes does."""
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * total
    return -(-share // 100) if round_up else share // 100


@dataclass(frozen=True, slots=True)
class Budget:
    """Absolute limits for ``desired`` instances.

    ``surge`` more may exist, ``unavailable`` fewer may be available. If both are 0, one may be
    unavailable, as for a Deployment: otherwise no instance could ever be replaced.
    """

    desired: int
    surge: int
    unavailable: int

    @classmethod
    def of(cls, desired: int, max_surge: int | str, max_unavailable: int | str) -> Budget:
        """Return the limits for what the user wrote: numbers, or percentages of ``desired``."""
        surge = resolve(max_surge, desired, round_up=True)
        unavailable = min(resolve(max_unavailable, desired, round_up=False), desired)
        if surge == 0 and unavailable == 0:
            unavailable = 1
        return cls(desired, surge, unavailable)

    @property
    def most(self) -> int:
        """The maximum number of active instances."""
        return self.desired + self.surge

    @property
    def fewest_available(self) -> int:
        """The minimum number of available instances."""
        return max(0, self.desired - self.unavailable)


@dataclass(frozen=True, slots=True)
class Counts:
    """The observed counts of a service's active instances, stale and current.

    ``current_*`` count the wanted revision. ``terminating`` are terminating instances that count
    against the maximum; there are none unless the user asks for it. ``is_crowded`` says that the
    wanted revision has no place until another instance is gone.
    """

    active: int
    available: int
    current_available: int
    current_unavailable: int
    terminating: int = 0
    is_crowded: bool = False


class Ledger:
    """What the budget still allows, given the observed counts and what this plan spent.

    A retirement is spent at once. It does not pay for a create of the same plan, because the
    eviction may still be refused.
    """

    def __init__(self, budget: Budget, seen: Counts) -> None:
        self.budget = budget
        self._room = budget.most - seen.active - seen.terminating
        self._empty = budget.desired - seen.active - seen.terminating
        self._active = seen.active
        self._available = seen.available
        self._current_unavailable = seen.current_unavailable
        # Until an instance of the wanted revision is available, only the surge is spent on it, not
        # maxUnavailable: a broken revision costs no healthy instance. If there is no place for the
        # surge, maxUnavailable is the only way.
        unproven = seen.current_available == 0 and budget.surge > 0 and not seen.is_crowded
        covered = budget.unavailable >= budget.desired
        self.floor = budget.desired if unproven and not covered else budget.fewest_available

    def room(self, *, replacing: bool) -> int:
        """Return how many instances may be created now; the surge is for replacing only."""
        return max(0, self._room if replacing else self._empty)

    def spend(self, births: int) -> None:
        """Count the births of this plan."""
        self._room -= births
        self._empty -= births

    @property
    def over(self) -> int:
        """The number of active instances beyond the maximum."""
        return max(0, self._active - self.budget.most)

    @property
    def can_spare(self) -> bool:
        """Whether the budget allows that an available instance is retired."""
        return self._available - 1 >= self.floor

    def retire_available(self) -> bool:
        """Spend the retirement of an available instance; return False if the budget forbids it."""
        if not self.can_spare:
            return False
        self._available -= 1
        self._active -= 1
        return True

    def take(self, *, available: bool) -> None:
        """Count an instance as gone that goes regardless of the budget (it is quarantined)."""
        self._available -= available
        self._active -= 1

    def retire_unavailable_stale(self) -> bool:
        """Spend the retirement of a stale instance that is not available.

        It may be about to become available. So enough other instances must remain that are
        available, or were at first (the Deployment's rule for cleaning up unhealthy ones).
        """
        if self._active - 1 < self.budget.fewest_available + self._current_unavailable:
            return False
        self._active -= 1
        return True

    def retire_unavailable_current(self) -> None:
        """Spend the retirement of a surplus instance of the wanted revision; always allowed."""
        self._active -= 1
        self._current_unavailable -= 1
