"""DaemonSets and PersistentVolumes on the wire: what nodes are checked against."""

from __future__ import annotations

import msgspec

from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import ApiPath
from immutable_operator.wire.placement import HOSTNAME, Placement, Requirement

__all__ = ["DAEMONS", "VOLUMES", "DaemonRecord", "VolumeRecord", "decode_daemon", "decode_volume"]

DAEMONS = ApiPath("apis/apps/v1", "daemonsets")
VOLUMES = ApiPath("api/v1", "persistentvolumes")


class _Template(msgspec.Struct, frozen=True):
    spec: Placement = Placement()


class _DaemonSpec(msgspec.Struct, frozen=True):
    template: _Template = _Template()


class _Daemon(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: _DaemonSpec = _DaemonSpec()


class DaemonRecord(msgspec.Struct, frozen=True):
    """A DaemonSet, and on which nodes its pods run."""

    uid: str
    namespace: str
    name: str
    placement: Placement


def decode_daemon(raw: bytes | msgspec.Raw) -> DaemonRecord:
    """Bytes of a DaemonSet to its record; its status is not read."""
    body = msgspec.json.decode(raw, type=_Daemon)
    meta = body.metadata
    return DaemonRecord(meta.uid, meta.namespace, meta.name, body.spec.template.spec)


class _Claim(msgspec.Struct, frozen=True):
    namespace: str = ""
    name: str = ""


class _Term(msgspec.Struct, rename="camel", frozen=True):
    match_expressions: list[Requirement] | None = None


class _Terms(msgspec.Struct, rename="camel", frozen=True):
    node_selector_terms: list[_Term] | None = None


class _Affinity(msgspec.Struct, frozen=True):
    required: _Terms | None = None


class _VolumeSpec(msgspec.Struct, rename="camel", frozen=True):
    claim_ref: _Claim | None = None
    node_affinity: _Affinity | None = None


class _Volume(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: _VolumeSpec = _VolumeSpec()


class VolumeRecord(msgspec.Struct, frozen=True):
    """A PersistentVolume: its claim as ``<namespace>/<name>``, and the hosts that it exists on.

    ``hosts`` is empty for a volume that is not bound to hosts.
    """

    uid: str
    name: str
    claim: str
    hosts: tuple[str, ...]


def decode_volume(raw: bytes | msgspec.Raw) -> VolumeRecord:
    """Bytes of a PersistentVolume to its record."""
    body = msgspec.json.decode(raw, type=_Volume)
    claim, affinity = body.spec.claim_ref, body.spec.node_affinity
    terms = (affinity.required.node_selector_terms or ()) if affinity and affinity.required else ()
    hosts = {
        host
        for term in terms
        for expression in term.match_expressions or ()
        if expression.key == HOSTNAME and expression.operator == "In"
        for host in expression.values or ()
    }
    name = f"{claim.namespace}/{claim.name}" if claim else ""
    return VolumeRecord(body.metadata.uid, body.metadata.name, name, tuple(sorted(hosts)))
