"""ImmutableFreeze: a change freeze for a selection of services and node pools."""

from datetime import datetime
from typing import Annotated, ClassVar, Final

from pydantic import Field

from immutable_operator.api import names
from immutable_operator.api.cel import Rule
from immutable_operator.api.kind import ApiModel, Column, Kind, Version
from immutable_operator.api.regeneration import Window

__all__ = ["FREEZE", "ImmutableFreezeSpec"]

Labels = Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)]


class ImmutableFreezeSpec(ApiModel):
    """The services and node pools, the time and the reason of the freeze."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.from) || !has(self.until) || self.from < self.until",
            "from is not before until, so the freeze would never apply; set until to a later time",
        ),
        Rule(
            "has(self.until) || (has(self.windows) && size(self.windows) > 0)",
            "a freeze must have an end; set until or windows",
        ),
    )

    namespaces: (
        Annotated[list[Annotated[str, Field(max_length=63)]], Field(max_length=64)] | None
    ) = None
    """Namespaces of the services that are frozen. If unset, services in all namespaces and node
    pools are frozen. If set, no node pool is frozen, because node pools have no namespace.
    """

    match_labels: Labels | None = None
    """Labels that a service or node pool must have to be frozen. If unset, everything that
    namespaces selects is frozen."""

    from_: datetime | None = Field(default=None, alias="from")
    """Time at which the freeze starts. If unset, it starts immediately."""

    until: datetime | None = None
    """Time at which the freeze ends. Required if windows is empty."""

    windows: Annotated[list[Window], Field(max_length=16)] | None = None
    """Periods in which the freeze applies, between from and until if these are set. If empty, it
    applies all the time."""

    reason: Annotated[str, Field(min_length=1, max_length=256)]
    """Human-readable reason, shown in the status of the services and node pools that are
    frozen."""

    freeze_repairs: bool = False
    """If true, instances that were modified in place are not replaced either. Default false."""


FREEZE: Final = Kind(
    name=names.FREEZE_KIND,
    plural=names.FREEZE_PLURAL,
    short="imfrz",
    scope="Cluster",
    description="ImmutableFreeze is a change freeze: rollouts and regeneration of the selected "
    "services and node pools wait until it ends. Repairs continue.",
    versions=(
        Version(
            spec=ImmutableFreezeSpec,
            columns=(
                Column("From", "string", ".spec.from", "Time at which the freeze starts"),
                Column("Until", "string", ".spec.until", "Time at which the freeze ends"),
                Column("Reason", "string", ".spec.reason", "Reason for the freeze"),
                Column("Age", "date", ".metadata.creationTimestamp", "Age of the freeze"),
            ),
        ),
    ),
)
