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
    "maxSurge and maxUnavailable are both 0, so no instance could ever be replaced; "
    "set one of them to 1 or more"
)
_DEADLINE = (
    "progressDeadlineSeconds is not greater than minReadySeconds, so every rollout would be "
    "reported as stalled; raise progressDeadlineSeconds"
)
_NAME_LENGTH = (
    f" characters; at most {names.MAX_SERVICE_NAME} are possible, because the names of its pods "
    f"add {names.POD_NAME_SUFFIX} and end at 63 - choose a shorter name"
)
AGE_FLOOR: Final = 10
_AGES = (
    "maxAge is more than hardMaxAge, so windows would never hold anything back; lower maxAge or"
    " raise hardMaxAge"
)
_TOO_YOUNG = (
    f"ages below {AGE_FLOOR}s are not possible: instances would be replaced faster than they start;"
    " write 10s or more"
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
    """The order of replacement. Rolling: successors first, a few at a time, within maxSurge and
    maxUnavailable. Default Rolling."""

    max_surge: IntOrPercent = "25%"
    """Instances above spec.replicas that may exist during a replacement: a number, or a percentage
    of spec.replicas rounded up. Whether pods that terminate count is said by podReplacement.
    Default 25%."""

    max_unavailable: IntOrPercent = 0
    """Instances below spec.replicas that may be unavailable during a replacement: a number, or a
    percentage of spec.replicas rounded down. While no instance of the wanted revision is available,
    it is spent on that revision only where the surge finds no place (full nodes, a host port, a
    quota) or is 0. Default 0."""

    pod_replacement: Literal["TerminationStarted", "TerminationComplete"] = "TerminationStarted"
    """When the place of a pod that is going is free again. TerminationStarted: as soon as it
    terminates, so that there are at most replicas + maxSurge pods that do not. TerminationComplete:
    once it is gone, so that there are at most replicas + maxSurge pods whatever they do, for
    instances that take something that exists only so often, such as licences or GPUs; a replacement
    then waits for the grace period. Default TerminationStarted."""

    min_ready_seconds: Int32 = 0
    """Seconds that an instance must have been ready without a break before it counts as
    available. Default 0."""

    progress_deadline_seconds: Annotated[Int32, Field(ge=1)] = 600
    """Seconds without any progress after which a rollout is reported as stalled; the instances
    that work are kept. A change of spec.replicas does not start them afresh. Must be greater than
    minReadySeconds. Default 600."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if is_zero(self.max_surge) and is_zero(self.max_unavailable):
            raise ValueError(_BOTH_ZERO)
        if self.progress_deadline_seconds <= self.min_ready_seconds:
            raise ValueError(_DEADLINE)
        return self


class Config(ApiModel):
    """Which ConfigMaps become part of a revision, and which are read as they are at each moment."""

    mode: Literal["Pinned", "Live"] = "Pinned"
    """Pinned: each ConfigMap that the template reads is copied once a revision, and the instances
    of that revision read the copy; a changed ConfigMap makes a new revision, and so a rollout.
    Live: each instance reads what is there when it starts. Secrets are always read live: pinning
    them would take the right to read every Secret. kube-root-ca.crt is too: the cluster renews it.
    Default Pinned."""

    live: Annotated[list[Name], Field(max_length=64)] = Field(default_factory=list)
    """Names of ConfigMaps that are read live although mode is Pinned, such as those that something
    rewrites all the time. Default none."""


class Immutability(ApiModel):
    """What happens to an instance that is no longer what was born."""

    on_taint: Literal["Replace", "Quarantine", "Report"] = "Replace"
    """What becomes of an instance that somebody reached into (exec, debug, an edit of the pod) or
    that runs another image than the pinned one. Replace: a successor first, then it is retired.
    Quarantine: out of all traffic at once, kept for quarantineFor, then retired. Report: only said
    in status and events. Default Replace."""

    quarantine_for: Duration = "1h"
    """How long an instance is kept in quarantine, such as 30m, 24h or 7d. Default 1h."""

    restarts: Literal["Allow", "Replace"] = "Allow"
    """Whether a container may be restarted in place (after a crash, or by its liveness probe),
    which keeps its emptyDir volumes. Replace: such an instance is replaced once it is ready again;
    one that does not get ready is reported as CrashLoop. Default Allow."""

    config: Config = Config()
    """Which ConfigMaps become part of a revision. Default: all that the template reads."""


class Window(ApiModel):
    """A span of time that comes again and again."""

    schedule: CronText
    """When it opens, as five cron fields: minute, hour, day of month, month, day of week. A
    question mark means any, as in a CronJob; L is the last day of the month."""

    duration: Duration
    """How long it stays open, such as 30m or 4h."""

    time_zone: ZoneName = "UTC"
    """IANA name of the zone that schedule is meant in, such as Europe/Berlin. Default UTC."""


class Regeneration(ApiModel):
    """When instances are replaced although nothing changed, so that none lives for long."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.maxAge) || !has(self.hardMaxAge) || "
            f"{seconds_rule('self.maxAge')} <= {seconds_rule('self.hardMaxAge')}",
            _AGES,
        ),
        Rule(
            f"!has(self.maxAge) || {seconds_rule('self.maxAge')} >= {AGE_FLOOR}",
            _TOO_YOUNG,
            field=".maxAge",
        ),
        Rule(
            f"!has(self.hardMaxAge) || {seconds_rule('self.hardMaxAge')} >= {AGE_FLOOR}",
            _TOO_YOUNG,
            field=".hardMaxAge",
        ),
    )

    max_age: Duration | None = None
    """Every instance is replaced before it is this old, inside windows and budget, such as 24h.
    Unset: age is no reason."""

    hard_max_age: Duration | None = None
    """At this age windows no longer hold a replacement back; budgets and PodDisruptionBudgets still
    do. Must not be less than maxAge. Unset: windows always hold."""

    jitter: Annotated[str, Field(pattern="^([0-9]|[1-4][0-9]|50)%$", max_length=3)] = "10%"
    """By how much of maxAge an instance may be replaced earlier, so that a fleet that was born
    together does not fall due together; the same for one instance every time. Default 10%."""

    max_concurrent: Annotated[Int32, Field(ge=1)] = 1
    """Number of instances that may be in replacement at once for their age. Default 1."""

    windows: Annotated[list[Window], Field(max_length=16)] = Field(default_factory=list)
    """Spans of time in which replacements for age may start; what has started finishes. None
    given: always."""

    schedule: CronText | None = None
    """At these times a full regeneration starts as well: every instance that is older is replaced.
    Five cron fields, as in windows."""

    time_zone: ZoneName = "UTC"
    """IANA name of the zone that schedule is meant in. Default UTC."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        ages = [seconds(age) for age in (self.max_age, self.hard_max_age) if age]
        if len(ages) == 2 and ages[0] > ages[1]:
            raise ValueError(_AGES)
        if any(age < AGE_FLOOR for age in ages):
            raise ValueError(_TOO_YOUNG)
        return self


class ImmutableServiceSpec(ApiModel):
    """What is wanted: how many instances of which template, and how they may be replaced."""

    replicas: Replicas | None = None
    """Number of instances wanted, at most 50000. Unset keeps the current number, and means 1 at
    birth. kubectl scale and autoscalers write it."""

    template: Annotated[dict[str, Any], Field(json_schema_extra={EMBED: WANTED})]
    """The pod that each instance is. Every image is pinned by digest
    (registry/name@sha256:<64 lower-case hex digits>). A change of the pods that it makes replaces
    every instance; the same pods written in another way replace none."""

    rollout: Rollout = Rollout()
    """How instances are replaced when the template changes."""

    regeneration: Regeneration = Regeneration()
    """When instances are replaced although nothing changed."""

    immutability: Immutability = Immutability()
    """What happens to an instance that is no longer what was born."""

    history_limit: Annotated[int, Field(strict=True, ge=1, le=100)] = 10
    """Number of old revisions that are kept, 1 to 100, also during a rollout that does not end.
    Beside these the wanted revision, the newest, the last good one and those that have instances
    are kept. Default 10."""

    suspend: Annotated[bool, Field(strict=True)] = False
    """While true nothing is created and nothing is retired; what runs stays. Default false."""


class Condition(ApiModel):
    """One aspect of the state, as in every Kubernetes object."""

    type: Annotated[str, Field(max_length=316)]
    """Name of the aspect: Ready, Reconciling, Stalled, Guarded, Regenerating or
    CannotMeetMaxAge."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    observed_generation: Annotated[Int64, Field(ge=0)] | None = None
    """The metadata.generation that this was said of."""
    last_transition_time: datetime
    """When status last changed."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """One word for machines: why."""
    message: Annotated[str, Field(max_length=32768)]
    """A sentence for people: why, and what to do."""


class Blocker(ApiModel):
    """Something that holds the next step back."""

    reason: Annotated[str, Field(max_length=128)]
    """One word for machines: what blocks."""
    message: Annotated[str, Field(max_length=4096)]
    """A sentence for people: what is blocked, by what, and what to do."""
    object: Annotated[str, Field(max_length=512)] | None = None
    """The object that blocks, such as poddisruptionbudget/web; absent where there is none."""
    since: datetime
    """When it began to block."""


class RolloutStatus(ApiModel):
    """How far the present replacement is."""

    revision: RevisionHash | None = None
    """The revision that is being rolled out."""
    desired_replicas: Int32 | None = None
    """Number of instances wanted when progress was last measured."""
    most_current: Int32 | None = None
    """Largest number of available instances of this revision seen so far."""
    least_stale: Int32 | None = None
    """Smallest number of stale instances seen so far."""
    started_at: datetime | None = None
    """When the rollout began."""
    progressed_at: datetime | None = None
    """When mostCurrent last rose or leastStale last fell; the progress deadline counts from it."""


class Deviation(ApiModel):
    """An instance that is no longer what was born."""

    instance: Name
    """Name of the pod."""
    reason: Annotated[str, Field(max_length=64)]
    """Tainted: somebody reached into it. Drifted: what runs is not what was pinned."""
    message: Annotated[str, Field(max_length=1024)]
    """A sentence for people: what was done, by whom where that is known."""


class ImmutableServiceStatus(ApiModel):
    """What was observed. Fields change only when what they describe changes."""

    observed_generation: Int64 = -1
    """The metadata.generation that this status describes; -1 before the first look."""
    desired_replicas: Int32 | None = None
    """Number of instances wanted, also where spec.replicas is unset."""
    replicas: Int32 | None = None
    """Number of instances that are not terminating."""
    ready_replicas: Int32 | None = None
    """Number of instances that are ready."""
    available_replicas: Int32 | None = None
    """Number of instances that have been ready for minReadySeconds."""
    current_replicas: Int32 | None = None
    """Number of instances of the current revision."""
    stale_replicas: Int32 | None = None
    """Number of instances that wait for their replacement."""
    quarantined_replicas: Int32 | None = None
    """Number of instances that are kept out of traffic for people to look at; not in replicas."""
    selector: Annotated[str, Field(max_length=512)] | None = None
    """Label selector of the instances, for autoscalers."""
    current_revision: RevisionHash | None = None
    """The revision that is worked towards: that of spec.template, or, while a freeze or something
    that is missing holds it back, the one that runs. The last 8 digits in the name of an
    ImmutableRevision."""
    last_good_revision: RevisionHash | None = None
    """The revision of which every instance was available last. Like all of this status it is for
    people: the operator itself reads it from the records of the revisions."""
    oldest_instance: datetime | None = None
    """When the oldest instance was created."""
    next_regeneration: datetime | None = None
    """When the next instance falls due for its age; absent where none does."""
    blockers: Annotated[list[Blocker], Field(max_length=64)] | None = None
    """What holds the next step back: which object, why, since when."""
    rollout: RolloutStatus | None = None
    """How far the present replacement is."""
    deviations: Annotated[list[Deviation], Field(max_length=16)] | None = None
    """Instances that are no longer what was born, and are not gone yet; the first 16 by name."""
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
    """Ready: all wanted instances are available and current. Reconciling: work is going on.
    Stalled: work cannot go on by itself. Guarded: the cluster refuses changes in place."""


_READY = '.status.conditions[?(@.type=="Ready")]'
SERVICE: Final = Kind(
    name=names.SERVICE_KIND,
    plural=names.SERVICE_PLURAL,
    short="imsvc",
    # As a Deployment: shown by `kubectl get all`.
    categories=("immutable", "all"),
    description="A service whose instances are replaced, never patched: a change of the template "
    "replaces every pod, successor first.",
    versions=(
        Version(
            spec=ImmutableServiceSpec,
            status=ImmutableServiceStatus,
            status_default={"observedGeneration": -1},
            scale=True,
            columns=(
                Column("Desired", "integer", ".spec.replicas", "Instances wanted"),
                Column(
                    "Current", "integer", ".status.currentReplicas", "Instances of this revision"
                ),
                Column("Ready", "integer", ".status.readyReplicas", "Instances that are ready"),
                Column("Stale", "integer", ".status.staleReplicas", "Instances to be replaced"),
                Column("Revision", "string", ".status.currentRevision", "The current revision"),
                Column("Oldest", "date", ".status.oldestInstance", "Age of the oldest instance"),
                Column("Status", "string", f"{_READY}.reason", "Why it is ready or not"),
                Column("Age", "date", ".metadata.creationTimestamp", "Age of the service"),
                Column(
                    "Message", "string", f"{_READY}.message", "The same as a sentence", wide=True
                ),
                Column("Selector", "string", ".status.selector", "Labels of its pods", wide=True),
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
    """Read a spec, refusing again what the CRD refuses at admission.

    Parameters
    ----------
    name
        Name of the ImmutableService.
    spec
        Its spec as the API server gives it. The template is not copied.

    Raises
    ------
    InvalidSpec
        With every problem found, each a sentence for the person who wrote the spec.
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
