"""ImmutableAction: a person's command, on record with its actor and its outcome."""

from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from immutable_operator.api import names
from immutable_operator.api.cel import Rule
from immutable_operator.api.kind import ApiModel, Column, Kind, Version

__all__ = ["ACTION", "ImmutableActionSpec", "ImmutableActionStatus"]


class ImmutableActionSpec(ApiModel):
    """What is to be done, to what, and why; never changed once it is written."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self == oldSelf", "an action is a record and cannot be changed; create another one"),
        Rule(
            "!self.overrideFreeze || (has(self.reason) && size(self.reason) > 0)",
            "overriding a freeze needs a reason, which stays on record; set reason",
        ),
    )

    type: Literal["Regenerate"]
    """What is to be done. Regenerate: replace instances that are older than this action, of the
    same revision, successor first, within budgets."""

    service: Annotated[str, Field(min_length=1, max_length=names.MAX_SERVICE_NAME)]
    """Name of the ImmutableService in the same namespace."""

    instance: Annotated[str, Field(max_length=253)] | None = None
    """Name of the one pod that is meant. Unset: all instances of the service."""

    reason: Annotated[str, Field(max_length=1024)] | None = None
    """Why, for people."""

    override_freeze: bool = False
    """Do it although an ImmutableFreeze forbids it. Needs a reason. Default false."""

    actor: Annotated[str, Field(max_length=512)] | None = None
    """Who created this action: written by the API server, whatever was given."""


class ImmutableActionStatus(ApiModel):
    """What came of it."""

    phase: Literal["Pending", "Running", "Succeeded", "Failed"] | None = None
    """Pending: seen, waits. Running: instances are being replaced. Succeeded, Failed: ended."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """A sentence for people: how far it is, or what came of it."""
    started_at: datetime | None = None
    """When the operator saw it."""
    finished_at: datetime | None = None
    """When it ended."""


ACTION: Final = Kind(
    name=names.ACTION_KIND,
    plural=names.ACTION_PLURAL,
    short="imact",
    description="A person's command to an ImmutableService, on record with its actor and outcome.",
    versions=(
        Version(
            spec=ImmutableActionSpec,
            status=ImmutableActionStatus,
            columns=(
                Column("Type", "string", ".spec.type", "What is to be done"),
                Column("Service", "string", ".spec.service", "The ImmutableService"),
                Column(
                    "Instance", "string", ".spec.instance", "The one pod that is meant; empty: all"
                ),
                Column("Actor", "string", ".spec.actor", "Who commanded it"),
                Column("Phase", "string", ".status.phase", "How far it is"),
                Column("Age", "date", ".metadata.creationTimestamp", "Age of the action"),
                Column("Reason", "string", ".spec.reason", "Why", wide=True),
                Column("Message", "string", ".status.message", "What came of it", wide=True),
            ),
        ),
    ),
)
