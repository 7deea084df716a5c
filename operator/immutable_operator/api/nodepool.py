"""ImmutableNodePool: a pool of nodes that are replaced, never patched."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from immutable_operator.api import names
from immutable_operator.api.cel import Rule
from immutable_operator.api.duration import Duration, seconds, seconds_rule
from immutable_operator.api.image import MAX_IMAGE, pin_problem, pin_rule
from immutable_operator.api.kind import ApiModel, Kind, Version
from immutable_operator.api.machine_image import MachineImage
from immutable_operator.api.node_template import CONTROL_PLANE, NodeTemplate
from immutable_operator.api.owner import BOTH_ZERO, NEVER_REPLACES, checked, columns, name_rule
from immutable_operator.api.provider import Provider
from immutable_operator.api.regeneration import Regeneration
from immutable_operator.api.scaling import Int32, IntOrPercent, Nodes, is_zero
from immutable_operator.api.status import OwnerStatus

__all__ = [
    "DEADLINE",
    "KUBELET",
    "ON_CONTROL_PLANE",
    "POOL",
    "ImmutableNodePoolSpec",
    "ImmutableNodePoolStatus",
    "SmokePod",
    "validate_pool",
]

DEADLINE = (
    "progressDeadlineSeconds is not greater than verify.settle, so every rollout would be reported"
    " as stalled; increase progressDeadlineSeconds"
)
ON_CONTROL_PLANE = (
    "a label or taint of the template makes these nodes part of the control plane "
    f"({' or '.join(CONTROL_PLANE)}), and replacing them can make the cluster unavailable; remove "
    "it, or set controlPlane: true"
)
KUBELET = (
    "template.kubelet is set, but Karpenter takes settings of the kubelet from the node class "
    "only; set them there, and remove template.kubelet"
)
_Text = Annotated[str, Field(max_length=4096)]


class SmokePod(ApiModel):
    """A pod that must succeed on a new node before workloads are scheduled to it."""

    rules: ClassVar[tuple[Rule, ...]] = (pin_rule("smoke pod", "image", named=False),)

    image: Annotated[str, Field(max_length=MAX_IMAGE)]
    """Image of its container, pinned by digest: registry/name@sha256:<64 lower-case hex digits>."""
    command: Annotated[list[_Text], Field(max_length=64)] | None = None
    """Command of its container; if unset, that of the image."""
    args: Annotated[list[_Text], Field(max_length=64)] | None = None
    """Arguments of its command; if unset, those of the image."""
    timeout: Duration = "2m"
    """How long it may run, including the time for pulling its image: a whole number with the unit
    s, m, h or d. Default 2m."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if problem := pin_problem(self.image):
            raise ValueError(f"smoke pod: {problem}")
        return self


class Verify(ApiModel):
    """Checks of a new node, in addition to being Ready with the pods of all DaemonSets Ready."""

    settle: Duration = "60s"
    """How long the facts of a new node (machine id, boot id, versions) must stay the same: a whole
    number with the unit s, m, h or d. Default 60s."""
    smoke_pod: SmokePod | None = None
    """A pod that must succeed on a new node before workloads are scheduled to it. If unset, there
    is none."""


class PoolRollout(ApiModel):
    """How nodes are replaced when the image, the template or the settings of the provider
    change."""

    rules: ClassVar[tuple[Rule, ...]] = (
        NEVER_REPLACES,
        Rule(
            f"self.progressDeadlineSeconds > {seconds_rule('self.verify.settle')}",
            DEADLINE,
        ),
    )

    max_surge: IntOrPercent = 1
    """Maximum number of nodes that can exist above spec.replicas during a replacement, including
    those that are being drained: a number, or a percentage of spec.replicas, rounded up. Default
    1."""

    max_unavailable: IntOrPercent = 0
    """Maximum number of nodes that can be unavailable during a replacement: a number, or a
    percentage of spec.replicas, rounded down. Default 0."""

    progress_deadline_seconds: Annotated[Int32, Field(ge=1)] = 1800
    """Number of seconds without progress after which the revision has failed. The time is paused
    while something other than the revision delays the rollout, such as the provider's capacity.
    Must be greater than verify.settle. Default 1800."""

    on_failure: Literal["RollBack", "Hold"] = "RollBack"
    """What happens when the revision fails: two nodes in a row did not become ready, or its
    progress deadline has passed. RollBack: the last good revision is restored to full strength, and
    the failed one is not rolled out again until the image, the template or the provider changes or
    an ImmutableAction of type Retry is created. Hold: existing nodes are kept, and lost nodes are
    recreated from the last good revision. Default RollBack."""

    bake_seconds: Int32 = 0
    """Number of seconds for which all nodes of a new revision must stay available before its
    rollout is complete. If they become unavailable in that time, the revision failed. Default
    0."""

    verify: Verify = Verify()
    """Checks that a new node must pass before workloads are scheduled to it and its predecessor is
    drained. In addition, it must be Ready, with the pods of all DaemonSets Ready on it."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if is_zero(self.max_surge) and is_zero(self.max_unavailable):
            raise ValueError(BOTH_ZERO)
        if self.progress_deadline_seconds <= seconds(self.verify.settle):
            raise ValueError(DEADLINE)
        return self


_OnDrift = Literal["Replace", "Report", "Ignore"]


class Drift(ApiModel):
    """What happens to a node if a fact changes after it was verified. Replace: a successor is
    created, then the node is drained and deleted. Report: the node is kept, and the change is
    reported in the status and in events. Ignore: nothing happens."""

    machine_id: _OnDrift = Field(default="Replace", alias="machineID")
    """A different machine id. Default Replace."""
    boot_id: _OnDrift = Field(default="Replace", alias="bootID")
    """A different boot id: the machine was rebooted. Default Replace."""
    os_image: _OnDrift = "Replace"
    """A different name or version of the operating system. Default Replace."""
    kernel_version: _OnDrift = "Replace"
    """A different version of the kernel. Default Replace."""
    kubelet_version: _OnDrift = "Replace"
    """A different version of the kubelet. Default Replace."""
    container_runtime_version: _OnDrift = "Replace"
    """A different version of the container runtime. Default Replace."""
    declared_labels: _OnDrift = "Report"
    """A label of spec.template that the node no longer has, or has with another value. Default
    Report."""
    declared_taints: _OnDrift = "Report"
    """A taint of spec.template that the node no longer has. Default Report."""
    reached_into: _OnDrift = "Report"
    """A pod that can change the node: with hostPID, a privileged container or a volume of a system
    directory of the node, outside the exempt namespaces. Default Report."""


class Drain(ApiModel):
    """How the pods of a node leave it before it is deleted."""

    timeout: Duration = "1h"
    """How long the eviction of all pods can take until onBlocked applies: a whole number with the
    unit s, m, h or d. Default 1h."""
    on_blocked: Literal["Wait", "DeleteAfter"] = "Wait"
    """What happens to the pods that are still on the node after timeout, for example because of a
    PodDisruptionBudget. Wait: the node is kept until they are gone, and the status names them.
    DeleteAfter: they are deleted. Default Wait."""


_roles = f"[{', '.join(repr(key) for key in CONTROL_PLANE)}]"


class ImmutableNodePoolSpec(ApiModel):
    """Specification of the desired nodes and of how they are replaced."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.controlPlane || !has(self.template) || !("
            f"(has(self.template.labels) && self.template.labels.exists(k, k in {_roles})) || "
            f"(has(self.template.taints) && self.template.taints.exists(t, t.key in {_roles})))",
            ON_CONTROL_PLANE,
        ),
        Rule(
            "!has(self.provider.karpenter) || !has(self.template) || !has(self.template.kubelet)",
            KUBELET,
        ),
    )

    replicas: Nodes | None = None
    """Number of desired nodes, at most 5000. If unset, the current number is kept; a new pool
    starts with 1. kubectl scale and autoscalers write this field."""

    image: MachineImage
    """The image from which the nodes start: exactly one of id and digest. A change creates a new
    revision, and all nodes are replaced."""

    template: NodeTemplate | None = None
    """Labels, annotations, taints and kubelet settings of the nodes. A change creates a new
    revision, and all nodes are replaced."""

    provider: Provider
    """Where the nodes come from: exactly one of simulated and karpenter. A change of its settings
    creates a new revision, and all nodes are replaced; a pool keeps its provider."""

    control_plane: Annotated[bool, Field(strict=True)] = False
    """Whether nodes of the control plane are allowed in this pool. If false, labels and taints of
    such nodes are refused. Default false."""

    rollout: PoolRollout = PoolRollout()
    """How nodes are replaced when the image, the template or the settings of the provider
    change."""

    regeneration: Regeneration = Regeneration()
    """When nodes are replaced even if nothing changed. Default: never."""

    drift: Drift = Drift()
    """What happens to a node if it was changed in place: Replace, Report or Ignore, for each
    fact."""

    drain: Drain = Drain()
    """How the pods of a node leave it before it is deleted."""

    deletion_policy: Literal["Orphan", "Drain"] = "Orphan"
    """What happens to the nodes if the pool is deleted. Orphan: they are kept, and no longer
    replaced. Drain: they are drained and deleted. Default Orphan."""

    history_limit: Annotated[int, Field(strict=True, ge=1, le=100)] = 10
    """Number of old revisions to keep, 1 to 100. The current revision, the newest revision, the
    last good revision and all revisions that have nodes are kept in addition. Default 10."""

    suspend: Annotated[bool, Field(strict=True)] = False
    """If true, the operator creates and deletes no nodes; existing nodes are kept. Default
    false."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        template = self.template or NodeTemplate()
        keys = {*(template.labels or ()), *(taint.key for taint in template.taints or ())}
        if not self.control_plane and keys.intersection(CONTROL_PLANE):
            raise ValueError(ON_CONTROL_PLANE)
        if self.provider.karpenter is not None and template.kubelet is not None:
            raise ValueError(KUBELET)
        return self


class ImmutableNodePoolStatus(OwnerStatus):
    """Most recently observed status of the pool. Its instances are nodes. It can be a few seconds
    out of date."""

    available_replicas: Int32 | None = None
    """Number of nodes that are Ready and verified."""
    quarantined_replicas: Int32 | None = None
    """Always 0: nodes are not quarantined."""


POOL: Final = Kind(
    name=names.POOL_KIND,
    plural=names.POOL_PLURAL,
    short="imnp",
    scope="Cluster",
    description="ImmutableNodePool runs nodes (instances) of one image that are replaced and never "
    "patched: when the image, the template or a recorded fact of a node changes, a successor is "
    "created and verified, and then the old node is drained and deleted.",
    versions=(
        Version(
            spec=ImmutableNodePoolSpec,
            status=ImmutableNodePoolStatus,
            status_default={"observedGeneration": -1},
            scale=True,
            columns=columns("pool", "nodes"),
            rules=(name_rule("node"),),
        ),
    ),
)


def validate_pool(name: str, spec: Mapping[str, Any]) -> ImmutableNodePoolSpec:
    """Read a spec, with the same checks that the CRD makes at admission.

    Parameters
    ----------
    name
        Name of the ImmutableNodePool.
    spec
        Its spec as the API server gives it.

    Raises
    ------
    InvalidSpec
        With all problems of the spec, one sentence each, for its author.
    """
    return checked(ImmutableNodePoolSpec, name, spec, "node")
