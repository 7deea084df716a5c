"""ImmutableAction: a command of a user, recorded with its actor and its outcome."""

from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from immutable_operator.api import names
from immutable_operator.api.cel import Rule
from immutable_operator.api.kind import ApiModel, Column, Kind, Version
from immutable_operator.api.owner import OWNER
from immutable_operator.api.status import OwnerName, RevisionHash

__all__ = ["ACTION", "ImmutableActionSpec", "ImmutableActionStatus"]


class ImmutableActionSpec(ApiModel):
    """The command, its target and its reason. It cannot be changed."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.instance) || self.type == 'Regenerate'",
            "only Regenerate applies to a single instance; remove instance, or set type to"
            " Regenerate",
        ),
        Rule(
            "!has(self.revision) || self.type == 'RollBack'",
            "only RollBack applies to a revision; remove revision, or set type to RollBack",
        ),
        Rule("self == oldSelf", "an action is a record and cannot be changed; create another one"),
        Rule(
            "has(self.service) != has(self.pool)",
            "an action applies to one ImmutableService or to one ImmutableNodePool; set exactly "
            "one of service and pool",
        ),
        Rule(
            "!self.overrideFreeze || (has(self.reason) && size(self.reason) > 0)",
            "overriding a freeze requires a reason, which is recorded in the action; set reason",
        ),
    )

    type: Literal["Regenerate", "Retry", "RollBack", "Resume", "Promote", "Abort"]
    """The command. Regenerate: replace the instances that are older than this action with new
    instances of the same revision, as in a rollout; PodDisruptionBudgets are respected. Retry: roll
    out again the revision that the spec asks for, after it failed. RollBack: reject the revision
    that the spec asks for, and run another one with its configuration instead, until the template
    or its configuration changes. Resume: end a RollBack, and roll out the revision that the spec
    asks for. Promote: with strategy BlueGreen, switch the traffic to the revision that the spec
    asks for; with strategy Canary, end the pause in which that revision is. Abort: with either
    strategy, reject that revision before its rollout is complete, as RollBack does.
    """

    service: OwnerName | None = None
    """Name of the ImmutableService in the same namespace. Exactly one of service and pool must be
    set."""

    pool: OwnerName | None = None
    """Name of the ImmutableNodePool. Actions on node pools are created in the namespace of the
    operator; in others they fail. Exactly one of service and pool must be set."""

    instance: Annotated[str, Field(max_length=253)] | None = None
    """Name of the pod, or of the node or its NodeClaim, to which the action applies. If unset, it
    applies to all instances of the service or pool."""

    revision: RevisionHash | None = None
    """The revision to run if type is RollBack: the last 8 characters of the name of an
    ImmutableRevision whose phase is Good. If unset, the last good one."""

    reason: Annotated[str, Field(max_length=1024)] | None = None
    """Human-readable reason for the action. Required if overrideFreeze is true."""

    override_freeze: bool = False
    """If true, the action is carried out even if an ImmutableFreeze selects the service or pool.
    Requires reason and the permission to override freezes. Default false."""

    actor: Annotated[str, Field(max_length=512)] | None = None
    """Name of the user who created the action. The API server sets it (Kubernetes 1.36 and newer)
    or refuses other names; leave it out."""


class ImmutableActionStatus(ApiModel):
    """Progress and outcome of the action."""

    phase: Literal["Pending", "Running", "Succeeded", "Failed"] | None = None
    """Pending: the action waits. Running: it is being carried out. Succeeded, Failed: the
    action has ended."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """Human-readable progress or outcome."""
    started_at: datetime | None = None
    """Time at which the operator first observed the action."""
    asked_revision: Annotated[str, Field(max_length=63)] | None = None
    """Id of the revision that the spec asked for when the operator first observed the action.
    All types but Regenerate apply to this revision only."""
    finished_at: datetime | None = None
    """Time at which the action ended."""


ACTION: Final = Kind(
    name=names.ACTION_KIND,
    plural=names.ACTION_PLURAL,
    short="imact",
    description="ImmutableAction is a command to an ImmutableService or ImmutableNodePool, "
    "recorded with the user who gave it and its outcome.",
    versions=(
        Version(
            spec=ImmutableActionSpec,
            status=ImmutableActionStatus,
            columns=(
                Column("Type", "string", ".spec.type", "The command"),
                Column("Owner", "string", OWNER, "The ImmutableService or ImmutableNodePool"),
                Column(
                    "Instance", "string", ".spec.instance", "The pod or node; empty: all instances"
                ),
                Column("Actor", "string", ".spec.actor", "User who created the action"),
                Column("Phase", "string", ".status.phase", "Progress"),
                Column("Age", "date", ".metadata.creationTimestamp", "Age of the action"),
                Column("Reason", "string", ".spec.reason", "Reason for the action", wide=True),
                Column("Message", "string", ".status.message", "Progress or outcome", wide=True),
            ),
        ),
    ),
)
