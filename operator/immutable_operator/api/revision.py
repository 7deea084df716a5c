"""ImmutableRevision: the frozen record of one wanted state of an ImmutableService, and what came of
it.
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
    """A ConfigMap as it was when the revision was recorded."""

    kind: Literal["ConfigMap", "Secret"] = "ConfigMap"
    """Kind of the object that the template reads."""
    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the ConfigMap that the template reads."""
    snapshot: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of its copy, which the instances of this revision read instead."""
    digest: Annotated[str, Field(pattern="^(sha256:[0-9a-f]{64}|absent)$", max_length=71)]
    """Digest of its content; absent: it was optional and not there, so there is no copy."""


class ImmutableRevisionSpec(ApiModel):
    """What was wanted, by whom and since when; never changed once it is written."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self == oldSelf",
            "a revision is a record and cannot be changed; "
            "change spec.template of its ImmutableService, which makes a new revision",
        ),
    )

    service: Annotated[str, Field(min_length=1, max_length=names.MAX_SERVICE_NAME)]
    """Name of the ImmutableService whose revision this is."""
    number: Annotated[int, Field(strict=True, ge=1, json_schema_extra={"format": "int64"})]
    """Counts the revisions of the service from 1; never used twice."""
    revision: Annotated[str, Field(pattern="^[0-9a-f]{8}$", max_length=8)]
    """The short hash that pods and their names carry."""
    hash: Annotated[str, Field(pattern="^v[1-9]:[0-9a-f]{64}$", max_length=67)]
    """Version of the hash algorithm, and the hash of the pods that the template makes and of the
    digests of what is pinned (v3), or of the template as written (v1, v2)."""
    reason: Literal["Created", "TemplateChanged", "ConfigChanged"]
    """Why this revision came to be."""
    by: Annotated[str, Field(max_length=128)]
    """Field manager that wrote the template, such as kubectl-client-side-apply."""
    image: Annotated[str, Field(max_length=512)]
    """The first container's image for people, such as web@9f2c41d07a1b."""
    template: Annotated[dict[str, Any], Field(json_schema_extra={EMBED: RECORDED})]
    """The pod template as it was recorded."""
    config: Annotated[list[PinnedConfig], Field(max_length=256)] | None = None
    """The pinned ConfigMaps that the template reads; absent where there are none."""


class ImmutableRevisionStatus(ApiModel):
    """What came of it. The operator alone writes this, and remembers by it: once when the revision
    becomes what is worked towards, and once when it is complete."""

    phase: Literal["Pending", "Progressing", "Good", "Failed", "Superseded"] | None = None
    """Absent or Pending: recorded, not worked towards yet. Progressing: being rolled out. Good:
    every instance was available once, and no other revision was left. Superseded: another revision
    was wanted before this one was complete. Failed: it did not work, and nothing is born from it;
    this release writes it of none."""
    reason: Annotated[str, Field(max_length=128)] | None = None
    """One word for machines: why it is in this phase."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """A sentence for people: why it is in this phase, and by whose doing."""
    started_at: datetime | None = None
    """When it became what is worked towards, the last time."""
    first_available: datetime | None = None
    """When an instance of it was seen available for the first time. Once a revision of the service
    was complete, it is written of later ones only when they are, with completed."""
    completed: datetime | None = None
    """When every instance was available, the last time that this was the newest to be so."""
    replaced: Annotated[str, Field(max_length=512)] | None = None
    """How many instances it got, in which time, and which revision was in its place before."""
    takes_over_from: Annotated[str, Field(max_length=8)] | None = None
    """The revision that worked, if instances of it ran when this one became what is worked towards:
    what is lost of them is born from it again until this one works."""
    step: Int32 | None = None
    """The step of a rollout in steps that was reached; this release writes none."""
    number_floor: Annotated[Int64, Field(ge=0)] | None = None
    """The highest number that a revision of the service had so far; none is used twice."""
    replicas: Int32 | None = None
    """Number of instances wanted: where spec.replicas of the service is unset, or if it is 0."""
    start_seconds: Int32 | None = None
    """Median of the seconds from the birth of an instance to when it was ready first."""


REVISION: Final = Kind(
    name=names.REVISION_KIND,
    plural=names.REVISION_PLURAL,
    short="imrev",
    description="The frozen record of one wanted state of an ImmutableService: its template, "
    "when it was wanted and who wrote it.",
    versions=(
        Version(
            spec=ImmutableRevisionSpec,
            status=ImmutableRevisionStatus,
            columns=(
                Column("Service", "string", ".spec.service", "The ImmutableService"),
                Column("Number", "integer", ".spec.number", "Counts the revisions of the service"),
                Column("Revision", "string", ".spec.revision", "The short hash that pods carry"),
                Column("Phase", "string", ".status.phase", "What came of it"),
                Column("Reason", "string", ".spec.reason", "Why this revision came to be"),
                Column("Image", "string", ".spec.image", "The first image"),
                Column("By", "string", ".spec.by", "Who wrote the template"),
                Column("Age", "date", ".metadata.creationTimestamp", "Age of the revision"),
            ),
        ),
    ),
)
