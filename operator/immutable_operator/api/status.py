"""The status of an owner of instances: one set of fields for services and node pools."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from immutable_operator.api.kind import ApiModel
from immutable_operator.api.names import MAX_SERVICE_NAME
from immutable_operator.api.scaling import Int32, Int64

__all__ = [
    "Blocker",
    "Condition",
    "Deviation",
    "Name",
    "OwnerName",
    "OwnerStatus",
    "RevisionHash",
    "RolloutStatus",
]

OwnerName = Annotated[str, Field(min_length=1, max_length=MAX_SERVICE_NAME)]
"""Name of a service or pool."""
Name = Annotated[str, Field(max_length=253)]
RevisionHash = Annotated[str, Field(pattern="^[0-9a-f]{8}$", max_length=8)]


class Condition(ApiModel):
    """One aspect of the state, as in other Kubernetes objects."""

    type: Annotated[str, Field(max_length=316)]
    """Type of the condition: Ready, Reconciling, Stalled, Available, Guarded, Regenerating,
    CannotMeetMaxAge, NotStateless, AdmissionChanged or RegenerationUnreadable."""
    status: Literal["True", "False", "Unknown"]
    """Status of the condition: True, False or Unknown."""
    observed_generation: Annotated[Int64, Field(ge=0)] | None = None
    """The metadata.generation for which the condition was set."""
    last_transition_time: datetime
    """Time at which status last changed."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Machine-readable reason for the status, in one word."""
    message: Annotated[str, Field(max_length=32768)]
    """Human-readable explanation of the status, with what to do about it."""


class Blocker(ApiModel):
    """A cause that delays the next step."""

    reason: Annotated[str, Field(max_length=128)]
    """Machine-readable cause, in one word."""
    message: Annotated[str, Field(max_length=4096)]
    """Human-readable explanation: what is blocked, by what, and what to do about it."""
    object: Annotated[str, Field(max_length=512)] | None = None
    """The object that blocks the step, such as poddisruptionbudget/web; unset if there is none."""
    since: datetime
    """Time at which the step was first blocked by this cause."""


class RolloutStatus(ApiModel):
    """Progress of the current rollout."""

    revision: RevisionHash | None = None
    """The revision that is being rolled out."""
    desired_replicas: Int32 | None = None
    """Number of desired instances when progress was last measured."""
    most_current: Int32 | None = None
    """Largest number of available instances of this revision that was observed so far."""
    least_stale: Int32 | None = None
    """Smallest number of stale instances that was observed so far."""
    started_at: datetime | None = None
    """Time at which the rollout started."""
    progressed_at: datetime | None = None
    """Time at which mostCurrent last increased or leastStale last decreased. The progress deadline
    is measured from it."""
    step: Annotated[Int32, Field(le=32)] | None = None
    """Number of the current step of the rollout, starting at 1, with strategy Canary."""
    steps: Annotated[Int32, Field(le=32)] | None = None
    """Number of steps of the rollout, with strategy Canary."""
    weight: Annotated[Int32, Field(le=100)] | None = None
    """Percentage of the traffic that spec.traffic.route gives to the revision that is being rolled
    out. Unset without a route."""


class Deviation(ApiModel):
    """An instance that differs from what the operator created."""

    instance: Name
    """Name of the pod or node."""
    reason: Annotated[str, Field(max_length=64)]
    """Tainted: the instance was modified in place. Drifted: it runs a different image than the
    pinned one, or a recorded fact of a node has changed."""
    message: Annotated[str, Field(max_length=1024)]
    """Human-readable explanation: what was done, and by which user if that is known."""


class FailedRevision(ApiModel):
    """A revision that failed or was rejected."""

    revision: RevisionHash
    """The last 8 characters of the name of the ImmutableRevision."""
    reason: Annotated[str, Field(max_length=128)]
    """Machine-readable reason, in one word."""
    message: Annotated[str, Field(max_length=1024)]
    """Human-readable evidence: which instance, which container, and what it reported."""
    at: datetime
    """Time at which it failed or was rejected."""


class OwnerStatus(ApiModel):
    """Most recently observed status. It can be a few seconds out of date."""

    observed_generation: Int64 = -1
    """The metadata.generation that the operator observed last; -1 if it has observed none yet."""
    desired_replicas: Int32 | None = None
    """Number of desired instances, also if spec.replicas is unset."""
    replicas: Int32 | None = None
    """Number of instances that are not terminating."""
    ready_replicas: Int32 | None = None
    """Number of ready instances, of any revision."""
    available_replicas: Int32 | None = None
    """Number of instances that have been ready for at least minReadySeconds."""
    current_replicas: Int32 | None = None
    """Number of instances of the current revision."""
    stale_replicas: Int32 | None = None
    """Number of instances that are going to be replaced."""
    quarantined_replicas: Int32 | None = None
    """Number of instances in quarantine. They receive no traffic and are not counted in
    replicas."""
    selector: Annotated[str, Field(max_length=512)] | None = None
    """Label selector of the instances, in string form, for autoscalers."""
    current_revision: RevisionHash | None = None
    """The target revision: that of the spec, or the one that runs instead while a freeze or a
    missing object delays the rollout, or after the revision of the spec failed. It is the last 8
    characters of the name of an ImmutableRevision."""
    last_good_revision: RevisionHash | None = None
    """The last revision whose rollout completed: all instances were of this revision and available.
    The operator does not read this field; it reads the status of the ImmutableRevisions."""
    oldest_instance: datetime | None = None
    """Time at which the oldest instance was created."""
    next_regeneration: datetime | None = None
    """Time at which the next instance is due for replacement because of its age; unset if none
    is."""
    blockers: Annotated[list[Blocker], Field(max_length=64)] | None = None
    """Causes that delay the next step: which object, why, and since when."""
    rollout: RolloutStatus | None = None
    """Progress of the current rollout."""
    deviations: Annotated[list[Deviation], Field(max_length=16)] | None = None
    """Existing instances that differ from what the operator created; the first 16 by name."""
    failed_revisions: Annotated[list[FailedRevision], Field(max_length=10)] | None = None
    """Revisions on record that failed or were rejected, latest first. The operator does not read
    this field; it reads the status of the ImmutableRevisions."""
    conditions: (
        Annotated[
            list[Condition],
            Field(
                max_length=16,
                json_schema_extra={
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["type"],
                },
            ),
        ]
        | None
    ) = None
    """Current state. Ready: all desired instances are available and of the current revision.
    Reconciling: the operator is making changes. Stalled: the operator cannot proceed without
    intervention. Available: as many instances are available as spec.rollout demands, of any
    revision. Guarded: the cluster refuses modifications of running instances. Regenerating:
    instances are being replaced because of their age or on request. CannotMeetMaxAge: instances
    cannot be replaced before they reach spec.regeneration.maxAge. NotStateless: the template keeps
    state in a way that is refused in new templates. AdmissionChanged: admission made the instances
    different from the template. RegenerationUnreadable: a part of spec.regeneration is not valid
    and is ignored."""
