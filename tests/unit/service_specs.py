"""Specs of ImmutableServices that are accepted, and those that are refused with their messages.

``REFUSED`` is tried on the operator's own check (test_api_service.py) and on the API server
(tests/cluster/test_crds.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from immutable_operator.api import (
    blue_green,
    canary,
    image,
    owner,
    scaling,
    service,
    stateless,
    traffic,
)
from immutable_operator.api import template as pod
from immutable_operator.api.image import HOW_TO_PIN, NO_DIGEST

__all__ = [
    *(
        "KEPT_STATE",
        "LONG_NAME",
        "PIN",
        "REFUSED",
        "Refused",
        "exposed",
        "spec",
        "stepped",
        "template",
    ),
    "volume",
]

PIN = "registry.example/web@sha256:" + "9f2c41d07a1b" * 5 + "9f2c"
LONG_NAME = "a-service-with-a-name-that-is-one-too-long-for"


@dataclass(frozen=True)
class Refused:
    """A spec that is refused: by the operator with `says`, by the API server with `server`.

    `server` is given where the API server's own schema check speaks first; a rule of ours may
    speak after it. `value` is the refused text, if a rule of ours is about a text: the API server
    prints it before the message.
    """

    why: str
    spec: dict[str, Any]
    says: str
    server: str = ""
    name: str = "web"
    value: str = ""


def spec(rollout: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Give a spec that is accepted but for what is asked for."""
    out: dict[str, Any] = {"template": {"spec": {"containers": [{"name": "web", "image": PIN}]}}}
    if rollout is not None:
        out["rollout"] = rollout
    return out | fields


def template(**pod: Any) -> dict[str, Any]:
    """Give a spec whose pod has the fields asked for."""
    out = spec()
    out["template"]["spec"] |= pod
    return out


def volume(kind: str, name: str = "data", **fields: Any) -> dict[str, Any]:
    """Give a spec with a volume of this kind beside an emptyDir."""
    source: dict[str, Any] = {
        "hostPath": {"path": "/var/log"},
        "persistentVolumeClaim": {"claimName": "data"},
    }[kind]
    given = template(volumes=[{"name": "tmp", "emptyDir": {}}, {"name": name, kind: source}])
    return given | fields


def exposed(*ports: dict[str, Any], **traffic: Any) -> dict[str, Any]:
    """Give a spec with a Service of these ports."""
    return spec(traffic={"ports": [*ports], **traffic})


def stepped(*steps: dict[str, Any], checks: tuple[str, ...] = ()) -> dict[str, Any]:
    """Give a spec with these steps of a canary, and checks of these names."""
    asked = [
        {"name": name, "http": {"url": "http://web.example/", "expect": {"status": 200}}}
        for name in checks
    ]
    return spec({"strategy": "Canary", "canary": {"steps": [*steps]}, "checks": asked})


def _privileged(field: str, name: str) -> dict[str, Any]:
    root = {"name": name, "image": PIN, "securityContext": {"privileged": True}}
    web = {"name": "web", "image": PIN, "securityContext": {"privileged": False}}
    return template(**({"containers": [web]} | {field: [web | {"name": "first"}, root]}))


_SIDECAR = {"name": "proxy", "image": PIN, "restartPolicy": "Always"}

KEPT_STATE = [
    Refused(
        "a folder of the node",
        volume("hostPath"),
        f"spec.template.spec.volumes: volume data{stateless.HOST_PATH}",
    ),
    Refused(
        "the processes of the node",
        template(hostPID=True),
        f"spec.template.spec.hostPID: {stateless.HOST_FIELDS['hostPID']}",
    ),
    Refused(
        "the memory segments of the node",
        template(hostIPC=True),
        f"spec.template.spec.hostIPC: {stateless.HOST_FIELDS['hostIPC']}",
    ),
    Refused(
        "a privileged container",
        _privileged("containers", "root"),
        f"spec.template.spec.containers: container root{stateless.PRIVILEGED}",
    ),
    Refused(
        "a privileged init container",
        _privileged("initContainers", "setup"),
        f"spec.template.spec.initContainers: init container setup{stateless.PRIVILEGED}",
    ),
    Refused(
        "a privileged sidecar container",
        template(initContainers=[_SIDECAR | {"securityContext": {"privileged": True}}]),
        f"spec.template.spec.initContainers: init container proxy{stateless.PRIVILEGED}",
    ),
    Refused(
        "a claim with several replicas",
        volume("persistentVolumeClaim", replicas=2),
        f"spec.template.spec.volumes: volume data{stateless.CLAIM}",
    ),
]
"""Specs that are refused because their pods would keep state, unless the spec permits it."""

REFUSED = [
    Refused(
        "tag instead of digest",
        template(containers=[{"name": "web", "image": "registry.example/web:1.25"}]),
        "spec.template.spec.containers[0].image: container web: image registry.example/web:1.25 "
        f"{NO_DIGEST}; {HOW_TO_PIN}",
    ),
    Refused(
        "second container by tag",
        template(containers=[{"name": "web", "image": PIN}, {"name": "proxy", "image": "p:1"}]),
        "spec.template.spec.containers[1].image: container proxy: image p:1 "
        f"{NO_DIGEST}; {HOW_TO_PIN}",
    ),
    Refused(
        "no image",
        template(containers=[{"name": "web"}]),
        f"spec.template.spec.containers[0].image: container web: it has no image; {HOW_TO_PIN}",
    ),
    Refused(
        "digest of wrong length",
        template(containers=[{"name": "web", "image": "registry.example/web@sha256:9f2c"}]),
        "spec.template.spec.containers[0].image: container web: image registry.example/web@sha256"
        ":9f2c has a sha256 digest of 4 instead of 64 hex digits; copy the complete digest",
    ),
    Refused(
        "digest in upper case",
        template(containers=[{"name": "web", "image": PIN.replace("f2c", "F2C")}]),
        "spec.template.spec.containers[0].image: container web: image "
        f"{PIN.replace('f2c', 'F2C')}{image.UPPER_CASE}",
    ),
    Refused(
        "init container by tag",
        template(initContainers=[{"name": "migrate", "image": "migrate:1"}]),
        "spec.template.spec.initContainers[0].image: init container migrate: image migrate:1 "
        f"{NO_DIGEST}; {HOW_TO_PIN}",
    ),
    Refused(
        "image volume by tag",
        template(volumes=[{"name": "model", "image": {"reference": "model:1"}}]),
        "spec.template.spec.volumes[0].image.reference: volume model: image model:1 "
        f"{NO_DIGEST}; {HOW_TO_PIN}",
    ),
    Refused(
        "image volume without a reference",
        template(volumes=[{"name": "model", "image": {}}]),
        "spec.template.spec.volumes[0].image.reference: volume model: it has no image; "
        + HOW_TO_PIN,
    ),
    Refused("no template", {}, "spec.template: required value", "spec.template: Required value"),
    Refused(
        "template without a pod",
        {"template": {}},
        f"spec.template.spec.containers: {pod.NO_CONTAINERS}",
        "spec.template.spec: Required value",
    ),
    Refused(
        "no container",
        template(containers=[]),
        f"spec.template.spec.containers: {pod.NO_CONTAINERS}",
        "spec.template.spec.containers: Invalid value: 0: spec.template.spec.containers in body "
        "should have at least 1 items",
    ),
    Refused(
        "reserved label",
        {"template": spec()["template"] | {"metadata": {"labels": {"immutable.dev/service": "x"}}}},
        f"spec.template.metadata.labels: key immutable.dev/service{pod.RESERVED}",
    ),
    Refused(
        "reserved annotation",
        {"template": spec()["template"] | {"metadata": {"annotations": {"immutable.dev/a": "x"}}}},
        f"spec.template.metadata.annotations: key immutable.dev/a{pod.RESERVED}",
    ),
    Refused(
        "restartPolicy",
        template(restartPolicy="OnFailure"),
        f"spec.template.spec.restartPolicy: {pod.RESTART_POLICY}",
    ),
    Refused(
        "name too long",
        spec(),
        f"metadata.name: name {LONG_NAME} has 46 characters; the maximum is 45, because pod names "
        "add 17 characters and are limited to 63; choose a shorter name",
        name=LONG_NAME,
    ),
    Refused(
        "negative replicas",
        spec(replicas=-1),
        "spec.replicas: Input should be greater than or equal to 0",
        "spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal "
        "to 0",
    ),
    Refused(
        "more replicas than a cluster has room for",
        spec(replicas=2**31 - 1),
        "spec.replicas: 2147483647: a service can have at most 50000 instances; "
        "use a lower number, or divide the service into several services",
        "spec.replicas: Invalid value: 2147483647: spec.replicas in body should be less than or "
        "equal to 50000",
    ),
    Refused(
        "one instance too many",
        spec(replicas=50001),
        "spec.replicas: 50001: a service can have at most 50000 instances; "
        "use a lower number, or divide the service into several services",
        "spec.replicas: Invalid value: 50001: spec.replicas in body should be less than or "
        "equal to 50000",
    ),
    Refused(
        "a pod replacement that does not exist",
        spec({"podReplacement": "Failed"}),
        "spec.rollout.podReplacement: Input should be 'TerminationStarted' or "
        "'TerminationComplete'",
        'spec.rollout.podReplacement: Unsupported value: "Failed": supported values: '
        '"TerminationStarted", "TerminationComplete"',
    ),
    Refused(
        "replicas as text",
        spec(replicas="3"),
        "spec.replicas: Input should be a valid integer",
        'spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: '
        '"string"',
    ),
    Refused(
        "neither surge nor unavailable",
        spec({"maxSurge": 0}),
        f"spec.rollout: {owner.BOTH_ZERO}",
    ),
    Refused(
        "neither surge nor unavailable, in percent",
        spec({"maxSurge": "0%", "maxUnavailable": "0%"}),
        f"spec.rollout: {owner.BOTH_ZERO}",
    ),
    Refused(
        "maxSurge in words",
        spec({"maxSurge": "a few"}),
        f'spec.rollout.maxSurge: "a few": {scaling.NEITHER}',
    ),
    Refused(
        "negative maxUnavailable",
        spec({"maxUnavailable": -1}),
        "spec.rollout.maxUnavailable: -1 is not allowed; use 0 or more",
        "spec.rollout.maxUnavailable: Invalid value: -1: spec.rollout.maxUnavailable in body "
        "should be greater than or equal to 0",
    ),
    Refused(
        "deadline before readiness",
        spec({"minReadySeconds": 600}),
        f"spec.rollout: {service.DEADLINE}",
    ),
    Refused(
        "a strategy that does not exist",
        spec({"strategy": "Recreate"}),
        "spec.rollout.strategy: Input should be 'Rolling', 'BlueGreen' or 'Canary'",
        'spec.rollout.strategy: Unsupported value: "Recreate": supported values: "Rolling", '
        '"BlueGreen", "Canary"',
    ),
    Refused(
        "Canary without steps",
        spec({"strategy": "Canary"}),
        f"spec.rollout: {canary.NEEDS_CANARY}",
    ),
    Refused(
        "steps with another strategy",
        spec({"canary": {"steps": [{"setWeight": 20}]}}),
        f"spec.rollout: {canary.OF_CANARY}",
    ),
    Refused(
        "a step without a kind",
        stepped({"setWeight": 20}, {}),
        f"spec.rollout.canary.steps[1]: {canary.ONE_KIND}",
    ),
    Refused(
        "a step of two kinds",
        stepped({"setWeight": 20, "setReplicas": 1}),
        f"spec.rollout.canary.steps[0]: {canary.ONE_KIND}",
    ),
    Refused(
        "a first step that shows nothing",
        stepped({"pause": {"for": "5m"}}, {"setWeight": 20}),
        f"spec.rollout.canary: {canary.FIRST_STEP}",
    ),
    Refused(
        "a canary of 0",
        stepped({"setReplicas": "0%"}),
        f"spec.rollout.canary.steps[0].setReplicas: {canary.NO_REPLICAS}",
    ),
    Refused(
        "weights that fall",
        stepped({"setWeight": 50}, {"pause": {"for": "5m"}}, {"setWeight": 20}),
        "spec.rollout.canary: a setWeight is lower than one before it; a new revision can only get "
        "more traffic from step to step, so put the weights in rising order",
    ),
    Refused(
        "a route without a canary",
        spec(traffic={"ports": [{"port": 80}], "route": {"name": "web"}}),
        "spec.traffic: route has an effect only with strategy Canary; remove it, or set "
        "rollout.strategy: Canary",
    ),
    Refused(
        "a pause without an end",
        stepped({"setWeight": 20}, {"pause": {}}),
        f"spec.rollout.canary.steps[1].pause: {canary.ONE_END}",
    ),
    Refused(
        "a pause with two ends",
        stepped({"setWeight": 20}, {"pause": {"for": "5m", "until": "Promoted"}}),
        f"spec.rollout.canary.steps[1].pause: {canary.ONE_END}",
    ),
    Refused(
        "a step with a check that is not there",
        stepped({"setWeight": 20}, {"check": "errors"}),
        f"spec.rollout: {canary.NO_SUCH_CHECK}",
        f"spec.rollout.canary: Invalid value: {canary.NO_SUCH_CHECK}",
    ),
    Refused(
        "two steps with one check",
        stepped({"setWeight": 20}, {"check": "up"}, {"check": "up"}, checks=("up",)),
        f"spec.rollout.canary: {canary.TWICE}",
    ),
    Refused(
        "BlueGreen without a Service",
        spec({"strategy": "BlueGreen"}),
        f"spec.rollout: {blue_green.NEEDS_TRAFFIC}",
    ),
    Refused(
        "both strategies at once",
        exposed({"port": 80}) | {"rollout": {"blueGreen": {"promotion": "Auto"}}},
        f"spec.rollout: {blue_green.OF_BLUE_GREEN}",
    ),
    Refused(
        "a time for a promotion by hand",
        exposed({"port": 80})
        | {"rollout": {"strategy": "BlueGreen", "blueGreen": {"promoteAfter": "5m"}}},
        f"spec.rollout.blueGreen: {blue_green.PROMOTE_AFTER}",
    ),
    Refused(
        "no preview at all",
        exposed({"port": 80})
        | {"rollout": {"strategy": "BlueGreen", "blueGreen": {"previewReplicas": 0}}},
        "spec.rollout.blueGreen.previewReplicas: Input should be greater than or equal to 1",
        "spec.rollout.blueGreen.previewReplicas: Invalid value: 0: "
        "spec.rollout.blueGreen.previewReplicas in body should be greater than or equal to 1",
    ),
    Refused(
        "no port",
        exposed(),
        "spec.traffic.ports: List should have at least 1 item after validation, not 0",
        "spec.traffic.ports: Invalid value: 0: spec.traffic.ports in body should have at least 1 "
        "items",
    ),
    Refused(
        "two ports without names",
        exposed({"port": 80}, {"port": 81}),
        f"spec.traffic: {traffic.NAMELESS}",
    ),
    Refused(
        "two ports with one name",
        exposed({"name": "http", "port": 80}, {"name": "http", "port": 81}),
        f"spec.traffic: {traffic.SAME_NAME}",
    ),
    Refused(
        "one port twice",
        exposed({"name": "a", "port": 80}, {"name": "b", "port": 80, "protocol": "TCP"}),
        f"spec.traffic: {traffic.SAME_PORT}",
    ),
    Refused(
        "one port of the nodes twice",
        exposed(
            {"name": "a", "port": 80, "nodePort": 30080},
            {"name": "b", "port": 81, "nodePort": 30080},
            type="NodePort",
        ),
        f"spec.traffic: {traffic.SAME_NODE_PORT}",
    ),
    Refused(
        "a port of the nodes with ClusterIP",
        exposed({"port": 80, "nodePort": 30080}),
        f"spec.traffic: {traffic.NODE_PORT}",
    ),
    Refused(
        "a port beyond the last",
        exposed({"port": 65536}),
        "spec.traffic.ports[0].port: Input should be less than or equal to 65535",
        "spec.traffic.ports[0].port: Invalid value: 65536: spec.traffic.ports[0].port in body "
        "should be less than or equal to 65535",
    ),
    Refused(
        "a target that is no name of a port",
        exposed({"port": 80, "targetPort": "Web"}),
        f'spec.traffic.ports[0].targetPort: "Web": {traffic.TARGET}',
    ),
    Refused(
        "a reserved annotation of the Service",
        exposed({"port": 80}, annotations={"immutable.dev/x": "y"}),
        f"spec.traffic.annotations: {traffic.RESERVED}",
    ),
    Refused(
        "a type of Service that selects nothing",
        exposed({"port": 80}, type="ExternalName"),
        "spec.traffic.type: Input should be 'ClusterIP', 'NodePort' or 'LoadBalancer'",
        'spec.traffic.type: Unsupported value: "ExternalName": supported values: "ClusterIP", '
        '"NodePort", "LoadBalancer"',
    ),
    Refused(
        "a name that no Service can have",
        exposed({"port": 80}),
        f"metadata.name: name 1.web{traffic.NAME}",
        name="1.web",
    ),
    Refused(
        "no history",
        spec(historyLimit=0),
        "spec.historyLimit: Input should be greater than or equal to 1",
        "spec.historyLimit: Invalid value: 0: spec.historyLimit in body should be greater than or "
        "equal to 1",
    ),
]
