"""ImmutableRevision: the immutable record of one desired state of a service or a node pool, and its
outcome.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from immutable_operator.api import names
from immutable_operator.api.cel import Rule, quote
from immutable_operator.api.kind import BARE, EMBED, RECORDED, ApiModel, Column, Kind, Version
from immutable_operator.api.machine_image import MachineImage
from immutable_operator.api.node_template import NodeTemplate
from immutable_operator.api.owner import OWNER
from immutable_operator.api.provider import Provider
from immutable_operator.api.scaling import Int32, Int64
from immutable_operator.api.status import OwnerName

__all__ = ["REVISION", "ImmutableRevisionSpec", "ImmutableRevisionStatus", "PinnedConfig"]


_PLAIN = "sha256:[0-9a-f]{64}"
_KEYED = "hmac-sha256:[0-9a-f]{16}:[0-9a-f]{64}"


class PinnedConfig(ApiModel):
    """A copy of a ConfigMap or Secret, made when the revision was recorded."""

    kind: Literal["ConfigMap", "Secret"] = "ConfigMap"
    """Kind of the object that the template references. Default ConfigMap."""
    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the object that the template references."""
    snapshot: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of the copy, which the instances of this revision read instead."""
    digest: Annotated[str, Field(pattern=f"^({_PLAIN}|{_KEYED}|absent)$", max_length=93)]
    """Digest of the content: of a ConfigMap its SHA-256; of a Secret an HMAC under a key that only
    the operator has, after the id of that key, so that no value can be guessed from it. The value
    absent means that the object was optional and did not exist; there is no copy then."""


_OF_A_SERVICE = "a revision of an ImmutableService records a pod template; set template, not node"
_OF_A_POOL = "a revision of an ImmutableNodePool records nodes; set node, not template"


class RecordedNode(ApiModel):
    """What the nodes of a revision have in common."""

    image: MachineImage
    template: NodeTemplate | None = None
    provider: Provider


class ImmutableRevisionSpec(ApiModel):
    """The recorded state, why it was recorded and which tool wrote it. It cannot be changed."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self == oldSelf",
            "a revision is a record and cannot be changed; change the spec of its ImmutableService "
            "or ImmutableNodePool, which creates a new revision",
        ),
        Rule(
            "has(self.service) != has(self.pool)",
            "a revision belongs to one ImmutableService or to one ImmutableNodePool; set exactly "
            "one of service and pool",
        ),
        Rule(
            "has(self.template) == has(self.service) && has(self.node) == has(self.pool)",
            f"has(self.service) ? {quote(_OF_A_SERVICE)} : {quote(_OF_A_POOL)}",
            computed=True,
        ),
    )

    service: OwnerName | None = None
    """Name of the ImmutableService to which the revision belongs, in the same namespace. Exactly
    one of service and pool is set."""
    pool: OwnerName | None = None
    """Name of the ImmutableNodePool to which the revision belongs. Exactly one of service and pool
    is set."""
    number: Annotated[int, Field(strict=True, ge=1, json_schema_extra={"format": "int64"})]
    """Sequence number of the revision in its service or pool, starting at 1. A number is never
    reused."""
    revision: Annotated[str, Field(pattern="^[0-9a-f]{8}$", max_length=8)]
    """Short hash of the revision: 8 hex digits, which are part of the names and labels of its
    instances."""
    hash: Annotated[str, Field(pattern="^(v[1-9]|n1):[0-9a-f]{64}$", max_length=67)]
    """Version of the hash algorithm and the hash. v4 covers the pods that result from the template,
    including defaults that the operator sets, and the digests of what is pinned; v3 does not cover
    these defaults; v1 and v2 cover the template as written; n1 covers the
    image, the template and the settings of the provider of a node pool."""
    reason: Literal["Created", "TemplateChanged", "ConfigChanged"]
    """Why the revision was recorded. Created: the service or pool was created.
    TemplateChanged: its template was changed, or the image or the provider of a pool.
    ConfigChanged: a pinned ConfigMap or Secret was changed."""
    by: Annotated[str, Field(max_length=128)]
    """Field manager that wrote the template, such as kubectl-client-side-apply, or the ConfigMap
    or Secret if reason is ConfigChanged."""
    image: Annotated[str, Field(max_length=512)]
    """Short form of the image of the first container, such as web@9f2c41d07a1b, or the id or digest
    of the image of the nodes."""
    template: Annotated[dict[str, Any], Field(json_schema_extra={EMBED: RECORDED})] | None = None
    """The pod template from which the instances are created. Set in revisions of a service."""
    node: Annotated[RecordedNode, Field(json_schema_extra={EMBED: BARE})] | None = None
    """The image, the template and the provider of the nodes as they were recorded. Set in revisions
    of a node pool."""
    config: Annotated[list[PinnedConfig], Field(max_length=256)] | None = None
    """The pinned ConfigMaps and Secrets that the template references; unset if there are none."""


class AdmissionChange(ApiModel):
    """A field that admission changed."""

    path: Annotated[str, Field(max_length=512)]
    """Path of the field, such as spec.containers[web].env[HTTP_PROXY]."""
    change: Literal["Added", "Changed", "Removed"]
    """How the field differs from the template."""
    digest: Annotated[str, Field(max_length=16)] | None = None
    """First 16 hex digits of the SHA-256 digest of the value of the field in the instances."""


class AdmissionResult(ApiModel):
    """What admission made of the instances of the revision, compared with the template."""

    digest: Annotated[str, Field(max_length=71)]
    """Digest of all changes. Two revisions with the same digest were changed in the same way."""
    summary: Annotated[str, Field(max_length=1024)] | None = None
    """Human-readable summary of the changes."""
    changes: Annotated[list[AdmissionChange], Field(max_length=100)] | None = None
    """The changed fields; unset if there are none."""
    since: datetime | None = None
    """Set if the rollout of the revision completed before its instances were first compared:
    instances that were created before this time are not compared."""


class CheckMeasurement(ApiModel):
    """One measurement of a check."""

    at: datetime
    """Time of the measurement."""
    found: Literal["Passed", "Failed", "Inconclusive"]
    """Result of the measurement. Inconclusive: there was none, for example because there was no
    response."""
    message: Annotated[str, Field(max_length=512)] | None = None
    """Human-readable evidence."""


class CheckOutcome(ApiModel):
    """State of a check in the most recent rollout of the revision."""

    name: Annotated[str, Field(max_length=40)]
    """Name of the check in rollout.checks of the service."""
    phase: Literal["Running", "Passed", "Failed", "Waiting"]
    """State of the check. Waiting: too many measurements in a row had no result; they are
    repeated."""
    since: datetime | None = None
    """Time of the first measurement."""
    measured: Int32 | None = None
    """Number of measurements."""
    passed: Int32 | None = None
    """Number of measurements that passed."""
    failed: Int32 | None = None
    """Number of failed measurements. Those of an http check in its time within do not count."""
    inconclusive: Int32 | None = None
    """Number of consecutive measurements without a result, up to the latest."""
    digest: Annotated[str, Field(max_length=16)] | None = None
    """Digest of the definition of the check. If the definition changes, the check starts again."""
    results: Annotated[list[CheckMeasurement], Field(max_length=10)] | None = None
    """The last measurements, oldest first."""


class ImmutableRevisionStatus(ApiModel):
    """Outcome of the revision. Only the operator writes it: when the rollout of the revision
    starts, and when it completes or fails; rarely in between. It determines which revision is the
    last good one, and which one is not tried again."""

    phase: Literal["Pending", "Progressing", "Good", "Failed", "Superseded"] | None = None
    """State of the rollout of the revision. Unset or Pending: its rollout has not started.
    Progressing: its rollout is in progress. Good: its rollout completed, all instances were of this
    revision and available. Superseded: a newer revision was requested before its rollout completed.
    Failed: it did not work, or an ImmutableAction rejected it; it is rolled out again only if that
    is requested."""
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
    number_floor: Annotated[Int64, Field(ge=0)] | None = None
    """Highest number that a revision of the service has had. New revisions get a higher number."""
    most_available: Int32 | None = None
    """Highest number of available instances that was recorded in its most recent rollout."""
    progressed_at: datetime | None = None
    """Time of the most recent recorded progress; the progress deadline is measured from it."""
    paused_at: datetime | None = None
    """Time since which the progress deadline has been paused, because something other than the
    revision delays its rollout."""
    baking_since: datetime | None = None
    """Time at which all instances were available. At this time the bake (rollout.bakeSeconds)
    began, and with strategy Rolling also the checks (rollout.checks).
    """
    previewed_at: datetime | None = None
    """Time at which all instances that are required before the promotion were available. Set with
    strategy BlueGreen, if the revision is promoted automatically or has checks.
    """
    approved_at: datetime | None = None
    """Time at which the promotion was decided, by an ImmutableAction or after promoteAfter. With
    strategy Canary it is unset again when the next step begins."""
    promoted_at: datetime | None = None
    """Time at which the revision was promoted. The revision with the latest time has the traffic.
    Set with strategy BlueGreen."""
    step: Annotated[Int32, Field(le=32)] | None = None
    """Number of steps that are done, with strategy Canary."""
    stepped_at: datetime | None = None
    """Time at which the last of these steps was done."""
    failed_at: datetime | None = None
    """Time at which the revision failed or was rejected."""
    rejected_by: Annotated[str, Field(max_length=512)] | None = None
    """User who rejected the revision by an ImmutableAction of type RollBack; unset if it failed by
    itself."""
    fallback: Annotated[str, Field(max_length=8)] | None = None
    """The revision that runs instead of this one since it failed or was rejected."""
    retry: Annotated[str, Field(max_length=128)] | None = None
    """Value of the annotation immutable.dev/retry that was taken into account; another value
    requests another rollout of the failed revision."""
    command: Annotated[str, Field(max_length=64)] | None = None
    """UID of the last ImmutableAction that changed this status."""
    replicas: Int32 | None = None
    """Number of desired instances, recorded if spec.replicas of the service is unset or if the
    number is 0."""
    admission: AdmissionResult | None = None
    """How admission (webhooks, policies, plug-ins of the API server) changed the instances. A later
    instance that was changed differently counts as Drifted. Not set if spec.immutability.admission
    of the service is Allow."""
    checks: Annotated[list[CheckOutcome], Field(max_length=16)] | None = None
    """Results of the checks (rollout.checks of the service) in its most recent rollout."""
    start_seconds: Int32 | None = None
    """Median number of seconds from the creation of an instance until it was first ready."""


REVISION: Final = Kind(
    name=names.REVISION_KIND,
    plural=names.REVISION_PLURAL,
    short="imrev",
    description="ImmutableRevision is the immutable record of one desired state of an "
    "ImmutableService or ImmutableNodePool: its template, its configuration and the tool that "
    "wrote it. The operator creates it.",
    versions=(
        Version(
            spec=ImmutableRevisionSpec,
            status=ImmutableRevisionStatus,
            columns=(
                Column("Owner", "string", OWNER, "The ImmutableService or ImmutableNodePool"),
                Column(
                    "Number", "integer", ".spec.number", "Sequence number in the service or pool"
                ),
                Column(
                    "Revision",
                    "string",
                    ".spec.revision",
                    "Short hash in the names of the instances",
                ),
                Column("Phase", "string", ".status.phase", "State of the rollout"),
                Column("Reason", "string", ".spec.reason", "Why the revision was recorded"),
                Column(
                    "Image",
                    "string",
                    ".spec.image",
                    "Image of the first container, or of the nodes",
                ),
                Column("By", "string", ".spec.by", "Tool that wrote the template"),
                Column("Age", "date", ".metadata.creationTimestamp", "Age of the revision"),
                Column(
                    *("Admission", "string", ".status.admission.summary"),
                    "What admission changed in its instances",
                    wide=True,
                ),
            ),
        ),
    ),
)
