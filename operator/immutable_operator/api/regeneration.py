"""Regeneration: when pods and nodes are replaced because of their age."""

from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from immutable_operator.api.cel import Rule
from immutable_operator.api.cron import CronText, ZoneName
from immutable_operator.api.duration import Duration, seconds, seconds_rule
from immutable_operator.api.kind import ApiModel
from immutable_operator.api.scaling import Int32

__all__ = ["AGES", "TOO_YOUNG", "Regeneration", "Window"]

AGE_FLOOR: Final = 10
AGES = (
    "maxAge is greater than hardMaxAge, so windows would have no effect; decrease maxAge or"
    " increase hardMaxAge"
)
TOO_YOUNG: Final = (
    f"the minimum age is {AGE_FLOOR}s, because instances would otherwise be replaced faster than"
    f" they start; set {AGE_FLOOR}s or more"
)

UTC: Final = "UTC"


class Window(ApiModel):
    """A recurring period of time."""

    schedule: CronText
    """When the window opens, as five cron fields: minute, hour, day of month, month, day of week.
    A question mark means any value, as in a CronJob; L means the last day of the month."""

    duration: Duration
    """How long the window stays open: a whole number with the unit s, m, h or d, such as 30m or
    4h."""

    # Not a default of the schema, which the API server would write into the list: Argo CD with
    # ServerSideApply=true compares lists as a whole, so a manifest without it would always differ.
    time_zone: ZoneName | None = None
    """IANA name of the time zone of schedule, such as Europe/Berlin. Default UTC."""

    @property
    def zone(self) -> str:
        """The IANA name of the time zone, also if the user gave none."""
        return self.time_zone or UTC


class Regeneration(ApiModel):
    """When instances are replaced even if nothing changed, so that none becomes old."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.maxAge) || !has(self.hardMaxAge) || "
            f"{seconds_rule('self.maxAge')} <= {seconds_rule('self.hardMaxAge')}",
            AGES,
        ),
        Rule(
            f"!has(self.maxAge) || {seconds_rule('self.maxAge')} >= {AGE_FLOOR}",
            TOO_YOUNG,
            field=".maxAge",
        ),
        Rule(
            f"!has(self.hardMaxAge) || {seconds_rule('self.hardMaxAge')} >= {AGE_FLOOR}",
            TOO_YOUNG,
            field=".hardMaxAge",
        ),
    )

    max_age: Duration | None = None
    """Maximum age of an instance, such as 24h or 14d: a whole number with the unit s, m, h or d, at
    least 10s. Each instance is replaced before it reaches this age, as far as windows,
    maxConcurrent and PodDisruptionBudgets allow. If unset, instances are not replaced because of
    their age."""

    hard_max_age: Duration | None = None
    """Age at which an instance is replaced even outside windows, such as 72h: a whole number with
    the unit s, m, h or d, at least 10s. maxConcurrent and PodDisruptionBudgets still apply. Must
    not be less than maxAge. If unset, windows always apply."""

    jitter: Annotated[str, Field(pattern="^([0-9]|[1-4][0-9]|50)%$", max_length=3)] = "10%"
    """Maximum percentage of maxAge by which an instance is replaced early, so that instances that
    were created together are not replaced together: 0% to 50%. Each instance has a fixed share of
    it. Default 10%."""

    max_concurrent: Annotated[Int32, Field(ge=1)] = 1
    """Maximum number of instances that are being replaced at the same time because of their age.
    Default 1."""

    windows: Annotated[list[Window], Field(max_length=16)] = Field(default_factory=list)
    """Periods in which replacements because of age can start; a replacement that has started is
    completed. If empty, replacements can start at any time."""

    schedule: CronText | None = None
    """Times at which all existing instances are replaced, regardless of maxAge, as five cron
    fields: minute, hour, day of month, month, day of week. If unset, there are no such times."""

    time_zone: ZoneName = UTC
    """IANA name of the time zone of schedule, such as Europe/Berlin. Default UTC."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        ages = [seconds(age) for age in (self.max_age, self.hard_max_age) if age]
        if len(ages) == 2 and ages[0] > ages[1]:
            raise ValueError(AGES)
        if any(age < AGE_FLOOR for age in ages):
            raise ValueError(TOO_YOUNG)
        return self
