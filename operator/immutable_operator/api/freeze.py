"""ImmutableFreeze: a change freeze for a selection of services."""

from datetime import datetime
from typing import Annotated, ClassVar, Final

from pydantic import Field

from immutable_operator.api import names
from immutable_operator.api.cel import Rule
from immutable_operator.api.kind import ApiModel, Column, Kind, Version
from immutable_operator.api.service import Window

__all__ = ["FREEZE", "ImmutableFreezeSpec"]

Labels = Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)]


class ImmutableFreezeSpec(ApiModel):
    """Which services, from when to when, and why."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.from) || !has(self.until) || self.from < self.until",
            "from is not before until, so nothing would ever be frozen; exchange them",
        ),
        Rule(
            "has(self.until) || (has(self.windows) && size(self.windows) > 0)",
            "a freeze needs an end; set until, or windows",
        ),
    )

    namespaces: (
        Annotated[list[Annotated[str, Field(max_length=63)]], Field(max_length=64)] | None
    ) = None
    """Namespaces of the services that are frozen. Unset: all namespaces."""

    match_labels: Labels | None = None
    """Labels that a frozen service has, all of them. Unset: services with any labels."""

    from_: datetime | None = Field(default=None, alias="from")
    """When it begins. Unset: at once."""

    until: datetime | None = None
    """When it ends. Needed unless windows are given."""

    windows: Annotated[list[Window], Field(max_length=16)] | None = None
    """It holds only in these spans of time (between from and until, where those are given)."""

    reason: Annotated[str, Field(min_length=1, max_length=256)]
    """Why, for the people whose rollout waits."""

    freeze_repairs: bool = False
    """Do not replace instances that were reached into either. Default false: that goes on."""


FREEZE: Final = Kind(
    name=names.FREEZE_KIND,
    plural=names.FREEZE_PLURAL,
    short="imfrz",
    scope="Cluster",
    description="A change freeze: rollouts and regeneration of the services that it selects wait "
    "until it ends; repairs go on.",
    versions=(
        Version(
            spec=ImmutableFreezeSpec,
            columns=(
                Column("From", "string", ".spec.from", "When it begins"),
                Column("Until", "string", ".spec.until", "When it ends"),
                Column("Reason", "string", ".spec.reason", "Why"),
                Column("Age", "date", ".metadata.creationTimestamp", "Age of the freeze"),
            ),
        ),
    ),
)
