"""A pod template in which much is said, and other spellings of the same pods.

Each rewriting is one that the API server undoes: a pod of the rewritten template is stored as one
of the first is (tests/cluster/test_same_pods.py asks it).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["DEFAULTS", "EMPTY", "IMAGE", "QUANTITIES", "RICH", "containers", "places", "rewritten"]

IMAGE = "registry.example/web@sha256:" + "9f" * 32
Json = dict[str, Any]

# Nothing here is a default, so that every word of it counts.
RICH: Json = {
    "metadata": {"labels": {"app": "web", "empty": ""}, "annotations": {"example.com/a": "b"}},
    "spec": {
        "serviceAccountName": "web",
        "terminationGracePeriodSeconds": 45,
        "nodeSelector": {"disk": "ssd"},
        "securityContext": {"runAsUser": 0, "fsGroup": 2000, "runAsNonRoot": False},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 10,
                        "podAffinityTerm": {
                            "topologyKey": "zone",
                            "labelSelector": {},
                            "namespaceSelector": {"matchLabels": {"team": "shop"}},
                        },
                    }
                ]
            }
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 2,
                "topologyKey": "zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app": "web"}},
            }
        ],
        "initContainers": [
            {
                "name": "proxy",
                "image": IMAGE,
                "restartPolicy": "Always",
                "resources": {"limits": {"cpu": "250m"}, "requests": {"cpu": "100m"}},
            }
        ],
        "containers": [
            {
                "name": "web",
                "image": IMAGE,
                "args": ["--listen", "8080"],
                "ports": [
                    {"name": "http", "containerPort": 8080},
                    {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                ],
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "EMPTY"},
                    {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {
                        "name": "CPU",
                        "valueFrom": {
                            "resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}
                        },
                    },
                ],
                "resources": {
                    "requests": {"cpu": "500m", "memory": "1Gi"},
                    "limits": {"memory": "2Gi", "example.com/gpu": "1"},
                },
                "readinessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 5},
                "livenessProbe": {"grpc": {"port": 9090}, "initialDelaySeconds": 3},
                "lifecycle": {"preStop": {"httpGet": {"port": 8080, "path": "/drain"}}},
                "securityContext": {"capabilities": {"drop": ["ALL"]}, "privileged": False},
                "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
            },
            {"name": "side", "image": IMAGE},
        ],
        "volumes": [
            {"name": "scratch", "emptyDir": {"sizeLimit": "1.5Gi"}},
            {"name": "plain"},
            {"name": "settings", "configMap": {"name": "settings"}},
            {"name": "keys", "secret": {"secretName": "keys", "optional": False}},
            {
                "name": "token",
                "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
            },
            {
                "name": "claim",
                "ephemeral": {
                    "volumeClaimTemplate": {
                        "spec": {
                            "accessModes": ["ReadWriteOnce"],
                            "resources": {"requests": {"storage": "10Gi"}},
                        }
                    }
                },
            },
        ],
    },
}


def containers(template: Json) -> list[Json]:
    found: list[Json] = [
        *(template["spec"].get("initContainers") or ()),
        *template["spec"]["containers"],
    ]
    return found


def _of_containers(field: str) -> Callable[[Json], Iterator[Any]]:
    return lambda t: (c[field] for c in containers(t) if c.get(field))


def _of_volumes(field: str) -> Callable[[Json], Iterator[Any]]:
    return lambda t: (v[field] for v in t["spec"]["volumes"] if v.get(field))


def _spec(template: Json) -> Iterator[Any]:
    yield template["spec"]


def _probes(template: Json) -> Iterator[Any]:
    for field in ("readinessProbe", "livenessProbe", "startupProbe"):
        yield from _of_containers(field)(template)


def _http(template: Json) -> Iterator[Any]:
    hooks = [h for c in _of_containers("lifecycle")(template) for h in c.values()]
    yield from (p["httpGet"] for p in (*_probes(template), *hooks) if p and "httpGet" in p)


Places = Callable[[Json], Iterator[Any]]
# Where, which field, and what the API server fills in there.
DEFAULTS: list[tuple[str, Places, str, Any]] = [
    *(
        ("pod", _spec, field, value)
        for field, value in {
            "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst",
            "schedulerName": "default-scheduler",
            "enableServiceLinks": True,
            "serviceAccount": "web",
            "hostNetwork": False,
            "hostPID": False,
            "hostname": "",
        }.items()
    ),
    *(
        ("container", lambda t: iter(containers(t)), field, value)
        for field, value in {
            "imagePullPolicy": "IfNotPresent",
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "stdin": False,
            "tty": False,
            "workingDir": "",
        }.items()
    ),
    (
        "port",
        lambda t: (p for ports in _of_containers("ports")(t) for p in ports),
        "protocol",
        "TCP",
    ),
    (
        "env",
        lambda t: (e for env in _of_containers("env")(t) for e in env if len(e) < 2),
        "value",
        "",
    ),
    *(
        ("probe", _probes, field, value)
        for field, value in {
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
            "initialDelaySeconds": 0,
        }.items()
    ),
    ("httpGet", _http, "path", "/"),
    ("httpGet", _http, "scheme", "HTTP"),
    ("grpc", lambda t: (p["grpc"] for p in _probes(t) if "grpc" in p), "service", ""),
    *(
        (field, _of_volumes(field), "defaultMode", 420)
        for field in ("configMap", "secret", "projected")
    ),
    (
        "serviceAccountToken",
        lambda t: (
            s["serviceAccountToken"] for p in _of_volumes("projected")(t) for s in p["sources"]
        ),
        "expirationSeconds",
        3600,
    ),
    (
        "claim",
        lambda t: (v["volumeClaimTemplate"]["spec"] for v in _of_volumes("ephemeral")(t)),
        "volumeMode",
        "Filesystem",
    ),
    (
        "fieldRef",
        lambda t: (
            e["valueFrom"]["fieldRef"]
            for env in _of_containers("env")(t)
            for e in env
            if "fieldRef" in (e.get("valueFrom") or {})
        ),
        "apiVersion",
        "v1",
    ),
    ("volume", lambda t: (v for v in t["spec"]["volumes"] if len(v) < 2), "emptyDir", {}),
    (
        "limits are requests",
        lambda t: (
            r["requests"]
            for r in _of_containers("resources")(t)
            if "example.com/gpu" in r["limits"]
        ),
        "example.com/gpu",
        "1",
    ),
]
POD_EMPTY: Json = {
    **{key: [] for key in ("imagePullSecrets", "hostAliases", "readinessGates")},
    **{key: {} for key in ("overhead", "dnsConfig", "resources")},
}
CONTAINER_EMPTY: Json = {
    **{key: [] for key in ("env", "envFrom", "command", "args", "volumeMounts", "ports")},
    **{key: {} for key in ("resources", "securityContext", "lifecycle")},
}
# Where, and which field is as good as absent while it is empty (or null).
EMPTY: list[tuple[str, Places, str, Any]] = [
    *(("pod", _spec, field, empty) for field, empty in POD_EMPTY.items()),
    ("affinity", lambda t: iter([t["spec"]["affinity"]]), "podAffinity", {}),
    (
        "selector",
        lambda t: (c["labelSelector"] for c in t["spec"]["topologySpreadConstraints"]),
        "matchExpressions",
        [],
    ),
    *(
        ("container", lambda t: iter(containers(t)), field, empty)
        for field, empty in CONTAINER_EMPTY.items()
    ),
    (
        "capabilities",
        lambda t: (s["capabilities"] for s in _of_containers("securityContext")(t)),
        "add",
        [],
    ),
    ("configMap", _of_volumes("configMap"), "items", []),
    ("metadata", lambda t: iter([t["metadata"]]), "creationTimestamp", None),
]
# Spellings of one quantity.
QUANTITIES: list[list[str | int | float]] = [
    ["500m", "0.5", ".5", 0.5, "5e-1", "500000u"],
    ["1Gi", "1024Mi", 1073741824, "1073741824", "1048576Ki", "1.0Gi"],
    ["2Gi", "2048Mi", 2147483648],
    ["250m", "0.25", 0.25],
    ["100m", ".1", 0.1, "1e-1"],
    ["1", 1, "1000m", "1e0", "+1", "1."],
    ["1m", "0.001", "1e-3"],
    ["1.5Gi", "1536Mi", 1610612736],
    ["10Gi", "10240Mi", 10737418240],
]


def places(template: Json) -> Iterator[tuple[Json, str]]:
    """Every quantity: the map that has it, and its key there."""
    for found in _of_containers("resources")(template):
        for kind in ("limits", "requests"):
            yield from ((found[kind], name) for name in found.get(kind) or ())
    for env in (e for found in _of_containers("env")(template) for e in found):
        reference = (env.get("valueFrom") or {}).get("resourceFieldRef")
        if reference:
            yield reference, "divisor"
    for directory in _of_volumes("emptyDir")(template):
        if "sizeLimit" in directory:
            yield directory, "sizeLimit"
    for volume in _of_volumes("ephemeral")(template):
        requests = volume["volumeClaimTemplate"]["spec"]["resources"]["requests"]
        yield from ((requests, name) for name in requests)


def rewritten(template: Json, choose: Callable[[int], int]) -> Json:
    """Another spelling of the same pods. ``choose(n)`` draws one of the numbers below ``n``."""
    spelt = copy.deepcopy(template)
    for _, where, field, value in (*DEFAULTS, *EMPTY):
        for place in list(where(spelt)):
            if field not in place and choose(2):
                place[field] = copy.deepcopy(value) if choose(4) else None
    for place, key in list(places(spelt)):
        known = [q for q in QUANTITIES if place[key] in q]
        if known:
            place[key] = known[0][choose(len(known[0]))]
    if choose(2):
        spelt["metadata"] |= {"name": "web-1", "namespace": "shop", "generateName": "web-"}
    return _reordered(spelt, choose)  # type: ignore[no-any-return]


def _reordered(value: Any, choose: Callable[[int], int]) -> Any:
    if isinstance(value, list):
        return [_reordered(item, choose) for item in value]
    if isinstance(value, dict):
        keys = list(value)
        if choose(2):
            keys.reverse()
        return {key: _reordered(value[key], choose) for key in keys}
    return value
