"""ImmutableLineage: which instance of a service or a node pool replaced which, when and why."""

from datetime import datetime
from typing import Annotated, ClassVar, Final

from pydantic import Field

from immutable_operator.api import names
from immutable_operator.api.cel import Rule
from immutable_operator.api.kind import ApiModel, Column, Kind, Version
from immutable_operator.api.owner import OWNER
from immutable_operator.api.scaling import Int32
from immutable_operator.api.status import Name, OwnerName, RevisionHash

__all__ = ["LINEAGE", "MOST_REPLACEMENTS", "ImmutableLineageSpec"]

MOST_REPLACEMENTS: Final = 100
"""Number of the most recent instances that are recorded."""

_Uid = Annotated[str, Field(max_length=64)]
_Text = Annotated[str, Field(max_length=512)]


class Replacement(ApiModel):
    """An instance: why it was created, which instance it replaced, and when it was retired."""

    slot: Int32
    """Place of the instance among the replicas, starting at 0. A successor has the slot of its
    predecessor."""
    name: Name
    """Name of the pod or node."""
    uid: _Uid
    """UID of the pod or node."""
    revision: RevisionHash | None = None
    """The revision from which it was created: the last 8 characters of the name of an
    ImmutableRevision."""
    because: _Text | None = None
    """Why it was created: a machine-readable reason, a colon and a sentence."""
    replaces: Name | None = None
    """Name of its predecessor; unset if it replaced none."""
    replaces_uid: _Uid | None = None
    """UID of its predecessor."""
    born: datetime
    """Time at which it was created."""
    retired: datetime | None = None
    """Time at which the operator first observed that it was being deleted or gone; unset while it
    exists."""
    retired_because: _Text | None = None
    """Why it was deleted, as far as the operator knows it."""
    by: _Text | None = None
    """The user whose ImmutableAction asked for it, or the field manager that wrote its revision;
    unset if the operator decided it by itself."""


class ImmutableLineageSpec(ApiModel):
    """The most recent instances of one service or node pool."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.service) != has(self.pool)",
            "a lineage belongs to one ImmutableService or to one ImmutableNodePool; set exactly "
            "one of service and pool",
        ),
    )

    service: OwnerName | None = None
    """Name of the ImmutableService in the same namespace. Exactly one of service and pool is
    set."""
    pool: OwnerName | None = None
    """Name of the ImmutableNodePool. Exactly one of service and pool is set."""
    replacements: Annotated[list[Replacement], Field(max_length=MOST_REPLACEMENTS)] | None = None
    """The last 100 instances, the oldest first."""


LINEAGE: Final = Kind(
    name=names.LINEAGE_KIND,
    plural=names.LINEAGE_PLURAL,
    short="imlin",
    description="ImmutableLineage is the record of the last 100 instances of an ImmutableService "
    "or ImmutableNodePool: which replaced which, when and why. The operator writes it, in "
    "batches.",
    versions=(
        Version(
            spec=ImmutableLineageSpec,
            columns=(
                Column("Owner", "string", OWNER, "The ImmutableService or ImmutableNodePool"),
                Column(
                    *("Latest", "string", ".spec.replacements[-1:].name"), "The newest instance"
                ),
                Column(
                    *("Because", "string", ".spec.replacements[-1:].because"), "Why it was created"
                ),
                Column("Age", "date", ".metadata.creationTimestamp", "Age of the record"),
            ),
        ),
    ),
)
