"""ImmutableService: a service whose instances are replaced, never patched."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from immutable_operator.api import names
from immutable_operator.api.blue_green import NEEDS_TRAFFIC, OF_BLUE_GREEN, BlueGreen
from immutable_operator.api.canary import (
    NEEDS_CANARY,
    NO_SUCH_CHECK,
    OF_CANARY,
    Canary,
    unknown_checks,
)
from immutable_operator.api.cel import Rule
from immutable_operator.api.check import Check
from immutable_operator.api.duration import Duration
from immutable_operator.api.kind import EMBED, WANTED, ApiModel, Column, Kind, Version
from immutable_operator.api.owner import BOTH_ZERO, NEVER_REPLACES, checked, columns, name_rule
from immutable_operator.api.regeneration import Regeneration
from immutable_operator.api.scaling import Int32, IntOrPercent, Replicas, is_zero
from immutable_operator.api.stateless import STATELESS_RULES
from immutable_operator.api.status import Name, OwnerStatus
from immutable_operator.api.template import template_problems
from immutable_operator.api.traffic import NAME_RULE, ROUTE_NEEDS_CANARY, Traffic, name_problems

__all__ = [
    "DEADLINE",
    "SERVICE",
    "Config",
    "Immutability",
    "ImmutableServiceSpec",
    "ImmutableServiceStatus",
    "Rollout",
    "validate_service",
]

DEADLINE = (
    "progressDeadlineSeconds is not greater than minReadySeconds, so every rollout would be "
    "reported as stalled; increase progressDeadlineSeconds"
)


ContainerName = Annotated[str, Field(min_length=1, max_length=63)]
ChangePath = Annotated[str, Field(pattern=r"^(spec|metadata)(\.|$)", max_length=512)]


class Rollout(ApiModel):
    """How instances are replaced when the template changes."""

    rules: ClassVar[tuple[Rule, ...]] = (
        NEVER_REPLACES,
        Rule("self.progressDeadlineSeconds > self.minReadySeconds", DEADLINE),
        Rule("!has(self.blueGreen) || self.strategy == 'BlueGreen'", OF_BLUE_GREEN),
        Rule("!has(self.canary) || self.strategy == 'Canary'", OF_CANARY),
        Rule("has(self.canary) || self.strategy != 'Canary'", NEEDS_CANARY),
        Rule(
            "!has(self.canary) || self.canary.steps.all(s, !has(s.check) ||"
            " (has(self.checks) && self.checks.exists(c, c.name == s.check)))",
            NO_SUCH_CHECK,
            field=".canary",
        ),
    )

    strategy: Literal["Rolling", "BlueGreen", "Canary"] = "Rolling"
    """How instances are replaced when the revision changes. Rolling: a few at a time, within
    maxSurge and maxUnavailable; successors are created first as far as maxSurge allows. BlueGreen:
    all instances of the new revision are created beside the running ones, and are reached by the
    Service <name>-preview; a promotion switches the traffic to them, and the previous instances
    are removed later (see blueGreen). It needs spec.traffic. Canary: the new revision gets a share
    of the instances, which grows step by step (see canary). Replacements within one revision, such
    as regeneration and repair, are always Rolling. Default Rolling."""

    blue_green: BlueGreen | None = None
    """Promotion of new revisions with strategy BlueGreen. Default: promotion is Manual."""

    canary: Canary | None = None
    """Steps of a new revision with strategy Canary."""

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
    """Number of seconds without progress after which the revision has failed. The time is paused
    while something other than the revision delays the rollout: a quota, a PodDisruptionBudget, a
    freeze, a missing ConfigMap, a lost node. A change of spec.replicas does not restart the count.
    Must be greater than minReadySeconds. Default 600."""

    on_failure: Literal["RollBack", "Hold"] = "RollBack"
    """What happens when the revision fails: its containers keep crashing, its image does not exist,
    its configuration is not valid, or its progress deadline has passed. RollBack: the last good
    revision is restored to full strength, and the failed one is not rolled out again until the
    template or its configuration changes or an ImmutableAction of type Retry is created. Hold:
    existing instances are kept, and lost instances are recreated from the last good revision.
    Default RollBack."""

    bake_seconds: Int32 = 0
    """Number of seconds for which all instances of a new revision must stay available before its
    rollout is complete. If they crash or become unavailable in that time, the revision failed.
    Default 0."""

    checks: Annotated[
        list[Check],
        Field(
            max_length=16,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        ),
    ] = Field(default_factory=list)
    """Checks that a new revision must pass once all of its instances are available, before its
    rollout is complete; with strategy BlueGreen once all of its previews are available, before its
    promotion. With strategy Canary a check can be a step. If a check fails, the revision fails, and
    onFailure applies. The results are in the status of the ImmutableRevision. Instances of a
    revision whose rollout is complete are repaired, regenerated and restored without checks.
    Default: none."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if is_zero(self.max_surge) and is_zero(self.max_unavailable):
            raise ValueError(BOTH_ZERO)
        if self.progress_deadline_seconds <= self.min_ready_seconds:
            raise ValueError(DEADLINE)
        if self.blue_green is not None and self.strategy != "BlueGreen":
            raise ValueError(OF_BLUE_GREEN)
        if (self.canary is None) == (self.strategy == "Canary"):
            raise ValueError(OF_CANARY if self.canary is not None else NEEDS_CANARY)
        known = {check.name for check in self.checks}
        if self.canary is not None and unknown_checks(self.canary, known):
            raise ValueError(NO_SUCH_CHECK)
        return self


class Config(ApiModel):
    """Which ConfigMaps and Secrets are part of a revision, and which are read live."""

    mode: Literal["Pinned", "Live"] = "Pinned"
    """How instances read ConfigMaps and Secrets. Pinned: each one that the template references is
    copied once for each revision, and the instances of that revision read the copy; a change of
    the ConfigMap or Secret creates a new revision and starts a rollout. Live: instances read the
    object itself.
    Secrets are pinned only in namespaces in which the operator is granted access to them
    (pinning.secrets.namespaces of the chart); status.liveSecrets lists those that are read live
    nevertheless. The ConfigMap kube-root-ca.crt is always read live, because the cluster renews it,
    and so are imagePullSecrets and the credentials of volume drivers. Default Pinned."""

    live: Annotated[list[Name], Field(max_length=64)] = Field(default_factory=list)
    """Names of ConfigMaps and Secrets that are read live when mode is Pinned, for example because
    they are updated frequently. Default: empty."""


class AcceptedChanges(ApiModel):
    """Changes that admission may make to instances, for example those of a service mesh."""

    containers: Annotated[list[ContainerName], Field(max_length=64)] = Field(default_factory=list)
    """Names of containers and init containers that may be added or changed, such as istio-proxy.
    Default: empty."""

    paths: Annotated[list[ChangePath], Field(max_length=64)] = Field(default_factory=list)
    """Prefixes of paths of fields that may be added, changed or removed, written as in the
    condition AdmissionChanged: spec.volumes[istio-, spec.containers[web].resources or
    metadata.annotations. Default: empty."""


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

    node_local: Literal["Refuse", "Allow"] = "Refuse"
    """Whether instances may use parts of their node that remain when they are replaced: hostPath
    volumes, hostPID, hostIPC and privileged containers. Refuse: a template with one of these is
    refused. Allow: it is accepted. A service whose template was accepted before this check existed
    keeps the template until it changes. Default Refuse."""

    shared_volumes: Literal["Refuse", "Allow"] = "Refuse"
    """Whether several instances may use one persistentVolumeClaim. Refuse: a template with such a
    volume is refused if there is more than one replica, because the operator cannot tell whether
    several pods can use the volume at once. Allow: it is accepted; all replicas, and their
    successors, use the volume at the same time. Default Refuse."""

    writable_root_filesystem: Annotated[bool, Field(strict=True)] = False
    """Whether containers can write to their root file system. If false, each container that does
    not set securityContext.readOnlyRootFilesystem itself gets a read-only root file system, in new
    revisions; a container that writes files needs a volume for them, such as an emptyDir. Revisions
    that were recorded before this field was introduced stay as they are. Default false."""

    admission: Literal["Allow", "Report", "Refuse"] = "Report"
    """What happens if admission (a webhook, a policy, a plug-in of the API server) made instances
    different from the template. Defaults of the API server, priority, tolerations and what a
    LimitRange or the service account adds do not count as differences. Report: the difference is
    reported in the condition AdmissionChanged and in an event, and recorded in the status of the
    ImmutableRevision; a later instance of the revision with another difference counts as Drifted
    (see onTaint). Refuse: in addition, a new revision with a difference does not become available:
    its instances are removed, and the rollout is stalled. Allow: instances are not compared.
    Default Report."""

    accepted_changes: AcceptedChanges = AcceptedChanges()
    """Changes by admission that are accepted. Default: none."""

    config: Config = Config()
    """Which ConfigMaps and Secrets are part of a revision. Default: all that the template
    references; Secrets only in namespaces that are granted to the operator."""


class ImmutableServiceSpec(ApiModel):
    """Specification of the desired instances and of how they are replaced."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *STATELESS_RULES,
        Rule(
            "self.?rollout.?strategy.orValue('Rolling') != 'BlueGreen' || has(self.traffic)",
            NEEDS_TRAFFIC,
            field=".rollout",
        ),
        Rule(
            "!has(self.traffic) || !has(self.traffic.route)"
            " || self.?rollout.?strategy.orValue('Rolling') == 'Canary'",
            ROUTE_NEEDS_CANARY,
            field=".traffic",
        ),
    )

    replicas: Replicas | None = None
    """Number of desired instances, at most 50000. If unset, the current number is kept; a new
    service starts with 1. kubectl scale and autoscalers write this field."""

    template: Annotated[dict[str, Any], Field(json_schema_extra={EMBED: WANTED})]
    """The pod template from which each instance is created. Every image must be pinned by digest
    (registry/name@sha256:<64 lower-case hex digits>). A change that results in different pods
    creates a new revision, and all instances are replaced; the same pods written in another way do
    not."""

    traffic: Traffic | None = None
    """How clients reach the instances. If set, the operator owns a Service with the name of this
    object, which selects its instances; instances in quarantine receive no traffic. A change
    replaces no instance. If unset, create Services yourself. Default: unset."""

    rollout: Rollout = Rollout()
    """How instances are replaced when the template changes."""

    regeneration: Regeneration = Regeneration()
    """When instances are replaced even if nothing changed. Default: never."""

    immutability: Immutability = Immutability()
    """What happens to an instance that differs from the pod that the operator created."""

    history_limit: Annotated[int, Field(strict=True, ge=1, le=100)] = 10
    """Number of old revisions to keep, 1 to 100. The current revision, the newest revision, the
    last good revision, the one that runs instead of a failed one and all revisions that have
    instances are kept in addition. Default 10."""

    suspend: Annotated[bool, Field(strict=True)] = False
    """If true, the operator creates and removes no instances; running instances are kept. Default
    false."""


class ImmutableServiceStatus(OwnerStatus):
    """Most recently observed status of the service. It can be a few seconds out of date."""

    live_secrets: Annotated[list[Name], Field(max_length=64)] | None = None
    """Names of Secrets that the instances of the current revision read live, although
    spec.immutability.config pins them: the operator is not granted access to the Secrets of this
    namespace (pinning.secrets.namespaces of the chart), or was not when the revision was recorded.
    The next revision pins them if it is granted. Unset if there are none."""


ADMISSION: Final = Column(
    "Admission",
    "string",
    '.status.conditions[?(@.type=="AdmissionChanged")].message',
    "What admission changed in the pods",
    wide=True,
)

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
            columns=(*columns("service", "pods"), ADMISSION),
            rules=(name_rule("pod"), NAME_RULE),
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

    def more(given: ImmutableServiceSpec) -> Iterator[str]:
        if given.traffic is not None:
            yield from name_problems(name)
            if given.traffic.route is not None and given.rollout.strategy != "Canary":
                yield f"spec.traffic: {ROUTE_NEEDS_CANARY}"
        elif given.rollout.strategy == "BlueGreen":
            yield f"spec.rollout: {NEEDS_TRAFFIC}"
        yield from template_problems(given.template)

    return checked(ImmutableServiceSpec, name, spec, "pod", more)
