"""Pods as instances: reading, creating and retiring them.

A pod is created with its birth certificate (labels and annotations in the create call) and is never
written again, unless it is quarantined or claimed back. It is retired through the eviction API with
its uid as precondition, so that PodDisruptionBudgets always apply and another pod with the same
name is never evicted.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from immutable_operator.api.names import (
    ANNOTATION_QUARANTINED,
    LABEL_REVISION,
    LABEL_SERVICE,
    QUARANTINED_SUFFIX,
    RESERVED_PREFIX,
)
from immutable_operator.domain.model import Because, Create, Instance, Quarantine, Retire
from immutable_operator.instances.certificate import certificate, number, read_certificate
from immutable_operator.instances.pods.form import form_of
from immutable_operator.instances.pods.taint import (
    edited,
    editor_of,
    mark_of,
    other_images,
    taint_of,
)
from immutable_operator.instances.pods.trouble import Condition, PodStatus, trouble_of
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import PODS
from immutable_operator.kube.reading import READ_ERRORS
from immutable_operator.kube.times import moment, stamp
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.revision import owner_reference

__all__ = [
    "BORN",
    "PODS",
    "PodRecord",
    "decode_pod",
    "deletion_body",
    "eviction_body",
    "pod_body",
    "quarantine_body",
]

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
ENDED = ("Failed", "Succeeded")
BORN = 1


class _Container(msgspec.Struct, frozen=True):
    name: str = ""
    image: str = ""


class _Gate(msgspec.Struct, frozen=True):
    name: str = ""


class _PodSpec(msgspec.Struct, rename="camel", frozen=True):
    node_name: str | None = None
    containers: list[_Container] = []
    init_containers: list[_Container] = []
    ephemeral_containers: list[_Container] = []
    scheduling_gates: list[_Gate] = []

    def images(self) -> dict[str, str]:
        return {c.name: c.image for c in (*self.init_containers, *self.containers)}


class _Pod(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: msgspec.Raw = msgspec.Raw(b"{}")
    status: PodStatus = PodStatus()


class PodRecord(msgspec.Struct, frozen=True):
    """A pod that carries our label: its owner's uid ("" if none), and the instance that it is.

    ``running_since`` is when the first of the running containers was started. ``version`` is its
    resource version, on which no plan depends. ``form`` is what admission made of it: see
    `form_of`.
    """

    uid: str
    owner: str
    content: Instance
    namespace: str = ""
    running_since: float | None = None
    version: str = ""
    form: bytes = b""


def decode_pod(raw: bytes | msgspec.Raw) -> PodRecord:
    """Decode a pod. Labels and annotations that cannot be parsed are read as 0 or ""."""
    pod = msgspec.json.decode(raw, type=_Pod)
    meta, spec = pod.metadata, msgspec.json.decode(pod.spec, type=_PodSpec)
    images = spec.images()
    statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    quarantine = _quarantine(meta.annotations.get(ANNOTATION_QUARANTINED))
    debuggers = [c.name for c in spec.ephemeral_containers]
    taint = taint_of(meta, debuggers, quarantine.cause if quarantine else None)
    tainted_by, tainted_at = mark_of(meta)
    instance = Instance(
        name=meta.name,
        uid=meta.uid,
        born=moment(meta.creation_timestamp),
        ready_since=_ready_since(pod.status.conditions),
        terminating=meta.deletion_timestamp is not None,
        ended=pod.status.phase in ENDED,
        node=sys.intern(spec.node_name) if spec.node_name else None,
        deletion_cost=number(meta.annotations.get(DELETION_COST)),
        leaving=_leaving(pod.status.conditions),
        trouble=trouble_of(pod.status, images, spec.node_name),
        taint=taint,
        tainted_by=tainted_by,
        tainted_at=tainted_at,
        generation=meta.generation,
        editor=editor_of(meta) if meta.generation > BORN else None,
        gated=bool(spec.scheduling_gates),
        edited=meta.generation > BORN and edited(meta, _bound(pod.status.conditions)),
        images=_shared(tuple(images.items())),
        reported=other_images(images, statuses),
        restarted=next((s.name for s in statuses if s.restart_count and not s.ended_well), None),
        quarantined=quarantine.since if quarantine else None,
        **read_certificate(meta),
    )
    started = (s.state.running.started_at for s in statuses if s.state.running)
    since = min((moment(text) for text in started if text), default=None)
    where = (sys.intern(meta.namespace), since, meta.resource_version)
    form = form_of(meta, pod.spec, moved=meta.generation > BORN)
    return PodRecord(meta.uid, sys.intern(meta.controller), instance, *where, form)


@functools.lru_cache(maxsize=4096)
def _shared(images: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return one shared copy for all instances of a revision: there are thousands of them."""
    return images


class _Quarantine(msgspec.Struct, frozen=True):
    since_text: str = msgspec.field(name="since")
    because: str = "Tainted: it was quarantined"

    @property
    def since(self) -> float:
        return moment(self.since_text)

    @property
    def cause(self) -> str:
        because = Because.read(self.because)
        return because.cause if because else self.because


def _quarantine(text: str | None) -> _Quarantine | None:
    """Return the quarantine; None if the annotation cannot be read, since others wrote it then."""
    if text is None:
        return None
    try:
        found = msgspec.json.decode(text, type=_Quarantine)
        moment(found.since_text)
    except READ_ERRORS:
        return None
    return found


def _ready_since(conditions: list[Condition]) -> float | None:
    for condition in conditions:
        if condition.type == "Ready" and condition.status == "True":
            return moment(condition.last_transition_time or "1970-01-01T00:00:00Z")
    return None


def _bound(conditions: list[Condition]) -> str | None:
    """Return when it was bound to its node."""
    for condition in conditions:
        if condition.type == "PodScheduled" and condition.status == "True":
            return condition.last_transition_time
    return None


def _leaving(conditions: list[Condition]) -> str | None:
    for condition in conditions:
        if condition.type == "DisruptionTarget" and condition.status == "True":
            return f"{condition.reason}: {condition.message}"
    return None


def pod_body(service: OwnerRecord, template: Mapping[str, Any], create: Create) -> dict[str, Any]:
    """Return the pod to create: the template as written, plus the birth certificate."""
    meta = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": create.name,
            "namespace": service.namespace,
            "labels": {
                **(meta.get("labels") or {}),
                LABEL_SERVICE: service.name,
                LABEL_REVISION: create.revision,
            },
            "annotations": {**(meta.get("annotations") or {}), **certificate(create)},
            **({"finalizers": meta["finalizers"]} if meta.get("finalizers") else {}),
            "ownerReferences": [owner_reference(service)],
        },
        "spec": template.get("spec") or {},
    }


def quarantine_body(
    service: OwnerRecord, labels: Mapping[str, str], order: Quarantine, now: float
) -> dict[str, Any]:
    """Return a merge patch that takes a pod out of everything that selects pods by label.

    ``labels`` are its present labels; they are kept in an annotation for people. With the uid the
    API server refuses another pod with the same name.
    """
    taken = {key: text for key, text in labels.items() if not key.startswith(RESERVED_PREFIX)}
    mark = {"since": stamp(now), "because": str(order.because)[:1024], "labels": taken}
    return {
        "metadata": {
            "uid": order.uid,
            "labels": {
                **dict.fromkeys(taken),
                LABEL_SERVICE: service.name + QUARANTINED_SUFFIX,
            },
            "annotations": {ANNOTATION_QUARANTINED: msgspec.json.encode(mark).decode()},
        }
    }


def eviction_body(service: OwnerRecord, retire: Retire) -> dict[str, Any]:
    """Return the eviction of exactly this pod; its grace period is the pod's own."""
    return {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": retire.name, "namespace": service.namespace},
        "deleteOptions": {"preconditions": {"uid": retire.uid}},
    }


def deletion_body(uid: str, version: str) -> dict[str, Any]:
    """Return the deletion of exactly this pod and version; its grace period is its own."""
    return {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": uid, "resourceVersion": version},
    }
