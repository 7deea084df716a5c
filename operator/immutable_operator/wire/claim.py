"""NodeClaims of Karpenter on the wire: what they say of a machine, and the body of a new one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from immutable_operator.api.duration import seconds
from immutable_operator.api.names import (
    ANNOTATION_IMAGE,
    ANNOTATION_POOL_UID,
    LABEL_POOL,
    LABEL_REVISION,
    TAINT_UNVERIFIED,
)
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import ApiPath
from immutable_operator.wire.node import OfPool
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["CLAIMS", "UNREGISTERED", "ClaimRecord", "Condition", "claim_body", "decode_claim"]

CLAIMS = ApiPath("apis/karpenter.sh/v1", "nodeclaims")
# Taint of a node until Karpenter has given it the labels and taints of its claim.
UNREGISTERED = "karpenter.sh/unregistered"
TRUE = "True"


class Condition(msgspec.Struct, frozen=True):
    """A condition of a claim or of a node class."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class _ClassRef(msgspec.Struct, frozen=True):
    group: str = ""
    kind: str = ""
    name: str = ""


class _Spec(msgspec.Struct, rename="camel", frozen=True):
    node_class_ref: _ClassRef = _ClassRef()


class _Status(msgspec.Struct, rename="camel", frozen=True):
    node_name: str = ""
    image: str = msgspec.field(name="imageID", default="")
    conditions: list[Condition] = []


class _Claim(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: _Spec = _Spec()
    status: _Status = _Status()


class ClaimRecord(OfPool, frozen=True):
    """A NodeClaim. ``node`` is the name of its node, "" if it has none yet.

    ``image`` is what its machine was started from, "" if the provider does not say.
    ``node_class`` is the reference to its node class: group, kind and name.
    """

    node: str = ""
    image: str = ""
    node_class: tuple[str, str, str] = ("", "", "")
    conditions: tuple[Condition, ...] = ()

    @property
    def content(self) -> object:
        """What plans depend on."""
        meta = self.meta
        where = (meta.labels, meta.annotations, meta.deletion_timestamp, meta.finalizers)
        return where, self.node, self.image, self.conditions

    @property
    def is_launched(self) -> bool:
        return self.condition("Launched").status == TRUE

    @property
    def is_registered(self) -> bool:
        return self.condition("Registered").status == TRUE

    @property
    def asked_image(self) -> str:
        """Id or digest of the image from which its machine is to start."""
        return self.meta.annotations.get(ANNOTATION_IMAGE, "")

    @property
    def wrong_image(self) -> str:
        """The image from which its machine was started, if that is not the one it asked for."""
        wanted = self.asked_image
        same = self.image == wanted or self.image.endswith(f"@{wanted}")
        return "" if same or not wanted or not self.image else self.image

    def condition(self, kind: str) -> Condition:
        """Return a condition; an empty one if it is not there."""
        return next((c for c in self.conditions if c.type == kind), Condition())


def decode_claim(raw: bytes | msgspec.Raw) -> ClaimRecord:
    """Read a NodeClaim."""
    claim = msgspec.json.decode(raw, type=_Claim)
    ref = claim.spec.node_class_ref
    return ClaimRecord(
        meta=msgspec.structs.replace(claim.metadata, managed_fields=msgspec.Raw()),
        node=claim.status.node_name,
        image=claim.status.image,
        node_class=(ref.group, ref.kind, ref.name),
        conditions=tuple(claim.status.conditions),
    )


def claim_body(
    owner: OwnerRecord,
    template: Mapping[str, Any],
    name: str,
    revision: str,
    annotations: Mapping[str, str],
) -> dict[str, Any]:
    """Return a NodeClaim without a NodePool: Karpenter operates its machine and nothing else.

    ``annotations`` are those of the operator. Karpenter copies labels and annotations to the node.
    """
    declared = template.get("template") or {}
    given = template["provider"]["karpenter"]
    image = template.get("image") or {}
    spec: dict[str, Any] = {
        "nodeClassRef": given["nodeClassRef"],
        "requirements": list(given.get("requirements") or ()),
        "startupTaints": [{"key": TAINT_UNVERIFIED, "effect": "NoSchedule"}],
        # The default, 720h, deletes the node without a successor, whatever runs there.
        "expireAfter": "Never",
    }
    if given.get("resources"):
        spec["resources"] = given["resources"]
    if declared.get("taints"):
        spec["taints"] = list(declared["taints"])
    if given.get("terminationGracePeriod"):
        # Karpenter knows no days.
        spec["terminationGracePeriod"] = f"{int(seconds(given['terminationGracePeriod']))}s"
    return {
        "apiVersion": CLAIMS.group_version.removeprefix("apis/"),
        "kind": "NodeClaim",
        "metadata": {
            "name": name,
            "labels": {
                **(declared.get("labels") or {}),
                LABEL_POOL: owner.name,
                LABEL_REVISION: revision,
            },
            "annotations": {
                **(declared.get("annotations") or {}),
                **annotations,
                ANNOTATION_POOL_UID: owner.uid,
                ANNOTATION_IMAGE: image.get("id") or image.get("digest") or "",
            },
        },
        "spec": spec,
    }
