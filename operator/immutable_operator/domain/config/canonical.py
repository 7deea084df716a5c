"""One canonical form for all spellings of the same pod template.

Spellings differ in units, in defaults that are written out, and in empty maps. Two templates have
the same form if an API server would store equal pods for them; quantities are compared as numbers.
The defaults are the same in all supported releases of Kubernetes. An empty map that selects nothing
and requests nothing (``securityContext: {}`` of a container) is left out, too, although the API
server stores it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from immutable_operator.domain.config.fields import Field, hollow, items, member
from immutable_operator.domain.config.pod_fields import CONTAINER, METADATA, POD, VOLUME

__all__ = ["canonical"]

Said = dict[str, Any]


def canonical(template: Mapping[str, Any]) -> Any:
    """Return the form that all spellings of this pod template share."""
    return _TEMPLATE(template)


def _struct(given: Any) -> Said:
    """Return a part of the template; an empty one if it has another type, which the CRD refuses."""
    return given if isinstance(given, dict) else {}


def _structs(given: Any) -> list[Said]:
    return [_struct(item) for item in given] if isinstance(given, list) else []


def _settle_container(said: Said) -> None:
    if said.get("imagePullPolicy") == _pull_policy(said.get("image")):
        del said["imagePullPolicy"]
    resources = _struct(said.get("resources"))
    if limits := _struct(resources.get("limits")):
        resources["requests"] = {**limits, **_struct(resources.get("requests"))}


def _pull_policy(image: Any) -> str:
    """Return the API server's default. It follows the tag, even if there is a digest."""
    name, _, digest = str(image or "").partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if tag == "latest" or (name and not tag and not digest) else "IfNotPresent"


def _settle_volume(said: Said) -> None:
    if not said.keys() - {"name"}:
        said["emptyDir"] = {}
    image = _struct(said.get("image"))
    if image and image.get("pullPolicy") == _pull_policy(image.get("reference")):
        del image["pullPolicy"]


def _settle_pod(said: Said) -> None:
    containers = [*_structs(said.get("initContainers")), *_structs(said.get("containers"))]
    # The deprecated name applies if the new one is not given; the API server sets both.
    account = said.pop("serviceAccount", None)
    account = said.pop("serviceAccountName", account)
    if account not in (None, "default"):
        said["serviceAccountName"] = account
    if said.get("hostNetwork"):
        for port in (port for container in containers for port in _structs(container.get("ports"))):
            if "containerPort" in port:
                port.setdefault("hostPort", port["containerPort"])
    _settle_resources(_struct(said.get("resources")), containers)


def _settle_resources(resources: Said, containers: list[Said]) -> None:
    """Fill in the whole pod's requests: its limits, unless a container requests that resource."""
    asked: set[str] = set()
    for container in containers:
        asked |= _struct(_struct(container.get("resources")).get("requests")).keys()
    follow = {
        name: limit
        for name, limit in _struct(resources.get("limits")).items()
        if name.startswith("hugepages-") or (name in ("cpu", "memory") and name not in asked)
    }
    if follow:
        resources["requests"] = {**follow, **_struct(resources.get("requests"))}


_CONTAINERS: Field = items(CONTAINER, _settle_container)
_SPEC: Field = hollow(
    {
        **POD,
        "initContainers": _CONTAINERS,
        "containers": _CONTAINERS,
        "volumes": items(VOLUME, _settle_volume),
    },
    _settle_pod,
)


def _metadata(given: Any) -> Any:
    """Keep labels and annotations: pods inherit nothing else from a template's metadata."""
    named = METADATA.keys()
    if isinstance(given, Mapping):
        given = {key: text for key, text in given.items() if key in named}
    return _METADATA(given)


_METADATA: Field = hollow(METADATA)
_TEMPLATE: Field = member({"metadata": _metadata, "spec": _SPEC})
