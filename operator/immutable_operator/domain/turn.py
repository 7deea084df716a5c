"""One turn: everything that the steps of a plan need, assembled once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from immutable_operator.domain.desired import desired_number
from immutable_operator.domain.families import Care, Family, Words
from immutable_operator.domain.ledger import Budget
from immutable_operator.domain.model import Instance, Policy, Revision, Spec, View
from immutable_operator.domain.target import Target

__all__ = ["RESUME", "Turn"]

# What to do about a suspension, at the end of the messages that report it.
RESUME = "set spec.suspend: false to resume"


@dataclass(frozen=True, slots=True)
class Turn:
    """A view, the target that was chosen for it, and the budget; ``now`` in seconds.

    ``beside`` are names of instances that exist and are left out of the view.
    """

    view: View
    target: Target
    now: float
    policy: Policy
    family: Family
    budget: Budget
    care: Care
    beside: frozenset[str] = frozenset()
    # Each is asked for a dozen times in a plan, and there are thousands of them.
    _known: dict[str, tuple[Instance, bool]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def of(cls, view: View, target: Target, now: float, policy: Policy, family: Family) -> Turn:
        spec = view.spec
        budget = Budget.of(desired_number(view), spec.max_surge, spec.max_unavailable)
        return cls(view, target, now, policy, family, budget, family.care(view, now))

    @property
    def words(self) -> Words:
        """The words of the family in messages."""
        return self.family.words

    @property
    def spec(self) -> Spec:
        return self.view.spec

    @property
    def wanted(self) -> Revision | None:
        return self.target.wanted

    @property
    def may_begin(self) -> bool:
        """Whether anything other than a repair may begin."""
        held = self.target.freeze.holds or self.target.is_open
        return not held and not self.spec.suspend

    def is_home(self, instance: Instance) -> bool:
        """Return whether an instance is the node on which this operator runs."""
        return instance.machine is not None and instance.node == self.policy.own_node != ""

    def quarantine_ends(self, instance: Instance) -> float:
        """Return when the quarantine of an instance is over."""
        return (instance.quarantined or 0.0) + self.spec.quarantine_seconds

    def available(self, instance: Instance) -> bool:
        known = self._known.get(instance.uid)
        if known is not None and known[0] is instance:
            return known[1]
        at = self.family.available_at(instance, self.spec.min_ready_seconds)
        is_available = at is not None and at <= self.now
        self._known[instance.uid] = (instance, is_available)
        return is_available

    def count_available(self, instances: Iterable[Instance]) -> int:
        return sum(self.available(i) for i in instances)

    def next_available(self, instances: Iterable[Instance]) -> float | None:
        """Return when the next ready instance becomes available by waiting alone."""
        least = self.spec.min_ready_seconds
        times = [self.family.available_at(i, least) for i in instances]
        return min((t for t in times if t is not None and t > self.now), default=None)
