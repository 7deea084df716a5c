"""ImmutableRevision: the immutable record of one desired state of an ImmutableService, and its
outcome.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from immutable_operator.api import names
from immutable_operator.api.cel import Rule
from immutable_operator.api.kind import EMBED, RECORDED, ApiModel, Column, Kind, Version
from immutable_operator.api.scaling import Int32, Int64

__all__ = ["REVISION", "ImmutableRevisionSpec", "ImmutableRevisionStatus", "PinnedConfig"]


class PinnedConfig(ApiModel):
    """A copy of a ConfigMap, made when the revision was recorded."""

    kind: Literal["ConfigMap", "Secret"] = "ConfigMap"
    """Kind of the object that the template references. Default ConfigMap."""
    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the ConfigMap that the template references."""
    snapshot: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of the copy, which the instances of this revision read instead."""
    digest: Annotated[str, Field(pattern="^(sha256:[0-9a-f]{64}|absent)$", max_length=71)]
    """Digest of the content of the ConfigMap. The value absent means that the ConfigMap was
    optional and did not exist; there is no copy then."""


class ImmutableRevisionSpec(ApiModel):
    """The recorded state, why it was recorded and which tool wrote it. It cannot be changed."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self == oldSelf",
            "a revision is a record and cannot be changed; "
            "change spec.template of its ImmutableService, which creates a new revision",
        ),
    )

    service: Annotated[str, Field(min_length=1, max_length=names.MAX_SERVICE_NAME)]
    """Name of the ImmutableService to which the revision belongs, in the same namespace."""
    number: Annotated[int, Field(strict=True, ge=1, json_schema_extra={"format": "int64"})]
    """Sequence number of the revision in its service, starting at 1. A number is never reused."""
    revision: Annotated[str, Field(pattern="^[0-9a-f]{8}$", max_length=8)]
    """Short hash of the revision: 8 hex digits, which are part of the names and labels of its
    pods."""
    hash: Annotated[str, Field(pattern="^v[1-9]:[0-9a-f]{64}$", max_length=67)]
    """Version of the hash algorithm and the hash. v3 covers the pods that result from the template
    and the digests of the pinned ConfigMaps; v1 and v2 cover the template as written."""
    reason: Literal["Created", "TemplateChanged", "ConfigChanged"]
    """Why the revision was recorded. Created: the service was created. TemplateChanged:
    spec.template was changed. ConfigChanged: a pinned ConfigMap was changed."""
    by: Annotated[str, Field(max_length=128)]
    """Field manager that wrote the template, such as kubectl-client-side-apply, or the ConfigMap if
    reason is ConfigChanged."""
    image: Annotated[str, Field(max_length=512)]
    """Short form of the image of the first container, such as web@9f2c41d07a1b."""
    template: Annotated[dict[str, Any], Field(json_schema_extra={EMBED: RECORDED})]
    """The pod template as it was recorded."""
    config: Annotated[list[PinnedConfig], Field(max_length=256)] | None = None
    """The pinned ConfigMaps that the template references; unset if there are none."""


class ImmutableRevisionStatus(ApiModel):
    """Outcome of the revision. Only the operator writes it: once when the rollout of the revision
    starts, and once when it completes. It determines which revision is the last good one."""

    phase: Literal["Pending", "Progressing", "Good", "Failed", "Superseded"] | None = None
    """State of the rollout of the revision. Unset or Pending: its rollout has not started.
    Progressing: its rollout is in progress. Good: its rollout completed, all instances were of this
    revision and available. Superseded: a newer revision was requested before its rollout completed.
    Failed: it did not work, and no instances are created from it; this release does not set it."""
    reason: Annotated[str, Field(max_length=128)] | None = None
    """Machine-readable reason for the phase, in one word."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """Human-readable explanation of the phase, with the cause if it is known."""
    started_at: datetime | None = None
    """Time at which its most recent rollout started."""
    first_available: datetime | None = None
    """Time at which an instance of the revision was first observed as available. If an earlier
    revision of the service has completed, this is written together with completed."""
    completed: datetime | None = None
    """Time at which its most recent rollout completed: all instances were of this revision and
    available."""
    replaced: Annotated[str, Field(max_length=512)] | None = None
    """Human-readable summary of the rollout: the number of instances, the duration and the revision
    that was replaced."""
    takes_over_from: Annotated[str, Field(max_length=8)] | None = None
    """The last good revision, if it had instances when the rollout of this revision started. Lost
    instances are recreated from it until this revision works."""
    step: Int32 | None = None
    """The step that a rollout in steps has reached; this release does not set it."""
    number_floor: Annotated[Int64, Field(ge=0)] | None = None
    """Highest number that a revision of the service has had. New revisions get a higher number."""
    replicas: Int32 | None = None
    """Number of desired instances, recorded if spec.replicas of the service is unset or if the
    number is 0."""
    start_seconds: Int32 | None = None
    """Median number of seconds from the creation of an instance until it was first ready."""


REVISION: Final = Kind(
    name=names.REVISION_KIND,
    plural=names.REVISION_PLURAL,
    short="imrev",
    description="ImmutableRevision is the immutable record of one desired state of an "
    "ImmutableService: its template, its configuration and the tool that wrote it. The operator "
    "creates it.",
    versions=(
        Version(
            spec=ImmutableRevisionSpec,
            status=ImmutableRevisionStatus,
            columns=(
                Column("Service", "string", ".spec.service", "The ImmutableService"),
                Column("Number", "integer", ".spec.number", "Sequence number in the service"),
                Column(
                    "Revision", "string", ".spec.revision", "Short hash in the names of the pods"
                ),
                Column("Phase", "string", ".status.phase", "State of the rollout"),
                Column("Reason", "string", ".spec.reason", "Why the revision was recorded"),
                Column("Image", "string", ".spec.image", "Image of the first container"),
                Column("By", "string", ".spec.by", "Tool that wrote the template"),
                Column("Age", "date", ".metadata.creationTimestamp", "Age of the revision"),
            ),
        ),
    ),
)
