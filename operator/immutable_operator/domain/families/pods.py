"""Pods as a family of instances: their names, when one is available, and how one deviates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from immutable_operator.api.names import LABEL_SERVICE
from immutable_operator.domain.families import GRANT_ADVICE, Care, Family, Relapse, Words
from immutable_operator.domain.families.admitted import judged_admission
from immutable_operator.domain.model import (
    POD_HASH,
    Because,
    Cause,
    Deviation,
    Evidence,
    Instance,
    Obstacle,
    OnTaint,
    Policy,
    Reason,
    Revision,
    Spec,
    Trouble,
    TroubleKind,
    View,
    instance_name,
)

__all__ = ["PODS", "SPEC_CHANGED", "deviation"]

# What to do about causes that the API server or a kubelet describes in its own words.
ADVICE: Mapping[str, str] = {
    Cause.QUOTA: "raise the quota, or reduce the requests of the template",
    Cause.TEMPLATE: "correct spec.template, or the policy that refuses it",
    Cause.ADMISSION: "correct the policy or webhook, or exempt this service from it",
    Cause.FORBIDDEN: GRANT_ADVICE,
    Cause.DISRUPTION_BUDGET: (
        "the operator retries; if the budget never allows it, change the budget"
    ),
    TroubleKind.IMAGE_PULL: "correct the image or its pull secret",
    TroubleKind.CONTAINER_CONFIG: "create what is missing, or correct spec.template",
    TroubleKind.CRASH_LOOP: "kubectl logs --previous shows why",
    TroubleKind.UNSCHEDULABLE: "add nodes, or reduce the requests of the template",
}
SPEC_CHANGED = "its spec was changed while it was running"


def deviation(
    instance: Instance, template: Mapping[str, Any] | None, evidence: Evidence
) -> Because | None:
    """Return how ``instance`` differs from its original state; None if no difference is known.

    Without the template that it was created from, only what the pod itself shows is judged.
    """
    if instance.taint:
        return Because(Reason.TAINTED, instance.taint)
    if template is not None:
        spec = template.get("spec") or {}
        if cause := _other_image(instance, spec, evidence):
            return Because(Reason.DRIFTED, cause)
        if cause := _edited(instance, evidence):
            return Because(Reason.TAINTED, cause)
    if cause := evidence.replaced.get(instance.uid) or instance.differs:
        return Because(Reason.DRIFTED, cause)
    return None


@dataclass(frozen=True)
class Pods:
    """The family of pods."""

    words = Words(
        owner="service",
        label=LABEL_SERVICE,
        listing="kubectl get pods",
        reporting="onTaint",
        relapse="exempt this service from the webhook, controller or autoscaler that changes every"
        " new pod, or set immutability.onTaint: Report",
        leaving="Terminating",
        advice=ADVICE,
    )
    hash_version = POD_HASH
    is_one_to_one = False

    def name(self, owner: str, uid: str, revision: str, slot: int, incarnation: int) -> str:
        return instance_name(owner, uid, revision, slot, incarnation)

    def deviation(
        self,
        instance: Instance,
        template: Mapping[str, Any] | None,
        evidence: Evidence,
        spec: Spec,
    ) -> Because | None:
        found = deviation(instance, template, evidence)
        if found is None or spec.on_taint is not OnTaint.REPORT:
            return found
        return replace(found, is_reported=True)

    def judged(self, view: View, now: float) -> View:
        return judged_admission(view)

    def available_at(self, instance: Instance, least: float) -> float | None:
        return instance.available_at(least)

    def signals(self, because: Because) -> frozenset[str]:
        """Return the same for any modification: a client can change another field each time."""
        return frozenset({"modified"})

    def relapse(self, policy: Policy) -> Relapse:
        return Relapse(policy.heal, policy.heal_memory)

    def incident(self, deviation: Deviation) -> str:
        return ""

    def obstacle(self, instance: Instance, spec: Spec) -> Obstacle | None:
        return None

    def failure(self, instance: Instance, revision: Revision) -> str | None:
        trouble = instance.trouble
        if trouble is None or not trouble.settled:
            return None
        if trouble.kind is TroubleKind.CRASH_LOOP:
            return trouble.kind
        # What is read live may be created later; a copy never changes.
        pinned = {pin.snapshot for pin in revision.config}
        if trouble.kind is TroubleKind.CONTAINER_CONFIG:
            return trouble.kind if trouble.is_final or trouble.lacks in pinned else None
        return None

    def excuses(self, trouble: Trouble) -> bool:
        return trouble.kind in (TroubleKind.NODE_NOT_READY, TroubleKind.NODE_RESTARTED)

    def care(self, view: View, now: float) -> Care:
        return NONE


NONE = Care()
PODS: Family = Pods()


def _other_image(instance: Instance, spec: Mapping[str, Any], evidence: Evidence) -> str | None:
    """Return a sentence about an image other than the pinned one: in the spec, or proven to run.

    A mutating webhook may rewrite the registry (a mirror), but not the digest.
    """
    containers = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    pinned = {str(c.get("name")): str(c.get("image")) for c in containers}
    reported = dict(instance.reported)
    for name, image in instance.images:
        if name not in pinned:
            continue
        if image.rpartition("@")[2] != pinned[name].rpartition("@")[2]:
            return f"container {name} has image {image} instead of {pinned[name]}{_by(instance)}"
        if (image, reported.get(name, "")) in evidence.different:
            return f"container {name} runs {reported[name]}, which is not {image}"
    return None


def _edited(instance: Instance, evidence: Evidence) -> str | None:
    """Return a sentence if the spec was changed after the pod got its node, by its generation.

    The generation starts at 1, and the only legitimate step is deletion: the binding to a node does
    not count (1.36.3). While scheduling gates hold the pod back, whichever component added them,
    other components may change its spec.
    """
    if not instance.node or instance.terminating or not instance.generation:
        return None
    if instance.generation <= evidence.baselines.get(instance.uid, 1):
        return None
    return f"{SPEC_CHANGED}{_by(instance)}"


def _by(instance: Instance) -> str:
    return f" (by {instance.editor})" if instance.editor else ""
