"""ImmutableService: a service whose instances are replaced, never patched."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from immutable_operator.api import names
from immutable_operator.api.cel import Rule, quote
from immutable_operator.api.cron import CronText, ZoneName
from immutable_operator.api.duration import Duration, seconds, seconds_rule
from immutable_operator.api.errors import InvalidSpec
from immutable_operator.api.kind import EMBED, WANTED, ApiModel, Column, Kind, Version
from immutable_operator.api.scaling import Int32, Int64, IntOrPercent, Replicas, is_zero
from immutable_operator.api.template import template_problems

__all__ = [
    "SERVICE",
    "TOO_YOUNG",
    "Blocker",
    "Condition",
    "Config",
    "Immutability",
    "ImmutableServiceSpec",
    "ImmutableServiceStatus",
    "Regeneration",
    "Rollout",
    "RolloutStatus",
    "validate_service",
]

Name = Annotated[str, Field(max_length=253)]
RevisionHash = Annotated[str, Field(pattern="^[0-9a-f]{8}$", max_length=8)]

_BOTH_ZERO = (
    "maxSurge and maxUnavailable are both 0, so no instance can be replaced; "
    "set one of them to 1 or more"
)
_DEADLINE = (
    "progressDeadlineSeconds is not greater than minReadySeconds, so every rollout would be "
    "reported as stalled; increase progressDeadlineSeconds"
)
_NAME_LENGTH = (
    f" characters; the maximum is {names.MAX_SERVICE_NAME}, because pod names add "
    f"{names.POD_NAME_SUFFIX} characters and are limited to 63; choose a shorter name"
)
AGE_FLOOR: Final = 10
_AGES = (
    "maxAge is greater than hardMaxAge, so windows would have no effect; decrease maxAge or"
    " increase hardMaxAge"
)
TOO_YOUNG: Final = (
    f"the minimum age is {AGE_FLOOR}s, because instances would otherwise be replaced faster than"
    f" they start; set {AGE_FLOOR}s or more"
)
_NONE: Final = "['0', '0%']"


class Rollout(ApiModel):
    """How instances are replaced when the template changes."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!(string(self.maxSurge) in {_NONE} && string(self.maxUnavailable) in {_NONE})",
            _BOTH_ZERO,
        ),
        Rule("self.progressDeadlineSeconds > self.minReadySeconds", _DEADLINE),
    )

    strategy: Literal["Rolling"] = "Rolling"
    """How instances are replaced. Rolling: a few at a time, within maxSurge and maxUnavailable;
    successors are created first as far as maxSurge allows. Default Rolling."""

    max_surge: IntOrPercent = "25%"
    """Maximum number of instances that can exist above spec.replicas during a replacement: a
    number, or a percentage of spec.replicas, rounded up. podReplacement determines whether
    terminating pods count. Default 25%."""

    max_unavailable: IntOrPercent = 0
    """Maximum number of instances that can be unavailable during a replacement: a number, or a
    percentage of spec.replicas, rounded down. While no instance of the new revision is
    available, available instances are removed only if maxSurge is 0 or the additional pods cannot
    be created or scheduled (full nodes, a host port, a quota). Default 0."""

    pod_replacement: Literal["TerminationStarted", "TerminationComplete"] = "TerminationStarted"
    """When a pod that is being removed no longer counts against replicas + maxSurge.
    TerminationStarted: as soon as it is terminating. TerminationComplete: when it has been removed;
    use this if each instance needs a limited resource, such as a licence or a GPU. A replacement
    then takes longer by the termination grace period. Default TerminationStarted."""

    drain_protection: bool = False
    """Whether a drain of a node waits for the successors of its pods. If true, the operator creates
    a PodDisruptionBudget with minAvailable = replicas - maxUnavailable, and the pods of a cordoned
    node get successors on other nodes, within maxSurge. Delete your own PodDisruptionBudget for
    these pods first, because two budgets on one pod make every eviction fail. Default false."""

    min_ready_seconds: Int32 = 0
    """Minimum number of seconds for which an instance must be ready, without interruption, before
    it is considered available. Default 0."""

    progress_deadline_seconds: Annotated[Int32, Field(ge=1)] = 600
    """Number of seconds without progress after which a rollout is reported as stalled. Working
    instances are kept. A change of spec.replicas does not restart the count. Must be greater than
    minReadySeconds. Default 600."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if is_zero(self.max_surge) and is_zero(self.max_unavailable):
            raise ValueError(_BOTH_ZERO)
        if self.progress_deadline_seconds <= self.min_ready_seconds:
            raise ValueError(_DEADLINE)
        return self


class Config(ApiModel):
    """Which ConfigMaps are part of a revision, and which are read live."""

    mode: Literal["Pinned", "Live"] = "Pinned"
    """How instances read ConfigMaps. Pinned: each ConfigMap that the template references is copied
    once for each revision, and the instances of that revision read the copy; a change of the
    ConfigMap creates a new revision and starts a rollout. Live: instances read the ConfigMap
    itself.
    Secrets are always read live, because pinning them would require permission to read all Secrets;
    so is kube-root-ca.crt, because the cluster renews it. Default Pinned."""

    live: Annotated[list[Name], Field(max_length=64)] = Field(default_factory=list)
    """Names of ConfigMaps that are read live when mode is Pinned, for example because they are
    updated frequently. Default: empty."""


class Immutability(ApiModel):
    """What happens to an instance that differs from the pod that the operator created."""

    on_taint: Literal["Replace", "Quarantine", "Report"] = "Replace"
    """What happens to an instance that was modified in place (exec, a debug container, an edit of
    the pod) or that runs a different image than the pinned one. Replace: a successor is created,
    then the instance is removed. Quarantine: the instance is removed from all traffic at once, kept
    for quarantineFor, then removed. Report: the instance is kept, and reported in the status and
    in events. Default Replace."""

    quarantine_for: Duration = "1h"
    """How long an instance is kept in quarantine: a whole number with the unit s, m, h or d, such
    as 30m, 24h or 7d. Default 1h."""

    restarts: Literal["Allow", "Replace"] = "Allow"
    """What happens to an instance in which a container was restarted in place (after a crash, or
    by its liveness probe), which preserves its emptyDir volumes. Allow: the instance is kept.
    Replace: the instance is replaced once it is ready again; if it does not become ready, it is
    reported as CrashLoop. Default Allow."""

    config: Config = Config()
    """Which ConfigMaps are part of a revision. Default: all ConfigMaps that the template
    references."""


class Window(ApiModel):
    """A recurring period of time."""

    schedule: CronText
    """When the window opens, as five cron fields: minute, hour, day of month, month, day of week.
    A question mark means any value, as in a CronJob; L means the last day of the month."""

    duration: Duration
    """How long the window stays open: a whole number with the unit s, m, h or d, such as 30m or
    4h."""

    time_zone: ZoneName = "UTC"
    """IANA name of the time zone of schedule, such as Europe/Berlin. Default UTC."""


class Regeneration(ApiModel):
    """When instances are replaced even if nothing changed, so that no pod becomes old."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.maxAge) || !has(self.hardMaxAge) || "
            f"{seconds_rule('self.maxAge')} <= {seconds_rule('self.hardMaxAge')}",
            _AGES,
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
    """Maximum age of an instance, such as 24h: a whole number with the unit s, m, h or d, at least
    10s. Each instance is replaced before it reaches this age, as far as windows, maxConcurrent and
    PodDisruptionBudgets allow. If unset, instances are not replaced because of their age."""

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

    time_zone: ZoneName = "UTC"
    """IANA name of the time zone of schedule, such as Europe/Berlin. Default UTC."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        ages = [seconds(age) for age in (self.max_age, self.hard_max_age) if age]
        if len(ages) == 2 and ages[0] > ages[1]:
            raise ValueError(_AGES)
        if any(age < AGE_FLOOR for age in ages):
            raise ValueError(TOO_YOUNG)
        return self


class ImmutableServiceSpec(ApiModel):
    """Specification of the desired instances and of how they are replaced."""

    replicas: Replicas | None = None
    """Number of desired instances, at most 50000. If unset, the current number is kept; a new
    service starts with 1. kubectl scale and autoscalers write this field."""

    template: Annotated[dict[str, Any], Field(json_schema_extra={EMBED: WANTED})]
    """The pod template from which each instance is created. Every image must be pinned by digest
    (registry/name@sha256:<64 lower-case hex digits>). A change that results in different pods
    creates a new revision, and all instances are replaced; the same pods written in another way do
    not."""

    rollout: Rollout = Rollout()
    """How instances are replaced when the template changes."""

    regeneration: Regeneration = Regeneration()
    """When instances are replaced even if nothing changed. Default: never."""

    immutability: Immutability = Immutability()
    """What happens to an instance that differs from the pod that the operator created."""

    history_limit: Annotated[int, Field(strict=True, ge=1, le=100)] = 10
    """Number of old revisions to keep, 1 to 100. The current revision, the newest revision, the
    last good revision and all revisions that have instances are kept in addition. Default 10."""

    suspend: Annotated[bool, Field(strict=True)] = False
    """If true, the operator creates and removes no instances; running instances are kept. Default
    false."""


class Condition(ApiModel):
    """One aspect of the state of the service, as in other Kubernetes objects."""

    type: Annotated[str, Field(max_length=316)]
    """Type of the condition: Ready, Reconciling, Stalled, Guarded, Regenerating or
    CannotMeetMaxAge."""
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


class Deviation(ApiModel):
    """An instance that differs from the pod that the operator created."""

    instance: Name
    """Name of the pod."""
    reason: Annotated[str, Field(max_length=64)]
    """Tainted: the instance was modified in place. Drifted: it runs a different image than the
    pinned one."""
    message: Annotated[str, Field(max_length=1024)]
    """Human-readable explanation: what was done, and by which user if that is known."""


class ImmutableServiceStatus(ApiModel):
    """Most recently observed status of the service. It can be a few seconds out of date."""

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
    """The target revision: that of spec.template, or the running one while a freeze or a missing
    object delays the rollout. It is the last 8 digits of the name of an ImmutableRevision."""
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
    """Existing instances that differ from the pods that the operator created; the first 16 by
    name."""
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
    """Current state of the service. Ready: all desired instances are available and of the current
    revision. Reconciling: the operator is making changes. Stalled: the operator cannot proceed
    without intervention. Guarded: the cluster refuses modifications of running instances.
    Regenerating: instances are being replaced because of their age or on request.
    CannotMeetMaxAge: instances cannot be replaced before they reach spec.regeneration.maxAge."""


_READY = '.status.conditions[?(@.type=="Ready")]'
SERVICE: Final = Kind(
    name=names.SERVICE_KIND,
    plural=names.SERVICE_PLURAL,
    short="imsvc",
    # Like a Deployment, shown by `kubectl get all`.
    categories=("immutable", "all"),
    description="ImmutableService runs identical pods (instances) that are replaced and never "
    "patched: when the template changes, a successor is created for each pod, and the old pod is "
    "removed when the successor is available.",
    versions=(
        Version(
            spec=ImmutableServiceSpec,
            status=ImmutableServiceStatus,
            status_default={"observedGeneration": -1},
            scale=True,
            columns=(
                Column("Desired", "integer", ".spec.replicas", "Number of desired instances"),
                Column(
                    *("Current", "integer", ".status.currentReplicas"),
                    "Number of instances of the current revision",
                ),
                Column("Ready", "integer", ".status.readyReplicas", "Number of ready instances"),
                Column(
                    *("Stale", "integer", ".status.staleReplicas"),
                    "Number of instances that are going to be replaced",
                ),
                Column("Revision", "string", ".status.currentRevision", "The current revision"),
                Column("Oldest", "date", ".status.oldestInstance", "Age of the oldest instance"),
                Column("Status", "string", f"{_READY}.reason", "Reason of the condition Ready"),
                Column("Age", "date", ".metadata.creationTimestamp", "Age of the service"),
                Column(
                    *("Message", "string", f"{_READY}.message", "Message of the condition Ready"),
                    wide=True,
                ),
                Column(
                    "Selector",
                    "string",
                    ".status.selector",
                    "Label selector of its pods",
                    wide=True,
                ),
            ),
            rules=(
                Rule(
                    f"size(self.metadata.name) <= {names.MAX_SERVICE_NAME}",
                    f"{quote('name %s has %d' + _NAME_LENGTH)}"
                    ".format([self.metadata.name, size(self.metadata.name)])",
                    computed=True,
                    field=".metadata.name",
                ),
            ),
        ),
    ),
)


def validate_service(name: str, spec: Mapping[str, Any]) -> ImmutableServiceSpec:
    """Read a spec, with the same checks that the CRD makes at admission.

    Parameters
    ----------
    name
        Name of the ImmutableService.
    spec
        Its spec as the API server gives it. The template is not copied.

    Raises
    ------
    InvalidSpec
        With all problems of the spec, one sentence each, for its author.
    """
    problems = []
    if len(name) > names.MAX_SERVICE_NAME:
        problems.append(f"metadata.name: name {name} has {len(name)}{_NAME_LENGTH}")
    try:
        service = ImmutableServiceSpec.model_validate(spec)
    except ValidationError as error:
        problems.extend(_sentence(detail) for detail in error.errors(include_url=False))
        raise InvalidSpec(*problems) from None
    problems.extend(template_problems(service.template))
    if problems:
        raise InvalidSpec(*problems)
    return service


def _sentence(detail: Mapping[str, Any]) -> str:
    """Turn one of pydantic's findings into `spec.path: what is wrong`."""
    path = ".".join(str(part) for part in ("spec", *detail["loc"]))
    if detail["type"] == "missing":
        return f"{path}: required value"
    message: str = detail["msg"]
    return f"{path}: {message.removeprefix('Value error, ')}"
