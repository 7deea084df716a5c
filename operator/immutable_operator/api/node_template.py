"""The template of the nodes of a pool: labels, annotations, taints and kubelet settings.

The checks are in Python and in CEL; the tests check both with the same table of cases.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from immutable_operator.api.cel import Rule, quote, validations
from immutable_operator.api.kind import ApiModel
from immutable_operator.api.names import RESERVED_PREFIX
from immutable_operator.api.quantity import Resources
from immutable_operator.api.scaling import Int32
from immutable_operator.api.template import RESERVED

__all__ = [
    "BAD_KEY",
    "BAD_VALUE",
    "CONTROL_PLANE",
    "DIFFERS",
    "LabelKey",
    "LabelValue",
    "NodeTemplate",
    "Taint",
]

CONTROL_PLANE: Final = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
"""Keys of labels and taints that only nodes of the control plane have."""

_HOSTNAME: Final = "kubernetes.io/hostname"
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_KEY: Final = rf"({_LABEL}(\.{_LABEL})*/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE: Final = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_MAX_KEY: Final = 317
_MAX_VALUE: Final = 63
_MAX_ENTRIES: Final = 64

DIFFERS = " has a different value on each node, and the template applies to all of them; remove it"
BAD_KEY = " is not valid; write a key such as team or example.com/team"
BAD_VALUE = " is not valid; use letters, digits, -, _ and ., with a letter or digit at both ends"


def _key_rules(bad: str, keys: str, first: str) -> list[Rule]:
    """Return the rules for keys in CEL.

    ``bad`` is a pattern of the rule and ``first`` one of the first key that violates it; both have
    a place for the condition of a violation, in which ``keys`` is the name of the key.
    """
    conditions = (
        (f"{keys}.startsWith({quote(RESERVED_PREFIX)})", RESERVED),
        (f"{keys} == {quote(_HOSTNAME)}", DIFFERS),
        (f"!{keys}.matches(r'^{_KEY}$')", BAD_KEY),
    )
    return [
        Rule(
            bad.format(condition),
            f"'key ' + {first.format(condition)} + {quote(text)}",
            computed=True,
        )
        for condition, text in conditions
    ]


_MAP_KEYS: Final = _key_rules("!self.exists(k, {})", "k", "self.filter(k, {})[0]")
_ONE_KEY: Final = _key_rules("!({})", "self", "self")


def _check_key(key: str) -> str:
    if key.startswith(RESERVED_PREFIX):
        raise ValueError(f"key {key}{RESERVED}")
    if key == _HOSTNAME:
        raise ValueError(f"key {key}{DIFFERS}")
    if not re.fullmatch(_KEY, key):
        raise ValueError(f"key {key}{BAD_KEY}")
    return key


def _check_keys(given: Mapping[str, str]) -> Mapping[str, str]:
    for key in sorted(given):
        _check_key(key)
    return given


def _check_value(value: str) -> str:
    if not re.fullmatch(_VALUE, value):
        raise ValueError(f"value {value}{BAD_VALUE}")
    return value


LabelKey = Annotated[
    str,
    Field(min_length=1, max_length=_MAX_KEY, json_schema_extra=validations(*_ONE_KEY)),
    AfterValidator(_check_key),
]
"""Key of a label or taint."""

_value_rule = Rule(
    f"self.matches('^{_VALUE}$')", f"'value ' + self + {quote(BAD_VALUE)}", computed=True
)
LabelValue = Annotated[
    str,
    Field(max_length=_MAX_VALUE, json_schema_extra=validations(_value_rule)),
    AfterValidator(_check_value),
]
"""Value of a label or taint."""


class Taint(ApiModel):
    """A taint with which each node starts."""

    key: LabelKey
    """Key of the taint, such as example.com/gpu."""
    value: LabelValue | None = None
    """Value of the taint; unset means empty."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
    """What the taint does to pods that do not tolerate it: NoSchedule, PreferNoSchedule or
    NoExecute."""


def _check_taints(taints: list[Taint]) -> list[Taint]:
    seen: set[tuple[str, str]] = set()
    for taint in taints:
        if (taint.key, taint.effect) in seen:
            raise ValueError(
                f"the taint {taint.key} with the effect {taint.effect} is listed twice; remove one"
            )
        seen.add((taint.key, taint.effect))
    return taints


_Labels = Annotated[
    dict[str, LabelValue],
    Field(max_length=_MAX_ENTRIES, json_schema_extra=validations(*_MAP_KEYS)),
    AfterValidator(_check_keys),
]
_Annotations = Annotated[
    dict[str, str],
    Field(max_length=_MAX_ENTRIES, json_schema_extra=validations(*_MAP_KEYS)),
    AfterValidator(_check_keys),
]
_Signals = Annotated[dict[str, Annotated[str, Field(max_length=32)]], Field(max_length=16)]
_Percent = Annotated[int, Field(strict=True, ge=0, le=100, json_schema_extra={"format": "int32"})]
_Addresses = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=8)]


class Kubelet(ApiModel):
    """Settings of the kubelet, with the names that they have in a KubeletConfiguration."""

    max_pods: Int32 | None = None
    """Maximum number of pods on a node."""
    pods_per_core: Int32 | None = None
    """Maximum number of pods for each core, at most maxPods in total."""
    system_reserved: Resources | None = None
    """Resources reserved for the operating system, such as {cpu: 100m, memory: 100Mi}."""
    kube_reserved: Resources | None = None
    """Resources reserved for the kubelet and the container runtime, such as {memory: 500Mi}."""
    eviction_hard: _Signals | None = None
    """Thresholds below which pods are evicted at once, such as {memory.available: 5%}."""
    eviction_soft: _Signals | None = None
    """Thresholds below which pods are evicted after evictionSoftGracePeriod."""
    eviction_soft_grace_period: _Signals | None = None
    """For each threshold of evictionSoft how long it must be exceeded, such as
    {memory.available: 1m30s}."""
    eviction_max_pod_grace_period: Int32 | None = None
    """Maximum number of seconds that a pod gets to terminate when a soft threshold is exceeded."""
    image_gc_high_threshold_percent: _Percent | None = Field(
        default=None, alias="imageGCHighThresholdPercent"
    )
    """Percentage of disk usage above which unused container images are deleted, 0 to 100."""
    image_gc_low_threshold_percent: _Percent | None = Field(
        default=None, alias="imageGCLowThresholdPercent"
    )
    """Percentage of disk usage down to which unused container images are deleted, 0 to 100."""
    cpu_cfs_quota: Annotated[bool, Field(strict=True)] | None = Field(
        default=None, alias="cpuCFSQuota"
    )
    """Whether CPU limits of containers are enforced."""
    cluster_dns: _Addresses | None = Field(default=None, alias="clusterDNS")
    """IP addresses of the DNS servers of the cluster."""


class NodeTemplate(ApiModel):
    """Labels, annotations, taints and kubelet settings of the nodes."""

    labels: _Labels | None = None
    """Labels of each node. kubernetes.io/hostname and keys with the prefix immutable.dev/ are
    refused."""
    annotations: _Annotations | None = None
    """Annotations of each node. Keys with the prefix immutable.dev/ are refused."""
    taints: (
        Annotated[
            list[Taint],
            Field(
                max_length=_MAX_ENTRIES,
                json_schema_extra={
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["key", "effect"],
                },
            ),
            AfterValidator(_check_taints),
        ]
        | None
    ) = None
    """Taints with which each node starts; each pair of key and effect at most once."""
    kubelet: Kubelet | None = None
    """Settings of the kubelet of each node, as far as the provider can apply them."""
