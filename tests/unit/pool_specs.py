"""Specs of ImmutableNodePools that are accepted, and those that are refused with their messages.

``POOLS_REFUSED`` is tried on the operator's own check (test_api_nodepool.py) and on the API server
(tests/cluster/test_crds_nodepool.py).
"""

from __future__ import annotations

from typing import Any

from immutable_operator.api import (
    machine_image,
    node_template,
    nodepool,
    owner,
    provider,
    regeneration,
)
from immutable_operator.api.image import HOW_TO_PIN, NO_DIGEST
from immutable_operator.api.regeneration import TOO_YOUNG
from immutable_operator.api.template import RESERVED
from tests.unit.service_specs import LONG_NAME, PIN, Refused

__all__ = ["IMAGE_IDS", "POOLS", "POOLS_REFUSED", "karpenter", "pool"]

Json = dict[str, Any]

HEX = "9f2c41d07a1b" * 5 + "9f2c"

IMAGE_IDS = [
    "ami-0abc1234def567890",
    "projects/p/global/images/debian-12-bookworm-v20260101",
    "https://www.googleapis.com/compute/v1/projects/p/global/images/name-20260101",
    "/subscriptions/1a2b/resourceGroups/g/providers/Microsoft.Compute/galleries/a/images/b/"
    "versions/1.2.3",
    "ocid1.image.oc1.iad.aaaaaaaa",
    "2f1c7d5e-6b0a-4a53-9d0c-7a3a1e3f9b11",
    "114690387",
    "vm_template~1.30+k3s1",
    "latestage-20260101",
    "greatest",
    "x" * 512,
]

_MOVING: list[tuple[str, tuple[str, ...]]] = [
    (machine_image.OF_A_REGISTRY, (f"registry.example/os@sha256:{HEX}",)),
    (machine_image.ALIAS, ("al2023@latest", "al2023@v20260101", "/aws/Alias/al2023")),
    (machine_image.LATEST, ("ubuntu-latest", "/images/b/versions/LATEST", "ubuntu:latest")),
    (machine_image.FAMILY, ("projects/p/global/images/family/debian-12",)),
    (machine_image.TAG, ("ubuntu:24.04", "resolve:ssm:/aws/x")),
    (
        machine_image.SELECTOR,
        ("ami-*", "ami-0abc?", "name=al2023", "al2023 arm64", "ami-[0-9]"),
    ),
    (machine_image.MALFORMED, ("ami-ü", "-ami")),
]
IMAGE_PROBLEMS = {image: says for says, images in _MOVING for image in images}


def pool(rollout: Json | None = None, **fields: Any) -> Json:
    """Give a spec that is accepted but for what is asked for."""
    out: Json = {"image": {"id": "ami-0abc1234def567890"}, "provider": {"simulated": {}}}
    if rollout is not None:
        out["rollout"] = rollout
    return out | fields


def karpenter(*requirements: Json, **fields: Any) -> Json:
    """Give the spec of a pool whose nodes Karpenter starts."""
    reference = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"}
    wanted = {"nodeClassRef": reference, "requirements": list(requirements), **fields}
    return pool(provider={"karpenter": wanted})


def smoke(**fields: Any) -> Json:
    """Give the spec of a pool with a smoke pod."""
    return pool({"verify": {"smokePod": {"image": PIN} | fields}})


POOLS = [
    pool(),
    pool(replicas=0, suspend=True, historyLimit=100, deletionPolicy="Drain"),
    pool(replicas=5000),
    pool(image={"digest": f"sha256:{HEX}"}),
    pool({"maxSurge": 0, "maxUnavailable": 1}),
    pool({"maxSurge": "100%", "verify": {"settle": "1799s"}}),
    pool(regeneration={"maxAge": "14d", "hardMaxAge": "21d", "schedule": "0 3 * * SUN"}),
    pool(drift={"bootID": "Ignore", "machineID": "Report", "reachedInto": "Replace"}),
    pool(drain={"timeout": "2h", "onBlocked": "DeleteAfter"}),
    pool(
        template={
            "labels": {"team": "a", "example.com/pool": "", "my.immutable.dev/x": "y"},
            "annotations": {"example.com/note": "any text: even *"},
            "taints": [
                {"key": "example.com/gpu", "effect": "NoSchedule"},
                {"key": "example.com/gpu", "value": "yes", "effect": "NoExecute"},
            ],
            "kubelet": {
                "maxPods": 50,
                "podsPerCore": 10,
                "systemReserved": {"cpu": 0.5, "memory": "100Mi"},
                "kubeReserved": {"ephemeral-storage": "1Gi"},
                "evictionHard": {"memory.available": "5%"},
                "evictionSoft": {"memory.available": "500Mi"},
                "evictionSoftGracePeriod": {"memory.available": "1m30s"},
                "evictionMaxPodGracePeriod": 60,
                "imageGCHighThresholdPercent": 85,
                "imageGCLowThresholdPercent": 80,
                "cpuCFSQuota": True,
                "clusterDNS": ["10.0.0.10"],
            },
        }
    ),
    pool(
        controlPlane=True, template={"labels": {"node-role.kubernetes.io/control-plane": ""}}
    ),
    pool(provider={"simulated": {"capacity": {"cpu": 4, "memory": "16Gi", "example.com/gpu": 1}}}),
    karpenter(),
    karpenter(
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["a", "b"],
         "minValues": 2},
        {"key": "example.com/x", "operator": "Exists"},
        {"key": "karpenter.k8s.aws/instance-cpu", "operator": "Gt", "values": ["4"]},
        resources={"requests": {"cpu": "4", "memory": "16Gi"}},
        terminationGracePeriod="1h",
    ),
    smoke(command=["true"], args=["-x"], timeout="5m"),
]  # fmt: skip


def _key_refused(field: str, at: str, key: str, told: str, wrap: Any) -> Refused:
    return Refused(
        f"{field} {key}",
        pool(template={field: wrap(key)}),
        f"spec.template.{at}: key {key}{told}",
        value=key if at.endswith("key") else "",
    )


_KEYS = {
    "immutable.dev/pool": RESERVED,
    "kubernetes.io/hostname": node_template.DIFFERS,
    "my team": node_template.BAD_KEY,
    "Example.com/team": node_template.BAD_KEY,
}
_CONTROL_PLANE = f"spec: {nodepool.ON_CONTROL_PLANE}"
_BOTH_ZERO = f"spec.rollout: {owner.BOTH_ZERO}"
_GPU = {"key": "example.com/gpu", "effect": "NoSchedule"}
_REQUIREMENT = "spec.provider.karpenter.requirements[0]"

_EMPTY: dict[str, Any] = {"list": [], "map": {}}

POOLS_REFUSED = [
    *(
        Refused(
            f"image {image}",
            pool(image={"id": image}),
            f"spec.image.id: image id {image}{told}",
            value=image,
        )
        for image, told in IMAGE_PROBLEMS.items()
    ),
    Refused(
        "empty image id",
        pool(image={"id": ""}),
        f"spec.image.id: {machine_image.EMPTY}",
        f'spec.image.id: Invalid value: "": {machine_image.EMPTY}',
    ),
    Refused(
        "image id that is too long",
        pool(image={"id": "x" * 513}),
        "spec.image.id: String should have at most 512 characters",
        "spec.image.id: Too long: may not be more than 512 bytes",
    ),
    Refused(
        "digest of wrong length",
        pool(image={"digest": "sha256:9f2c"}),
        "spec.image.digest: digest sha256:9f2c has 4 instead of 64 hex digits; copy the complete "
        "digest",
        value="sha256:9f2c",
    ),
    Refused(
        "digest in upper case",
        pool(image={"digest": f"sha256:{HEX.upper()}"}),
        f"spec.image.digest: digest sha256:{HEX.upper()}{machine_image.UPPER_CASE}",
        value=f"sha256:{HEX.upper()}",
    ),
    Refused(
        "no digest",
        pool(image={"digest": "ubuntu"}),
        f"spec.image.digest: digest ubuntu{machine_image.NO_DIGEST}",
        value="ubuntu",
    ),
    Refused("no image", {"provider": {"simulated": {}}}, "spec.image: required value",
            "spec.image: Required value"),
    Refused(
        "neither id nor digest",
        pool(image={}),
        f"spec.image: {machine_image.NONE}",
    ),
    Refused(
        "both id and digest",
        pool(image={"id": "ami-0abc1234def567890", "digest": f"sha256:{HEX}"}),
        f"spec.image: {machine_image.BOTH}",
    ),
    Refused("no provider", {"image": {"id": "ami-1"}}, "spec.provider: required value",
            "spec.provider: Required value"),
    Refused(
        "no kind of provider",
        pool(provider={}),
        f"spec.provider: {provider.NO_PROVIDER}",
    ),
    Refused(
        "two providers",
        pool(provider=karpenter()["provider"] | {"simulated": {}}),
        f"spec.provider: {provider.BOTH}",
    ),
    Refused(
        "settings of the kubelet for Karpenter",
        karpenter() | {"template": {"kubelet": {"maxPods": 50}}},
        f"spec: {nodepool.KUBELET}",
    ),
    Refused(
        "reference without a name",
        pool(provider={"karpenter": {"nodeClassRef": {"group": "a", "kind": "B"}}}),
        "spec.provider.karpenter.nodeClassRef.name: required value",
        "spec.provider.karpenter.nodeClassRef.name: Required value",
    ),
    Refused(
        "capacity that is no quantity",
        pool(provider={"simulated": {"capacity": {"cpu": "many"}}}),
        'spec.provider.simulated.capacity.cpu: "many" is not a quantity; use a value such as 4, '
        "500m or 64Mi",
        'spec.provider.simulated.capacity.cpu: Invalid value: "many": '
        "spec.provider.simulated.capacity.cpu in body should match",
    ),
    Refused(
        "capacity below zero",
        pool(provider={"simulated": {"capacity": {"cpu": "-1"}}}),
        'spec.provider.simulated.capacity.cpu: "-1" is not a quantity; use a value such as 4, '
        "500m or 64Mi",
        'spec.provider.simulated.capacity.cpu: Invalid value: "-1": '
        "spec.provider.simulated.capacity.cpu in body should match",
    ),
    *(
        Refused(
            f"capacity that is an empty {told}",
            pool(provider={"simulated": {"capacity": {"cpu": capacity}}}),
            "spec.provider.simulated.capacity.cpu: not a quantity; use a number, or a string such "
            "as 500m or 64Mi",
            '<nil>: Invalid value: "": "spec.provider.simulated.capacity.cpu" must not validate '
            "the schema (not)",
        )
        for told, capacity in _EMPTY.items()
    ),
    *(_key_refused("labels", "labels", key, told, lambda key: {key: "x"})
      for key, told in _KEYS.items()),
    *(_key_refused("annotations", "annotations", key, told, lambda key: {key: "x"})
      for key, told in _KEYS.items()),
    *(_key_refused("taints", "taints[0].key", key, told,
                   lambda key: [{"key": key, "effect": "NoSchedule"}])
      for key, told in _KEYS.items()),
    Refused(
        "label with an invalid value",
        pool(template={"labels": {"team": "a b"}}),
        f"spec.template.labels.team: value a b{node_template.BAD_VALUE}",
        f'spec.template.labels[team]: Invalid value: "a b": value a b{node_template.BAD_VALUE}',
    ),
    Refused(
        "taint with an invalid value",
        pool(template={"taints": [_GPU | {"value": "-"}]}),
        f"spec.template.taints[0].value: value -{node_template.BAD_VALUE}",
        value="-",
    ),
    Refused(
        "taint without an effect",
        pool(template={"taints": [{"key": "a"}]}),
        "spec.template.taints[0].effect: required value",
        "spec.template.taints[0].effect: Required value",
    ),
    Refused(
        "taint twice",
        pool(template={"taints": [_GPU | {"value": "a"}, _GPU | {"value": "b"}]}),
        "spec.template.taints: the taint example.com/gpu with the effect NoSchedule is listed "
        "twice; remove one",
        "spec.template.taints[1]: Duplicate value: "
        '{"effect":"NoSchedule","key":"example.com/gpu"}',
    ),
    *(
        Refused(f"label {role}", pool(template={"labels": {role: ""}}), _CONTROL_PLANE)
        for role in ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
    ),
    Refused(
        "taint of the control plane",
        pool(
            template={
                "taints": [
                    {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
                ]
            }
        ),
        _CONTROL_PLANE,
    ),
    Refused(
        "requirement without values",
        karpenter({"key": "a", "operator": "In"}),
        f"{_REQUIREMENT}: {provider.NEED_VALUES}",
    ),
    Refused(
        "requirement with values too many",
        karpenter({"key": "a", "operator": "Exists", "values": ["b"]}),
        f"{_REQUIREMENT}: {provider.NO_VALUES}",
    ),
    Refused(
        "requirement with a text for a number",
        karpenter({"key": "a", "operator": "Gt", "values": ["b"]}),
        f"{_REQUIREMENT}: {provider.ONE_NUMBER}",
    ),
    Refused(
        "requirement with two numbers for one",
        karpenter({"key": "a", "operator": "Lt", "values": ["1", "2"]}),
        f"{_REQUIREMENT}: {provider.ONE_NUMBER}",
    ),
    Refused(
        "requirement with fewer values than minValues",
        karpenter({"key": "a", "operator": "In", "values": ["b"], "minValues": 2}),
        f"{_REQUIREMENT}: {provider.MIN_VALUES}",
    ),
    Refused("neither surge nor unavailable", pool({"maxSurge": 0}), _BOTH_ZERO),
    Refused(
        "neither surge nor unavailable, in percent",
        pool({"maxSurge": "0%", "maxUnavailable": "0%"}),
        _BOTH_ZERO,
    ),
    Refused(
        "deadline before the node has settled",
        pool({"progressDeadlineSeconds": 60}),
        f"spec.rollout: {nodepool.DEADLINE}",
    ),
    Refused(
        "smoke pod by tag",
        smoke(image="registry.example/smoke:1"),
        "spec.rollout.verify.smokePod: smoke pod: image registry.example/smoke:1 "
        f"{NO_DIGEST}; {HOW_TO_PIN}",
        "spec.rollout.verify.smokePod.image: Invalid value: smoke pod: image "
        f"registry.example/smoke:1 {NO_DIGEST}; {HOW_TO_PIN}",
    ),
    Refused(
        "smoke pod with an empty image",
        smoke(image=""),
        f"spec.rollout.verify.smokePod: smoke pod: it has no image; {HOW_TO_PIN}",
        "spec.rollout.verify.smokePod.image: Invalid value: smoke pod: it has no image; "
        + HOW_TO_PIN,
    ),
    Refused(
        "smoke pod without an image",
        pool({"verify": {"smokePod": {}}}),
        "spec.rollout.verify.smokePod.image: required value",
        "spec.rollout.verify.smokePod.image: Required value",
    ),
    Refused(
        "maximum age above the hard one",
        pool(regeneration={"maxAge": "21d", "hardMaxAge": "14d"}),
        f"spec.regeneration: {regeneration.AGES}",
    ),
    Refused(
        "maximum age that is too low",
        pool(regeneration={"maxAge": "9s"}),
        f"spec.regeneration: {TOO_YOUNG}",
        f"spec.regeneration.maxAge: Invalid value: {TOO_YOUNG}",
    ),
    Refused(
        "a word that drift does not have",
        pool(drift={"bootID": "Reboot"}),
        "spec.drift.bootID: Input should be 'Replace', 'Report' or 'Ignore'",
        'spec.drift.bootID: Unsupported value: "Reboot": supported values: "Replace", "Report", '
        '"Ignore"',
    ),
    Refused(
        "one node too many",
        pool(replicas=5001),
        "spec.replicas: 5001: a pool can have at most 5000 nodes; use a lower number, or divide "
        "the pool into several pools",
        "spec.replicas: Invalid value: 5001: spec.replicas in body should be less than or equal to "
        "5000",
    ),
    Refused(
        "no history",
        pool(historyLimit=0),
        "spec.historyLimit: Input should be greater than or equal to 1",
        "spec.historyLimit: Invalid value: 0: spec.historyLimit in body should be greater than or "
        "equal to 1",
    ),
    Refused(
        "name too long",
        pool(),
        f"metadata.name: name {LONG_NAME} has 46 characters; the maximum is 45, because node names "
        "add 17 characters and are limited to 63; choose a shorter name",
        name=LONG_NAME,
    ),
]  # fmt: skip
