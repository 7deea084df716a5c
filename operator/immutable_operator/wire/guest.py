"""Pods on nodes on the wire: what a drain, and a check of a node, must know of each."""

from __future__ import annotations

import msgspec

from immutable_operator.api.names import LABEL_SERVICE, SERVICE_KIND
from immutable_operator.api.node_folders import is_sensitive
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.wire.placement import Placement

__all__ = ["GuestRecord", "decode_guest"]

MIRROR = "kubernetes.io/config.mirror"
CRITICAL = ("system-cluster-critical", "system-node-critical")
# Annotations with which owners of pods forbid that others end them, and the forbidding values.
KEEPING = {
    "karpenter.sh/do-not-disrupt": "true",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
}


class _HostPath(msgspec.Struct, frozen=True):
    path: str = ""


class _Claim(msgspec.Struct, rename="camel", frozen=True):
    claim_name: str = ""


class _Volume(msgspec.Struct, rename="camel", frozen=True):
    name: str = ""
    host_path: _HostPath | None = None
    persistent_volume_claim: _Claim | None = None
    ephemeral: msgspec.Raw = msgspec.Raw()


class _Security(msgspec.Struct, frozen=True):
    privileged: bool | None = None


class _Port(msgspec.Struct, rename="camel", frozen=True):
    host_port: int | None = None
    protocol: str = "TCP"


class _Container(msgspec.Struct, rename="camel", frozen=True):
    name: str = ""
    ports: list[_Port] | None = None
    security_context: _Security | None = None


class _Spec(Placement, rename="camel", frozen=True):
    node_name: str | None = None
    host_pid: bool | None = msgspec.field(name="hostPID", default=None)
    priority_class_name: str | None = None
    containers: tuple[_Container, ...] = ()
    init_containers: tuple[_Container, ...] = ()
    ephemeral_containers: tuple[_Container, ...] = ()
    volumes: list[_Volume] | None = None


class _Condition(msgspec.Struct, frozen=True):
    type: str = ""
    status: str = ""


class _Status(msgspec.Struct, frozen=True):
    phase: str = ""
    conditions: list[_Condition] = []


class _Pod(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: _Spec = _Spec()
    status: _Status = _Status()


class GuestRecord(msgspec.Struct, frozen=True):
    """A pod that is bound to a node (``owner`` of the store: the name of the node).

    ``made_by`` is the kind of its controller, ``controller`` the uid of it. ``access`` is a
    sentence about its access to the node, ``keeps`` about why it may not be evicted; "" if
    neither. ``claims`` are the names of its PersistentVolumeClaims, ``ports`` the ports of the node
    that it uses.
    """

    uid: str
    owner: str
    namespace: str
    name: str
    made_by: str = ""
    controller: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    placement: Placement = Placement()
    phase: str = ""
    ready: bool = False
    terminating: bool = False
    critical: bool = False
    mirror: bool = False
    keeps: str = ""
    access: str = ""
    claims: tuple[str, ...] = ()
    ports: tuple[tuple[int, str], ...] = ()

    @property
    def content(self) -> object:
        return self

    @property
    def ended(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    @property
    def is_instance(self) -> bool:
        """Whether it is an instance of an ImmutableService."""
        return self.made_by == SERVICE_KIND and any(key == LABEL_SERVICE for key, _ in self.labels)


def decode_guest(raw: bytes | msgspec.Raw) -> GuestRecord:
    """Bytes of a Pod to its record; the bytes of a heartbeat give an equal one."""
    pod = msgspec.json.decode(raw, type=_Pod)
    meta, spec, status = pod.metadata, pod.spec, pod.status
    containers = [*spec.init_containers, *spec.containers]
    volumes = spec.volumes or ()
    ports = {
        (port.host_port, port.protocol)
        for container in containers
        for port in container.ports or ()
        if port.host_port
    }
    claims = [v.persistent_volume_claim.claim_name for v in volumes if v.persistent_volume_claim]
    # The claim of an ephemeral volume is named after its pod.
    claims += [f"{meta.name}-{v.name}" for v in volumes if v.ephemeral]
    return GuestRecord(
        uid=meta.uid,
        owner=spec.node_name or "",
        namespace=meta.namespace,
        name=meta.name,
        made_by=meta.owner.kind,
        controller=meta.controller,
        labels=tuple(sorted(meta.labels.items())),
        placement=Placement(spec.node_selector, spec.affinity, spec.tolerations),
        phase=status.phase,
        ready=any(c.type == "Ready" and c.status == "True" for c in status.conditions),
        terminating=meta.deletion_timestamp is not None,
        critical=spec.priority_class_name in CRITICAL,
        mirror=MIRROR in meta.annotations,
        keeps=_keeps(meta),
        access=_access(spec),
        claims=tuple(claims),
        ports=tuple(sorted(ports)),
    )


def _keeps(meta: ObjectMeta) -> str:
    for key, value in KEEPING.items():
        if meta.annotations.get(key) == value:
            return f"has the annotation {key}: {value}; remove it to allow the eviction"
    return ""


def _access(spec: _Spec) -> str:
    """Return how a pod has access to its node beyond its containers."""
    if spec.host_pid:
        return "uses the process namespace of the node (hostPID)"
    everyone = (*spec.containers, *spec.init_containers, *spec.ephemeral_containers)
    for container in everyone:
        if container.security_context and container.security_context.privileged:
            return f"has the privileged container {container.name}"
    for volume in spec.volumes or ():
        if volume.host_path and is_sensitive(volume.host_path.path):
            return f"mounts {volume.host_path.path} of the node"
    return ""
