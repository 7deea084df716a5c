"""How clients reach the instances of a service: the operator's Services, and weights."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from immutable_operator.api.cel import Rule, quote
from immutable_operator.api.kind import ApiModel
from immutable_operator.api.names import RESERVED_PREFIX

__all__ = [
    "NAME",
    "NAMELESS",
    "NAME_RULE",
    "NODE_PORT",
    "RESERVED",
    "ROUTE_NEEDS_CANARY",
    "SAME_NAME",
    "SAME_NODE_PORT",
    "SAME_PORT",
    "TARGET",
    "Traffic",
    "TrafficPort",
    "name_problems",
]

_MOST_PORTS: Final = 64
_MOST_PORT: Final = 65535
_SERVICE_NAME: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
_LABEL: Final = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_PORT_NAME: Final = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"

NAME = (
    " is not the name of a Service, because it has a dot or begins with a digit; spec.traffic needs"
    " a name of lower-case letters, digits and - that begins with a letter"
)
TARGET = (
    "neither a port number from 1 to 65535 nor the name of a container port; use a value such as"
    " 8080 or http"
)
NAMELESS = "with more than one port, each port needs a name"
SAME_NAME = "two ports have the same name; give each port its own name"
SAME_PORT = "two ports have the same number and protocol; use each number once"
SAME_NODE_PORT = "two ports have the same nodePort; use each number once"
NODE_PORT = (
    "nodePort has no effect with type ClusterIP; remove it, or use type NodePort or LoadBalancer"
)
RESERVED = f"keys with the prefix {RESERVED_PREFIX} are reserved for the operator; remove them"
ROUTE_NEEDS_CANARY: Final = (
    "route has an effect only with strategy Canary; remove it, or set rollout.strategy: Canary"
)

NAME_RULE: Final = Rule(
    f"!has(self.spec.traffic) || self.metadata.name.matches('^{_SERVICE_NAME}$')",
    f"{quote('name %s' + NAME)}.format([self.metadata.name])",
    computed=True,
    field=".metadata.name",
)

_TARGET_RULE: Final = Rule(
    f"type(self) == int || self.matches('^{_PORT_NAME}$')",
    TARGET,
)


def _check_target(value: object) -> object:
    """Refuse what the CRD refuses, with its message."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(TARGET)
    if isinstance(value, str) and (len(value) > 15 or not re.fullmatch(_PORT_NAME, value)):
        raise ValueError(f'"{value}": {TARGET}')
    if isinstance(value, int) and not 1 <= value <= _MOST_PORT:
        raise ValueError(f"{value}: {TARGET}")
    return value


PortNumber = Annotated[
    int, Field(strict=True, ge=1, le=_MOST_PORT, json_schema_extra={"format": "int32"})
]
Target = Annotated[
    int | str,
    BeforeValidator(_check_target),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "minimum": 1,
            "maximum": _MOST_PORT,
            "maxLength": 15,
            "x-kubernetes-validations": [_TARGET_RULE.schema()],
        }
    ),
]
PortName = Annotated[str, Field(min_length=1, max_length=63, pattern=f"^{_PORT_NAME}$")]
Protocol = Literal["TCP", "UDP", "SCTP"]
AppProtocol = Annotated[str, Field(min_length=1, max_length=253)]
Text = Annotated[str, Field(max_length=4096)]


class TrafficPort(ApiModel):
    """A port of the Service."""

    name: PortName | None = None
    """Name of the port. Required if there is more than one port."""

    port: PortNumber
    """Number of the port on which the Service is reached, 1 to 65535."""

    target_port: Target | None = None
    """Port of the pods: a number, or the name of a container port. Default: the value of port."""

    protocol: Protocol | None = None
    """Protocol: TCP, UDP or SCTP. Default TCP."""

    app_protocol: AppProtocol | None = None
    """Application protocol as a hint for implementations, such as kubernetes.io/h2c. Default:
    none."""

    node_port: PortNumber | None = None
    """Number of the port on each node, with type NodePort or LoadBalancer. Default: chosen by the
    API server, and kept."""


def _unique(field: str, *, with_protocol: bool = True) -> str:
    """Return in CEL that no two ports have the same value of a field, and the same protocol."""
    # Of an optional value the API server does not know how long it can be.
    protocol = "(has({0}.protocol) ? {0}.protocol : 'TCP')"
    both = f" && {protocol.format('q')} == {protocol.format('p')}" if with_protocol else ""
    same = f"has(q.{field}) && q.{field} == p.{field}{both}"
    return f"self.ports.all(p, !has(p.{field}) || self.ports.exists_one(q, {same}))"


class RouteRef(ApiModel):
    """An HTTPRoute of the Gateway API."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=_SUBDOMAIN)]
    """Name of the HTTPRoute."""

    namespace: Annotated[str, Field(min_length=1, max_length=63, pattern=_LABEL)] | None = None
    """Namespace of the HTTPRoute. In another namespace than that of this object, a ReferenceGrant
    there must permit the reference. Default: the namespace of this object."""


class Traffic(ApiModel):
    """How clients reach the instances: the Service that the operator owns."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("size(self.ports) <= 1 || self.ports.all(p, has(p.name))", NAMELESS),
        Rule(_unique("name", with_protocol=False), SAME_NAME),
        Rule(_unique("port"), SAME_PORT),
        Rule(_unique("nodePort"), SAME_NODE_PORT),
        Rule(
            "self.type != 'ClusterIP' || !self.ports.exists(p, has(p.nodePort))",
            NODE_PORT,
        ),
        Rule(
            "!has(self.annotations) || "
            f"self.annotations.all(k, !k.startsWith({quote(RESERVED_PREFIX)}))",
            RESERVED,
            field=".annotations",
        ),
    )

    ports: Annotated[list[TrafficPort], Field(min_length=1, max_length=_MOST_PORTS)]
    """Ports of the Service, at least one."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """How the Service is reached. ClusterIP: inside the cluster. NodePort: in addition on a port of
    each node. LoadBalancer: in addition by a load balancer of the cloud provider. Default
    ClusterIP."""

    session_affinity: Literal["None", "ClientIP"] = "None"
    """ClientIP: connections from one client address go to the same instance while it exists. None:
    they go to any instance. Default None."""

    traffic_distribution: Literal["PreferSameZone", "PreferSameNode", "PreferClose"] | None = None
    """Which instances are preferred: those in the zone of the client (PreferSameZone, formerly
    PreferClose) or on its node (PreferSameNode). Default: no preference."""

    annotations: Annotated[dict[str, Text], Field(max_length=64)] | None = None
    """Annotations of the Service, for example for the load balancer of a cloud provider.
    Annotations that others add to the Service are kept. Default: none."""

    route: RouteRef | None = None
    """The HTTPRoute that divides the traffic between the previous and the new revision, with
    strategy Canary. The operator writes the weights of the backendRefs to the Services <name> and
    <name>-preview in each rule that refers to <name>, and nothing else. Needs gateway.enabled in
    the values of the chart. Default: none; each instance gets the same share of the traffic."""

    @field_validator("annotations")
    @classmethod
    def _not_reserved(cls, given: dict[str, str] | None) -> dict[str, str] | None:
        if any(key.startswith(RESERVED_PREFIX) for key in given or ()):
            raise ValueError(RESERVED)
        return given

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        names = [port.name for port in self.ports]
        if len(names) > 1 and None in names:
            yield NAMELESS
        if _repeated(name for name in names if name is not None):
            yield SAME_NAME
        if _repeated((port.port, port.protocol or "TCP") for port in self.ports):
            yield SAME_PORT
        fixed = [port for port in self.ports if port.node_port is not None]
        if _repeated((port.node_port, port.protocol or "TCP") for port in fixed):
            yield SAME_NODE_PORT
        if fixed and self.type == "ClusterIP":
            yield NODE_PORT


def _repeated(keys: Iterator[object]) -> bool:
    return any(count > 1 for count in Counter(keys).values())


def name_problems(name: str) -> Iterator[str]:
    """Yield what is wrong with the name of a service that has a Service."""
    if not re.fullmatch(_SERVICE_NAME, name):
        yield f"metadata.name: name {name}{NAME}"
