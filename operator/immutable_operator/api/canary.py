"""How a revision replaces the previous one step by step."""

from collections import Counter
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from immutable_operator.api.cel import Rule
from immutable_operator.api.check import CheckName
from immutable_operator.api.duration import Duration
from immutable_operator.api.kind import ApiModel
from immutable_operator.api.scaling import IntOrPercent, is_zero

__all__ = [
    "FIRST_STEP",
    "NEEDS_CANARY",
    "NO_REPLICAS",
    "NO_SUCH_CHECK",
    "OF_CANARY",
    "ONE_END",
    "ONE_KIND",
    "TWICE",
    "Canary",
    "Step",
    "unknown_checks",
]

NEEDS_CANARY: Final = "strategy Canary needs steps; add canary.steps, or use strategy Rolling"
OF_CANARY: Final = (
    "canary has an effect only with strategy Canary; remove it, or set strategy: Canary"
)
NO_SUCH_CHECK: Final = (
    "a step waits for a check that rollout.checks does not have; add the check there, or correct"
    " the name"
)
NO_REPLICAS: Final = "setReplicas: 0 would create no instance of the new revision; use 1 or more"
_KINDS: Final = ("setReplicas", "setWeight", "pause", "check")
ONE_KIND: Final = f"a step has exactly one kind; set one of {', '.join(_KINDS)}"
ONE_END: Final = "a pause ends after a time or by a promotion; set exactly one of for and until"
FIRST_STEP: Final = (
    "the new revision has no instance before a step creates one; make setReplicas or setWeight the"
    " first step"
)
TWICE: Final = (
    "two steps wait for the same check, which runs once; give the second one another entry in"
    " rollout.checks, with another name and the same ref"
)
_FALLS: Final = (
    "a setWeight is lower than one before it; a new revision can only get more traffic from step to"
    " step, so put the weights in rising order"
)


def _not_zero(value: int | str) -> int | str:
    if is_zero(value):
        raise ValueError(NO_REPLICAS)
    return value


class Pause(ApiModel):
    """A pause of a canary."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule("has(self.__for__) != has(self.until)", ONE_END),)

    duration: Annotated[Duration | None, Field(alias="for")] = None
    """How long the pause lasts: a whole number with the unit s, m, h or d. An ImmutableAction of
    type Promote ends it earlier."""

    until: Literal["Promoted"] | None = None
    """Promoted: the pause lasts until an ImmutableAction of type Promote is created (kubectl
    immutable promote)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.duration is None) == (self.until is None):
            raise ValueError(ONE_END)
        return self


class Step(ApiModel):
    """One step of a canary."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(f"[{', '.join(f'has(self.{k})' for k in _KINDS)}].filter(x, x).size() == 1", ONE_KIND),
        Rule(
            "!has(self.setReplicas) || !(string(self.setReplicas) in ['0', '0%'])",
            NO_REPLICAS,
            field=".setReplicas",
        ),
    )

    set_replicas: Annotated[IntOrPercent, AfterValidator(_not_zero)] | None = None
    """Number of instances of the new revision: a number of at least 1, or a percentage of
    spec.replicas, rounded up. The step is done when they are available and the instances that they
    replace are removed. With spec.traffic.route no instance is removed, and the share of the
    traffic stays the same."""

    set_weight: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    """Percentage of the traffic that the new revision gets, 1 to 100, not lower than at a step
    before. As many instances are of the new revision, rounded up. Without spec.traffic.route they
    replace others, because each instance gets the same share of the traffic. With it they are
    created beside all others, and the route gives them the share when they are available."""

    pause: Pause | None = None
    """The rollout pauses: for some time, or until the revision is promoted."""

    check: CheckName | None = None
    """Name of an entry of rollout.checks that must pass. It runs at this step."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        kinds = (self.set_replicas, self.set_weight, self.pause, self.check)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError(ONE_KIND)
        return self


class Canary(ApiModel):
    """The steps in which a new revision replaces the previous one."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.steps[0].setReplicas) || has(self.steps[0].setWeight)", FIRST_STEP),
        Rule(
            "self.steps.all(s, !has(s.check) ||"
            " self.steps.exists_one(t, has(t.check) && t.check == s.check))",
            TWICE,
        ),
        Rule("self.steps.filter(s, has(s.setWeight)).map(s, s.setWeight).isSorted()", _FALLS),
    )

    steps: Annotated[list[Step], Field(min_length=1, max_length=32)]
    """Steps in the order in which they are done, at most 32. After the last one the remaining
    instances are replaced as with strategy Rolling."""

    keep_for: Duration | None = None
    """With spec.traffic.route: how long the instances of the previous revision are kept after the
    last step, for a rollback: a whole number with the unit s, m, h or d. Default 60s."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        first = self.steps[0]
        if first.set_replicas is None and first.set_weight is None:
            raise ValueError(FIRST_STEP)
        if any(count > 1 for count in Counter(_checks(self)).values()):
            raise ValueError(TWICE)
        weights = [step.set_weight for step in self.steps if step.set_weight is not None]
        if weights != sorted(weights):
            raise ValueError(_FALLS)
        return self


def _checks(canary: Canary) -> list[str]:
    return [step.check for step in canary.steps if step.check is not None]


def unknown_checks(canary: Canary, known: set[str]) -> list[str]:
    """Return the names of checks for which a step waits, and which are not ``known``."""
    return [name for name in _checks(canary) if name not in known]
