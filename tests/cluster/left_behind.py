"""What an older operator left behind (`tests/fixtures/upgrade/README.md`), put into a cluster.

Each object is written as it was, with its status, under the field manager of the one that wrote it.
The API server gives it another uid and a later creation time; so references to uids and all times
in it are changed, too.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from immutable_operator.api.names import (
    ANNOTATION_INCARNATION,
    ANNOTATION_SLOT,
    API_VERSION,
    LABEL_REVISION,
)
from immutable_operator.domain.model import instance_name
from tests.controlplane import ControlPlane
from tests.controlplane.api import STRATEGIC_PATCH, Json

__all__ = ["put_left_behind"]

FIXTURES = Path(__file__).parents[1] / "fixtures" / "upgrade"
SHOP = "shop"  # the namespace in the fixtures
# In the order of their owners: a copy of a ConfigMap is owned by a record.
GROUPS: Mapping[str, str] = {
    "immutableservices": f"apis/{API_VERSION}",
    "immutableactions": f"apis/{API_VERSION}",
    "immutablerevisions": f"apis/{API_VERSION}",
    "secrets": "api/v1",
    "configmaps": "api/v1",
    "poddisruptionbudgets": "apis/policy/v1",
    "pods": "api/v1",
}
# The status of the others is written by their controllers, or by the nodes.
WITH_STATUS = ("immutableservices", "immutableactions", "immutablerevisions")
GIVEN_BY_THE_SERVER = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")
APPLY = "application/apply-patch+yaml"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def put_left_behind(
    plane: ControlPlane, namespace: str, version: str, services: tuple[str, ...]
) -> None:
    """Create what a version left behind of these services. No policy may be in force."""
    folder = FIXTURES / version
    left: dict[str, list[Json]] = {
        resource: json.loads((folder / f"{resource}.json").read_text()) for resource in GROUPS
    }
    passed = timedelta(seconds=time.time() - json.loads((folder / "at.json").read_text()))
    other = {SHOP: namespace}
    for resource, group in GROUPS.items():
        path = f"/{group}/namespaces/{namespace}/{resource}"
        ours = [item for item in left[resource] if _is_of(item, services, other)]
        for item in ours:
            created = _create(plane, path, _moved(item, other, passed))
            other[item["metadata"]["uid"]] = created["metadata"]["uid"]
        if resource == "immutableservices":
            other |= _names(left["pods"], other)
        if resource in WITH_STATUS:
            for item in ours:
                _put_status(plane, path, _moved(item, other, passed))


def _is_of(item: Json, services: tuple[str, ...], known: Mapping[str, str]) -> bool:
    """Whether an object is one of these services, is owned by one, or is read by them."""
    owners = item["metadata"].get("ownerReferences", ())
    if owners:
        return all(owner["uid"] in known for owner in owners)
    if item.get("kind") == "ImmutableService":
        return item["metadata"]["name"] in services
    return item.get("kind") != "ImmutableAction" or item["spec"]["service"] in services


def _names(pods: list[Json], other: Mapping[str, str]) -> dict[str, str]:
    """The other names of pods, which follow from the uid of their service.

    The present version has to name them as the older one did. Copies of ConfigMaps keep their
    names: these are read from the records.
    """
    found = {}
    for pod in pods:
        [owner], notes = pod["metadata"]["ownerReferences"], pod["metadata"]["annotations"]
        place = (int(notes[ANNOTATION_SLOT]), int(notes[ANNOTATION_INCARNATION]))
        revision = pod["metadata"]["labels"][LABEL_REVISION]
        old, new = (
            instance_name(owner["name"], uid, revision, *place)
            for uid in (owner["uid"], other.get(owner["uid"], ""))
        )
        assert old == pod["metadata"]["name"], "instances are named otherwise than before"
        found[old] = new
    return found


def _moved(item: Json, other: Mapping[str, str], passed: timedelta) -> Json:
    """An object with other uids, names and times."""
    text = json.dumps(item)
    for old, new in other.items():
        text = text.replace(old, new)
    moved: Json = json.loads(TIME.sub(lambda found: _later(found[0], passed), text))
    return moved


def _later(text: str, passed: timedelta) -> str:
    at = (datetime.fromisoformat(text) + passed).astimezone(UTC)
    return at.isoformat(timespec="microseconds" if "." in text else "seconds")[:-6] + "Z"


def _manager(body: Json, subresource: str = "") -> str:
    entries = body["metadata"]["managedFields"]
    return next(str(e["manager"]) for e in entries if e.get("subresource", "") == subresource)


def _create(plane: ControlPlane, path: str, body: Json) -> Json:
    metadata = {k: v for k, v in body["metadata"].items() if k not in GIVEN_BY_THE_SERVER}
    spec = dict(body.get("spec", {}))
    debuggers = spec.pop("ephemeralContainers", None)  # they are added to pods that run
    whole = {k: v for k, v in body.items() if k not in ("spec", "status")} | {"metadata": metadata}
    given = whole | ({"spec": spec} if "spec" in body else {})
    created = plane.api().request("POST", f"{path}?fieldManager={_manager(body)}", given)
    if debuggers is not None:
        added = {"spec": {"ephemeralContainers": debuggers}}
        one = f"{path}/{metadata['name']}/ephemeralcontainers"
        plane.api().request("PATCH", one, added, STRATEGIC_PATCH)
    return created


def _put_status(plane: ControlPlane, path: str, body: Json) -> None:
    """Write the status as the operator does: by server-side apply."""
    status = dict(body["status"])
    if "observedGeneration" in status:  # the object is new
        conditions = ({**c, "observedGeneration": 1} for c in status["conditions"])
        status |= {"observedGeneration": 1, "conditions": list(conditions)}
    metadata = {k: body["metadata"][k] for k in ("name", "namespace")}
    applied = {k: body[k] for k in ("apiVersion", "kind")} | {"metadata": metadata}
    one = f"{path}/{metadata['name']}/status?fieldManager={_manager(body, 'status')}"
    plane.api().request("PATCH", one, applied | {"status": status}, APPLY)
