"""The form of a pod: what admission made of it, equal for all pods that were treated alike."""

from __future__ import annotations

import json
from typing import Any

import pytest

from immutable_operator.api.names import FIELD_MANAGER
from immutable_operator.instances.pods.codec import decode_pod
from immutable_operator.instances.pods.form import POD, opened

Json = dict[str, Any]
TOKEN = {"name": "kube-api-access-x7k2q", "projected": {"sources": []}}
MOUNT = {"name": "kube-api-access-x7k2q", "mountPath": "/var/run/secrets"}


def entry(manager: str, subresource: str = "", **fields: Json) -> Json:
    made: Json = {
        f"f:{field}": {".": {}, **{f"f:{k}": {} for k in keys}} for field, keys in fields.items()
    }
    return {
        "manager": manager,
        "operation": "Update",
        "fieldsV1": {"f:metadata": made, "f:spec": {}},
        **({"subresource": subresource} if subresource else {}),
    }


ASKED = entry(FIELD_MANAGER, labels={"app": 1, "immutable.dev/service": 1})


def form(name: str = "web-im0a1b2c3d-x7k2q", spec: Json | None = None, **meta: Any) -> bytes:
    body = {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": name,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "generation": 1,
            "labels": {"app": "web", "immutable.dev/service": "web"},
            "annotations": {"immutable.dev/slot": "0"},
            "managedFields": [ASKED],
            **meta,
        },
        "spec": {"containers": [{"name": "web", "image": "x"}], **(spec or {})},
    }
    return decode_pod(json.dumps(body).encode()).form


def labels(**meta: Any) -> tuple[Json, Json]:
    found = opened(form(**meta))
    return found["metadata"]["labels"], found["removed"]


def test_node_token_and_name_of_a_pod_make_no_difference() -> None:
    one = form()
    web = {"name": "web", "image": "x", "volumeMounts": [MOUNT]}
    more = {"nodeName": "n1", "volumes": [TOKEN], "containers": [web], "ephemeralContainers": []}
    other = form("web-im0a1b2c3d-aaaaa", more)
    assert opened(other)["spec"] == {"containers": [web | {"volumeMounts": []}], "volumes": []}
    env = {"containers": [{"name": "web", "env": [{"name": "OWNER", "value": "pods/%s/x"}]}]}
    named = [
        form(name, json.loads(json.dumps(env) % name))
        for name in ("web-im0a1b2c3d-aaaaa", "web-im0a1b2c3d-bbbbb")
    ]
    assert named[0] is named[1], "one copy is kept for all"
    assert POD in named[0].decode()
    assert one != named[0]


def test_volume_of_a_user_is_no_token_volume() -> None:
    own = {"volumes": [{"name": "kube-api-access-mine1", "emptyDir": {}}, {"name": "projected"}]}
    assert opened(form(spec=own))["spec"]["volumes"] == own["volumes"]


def test_field_that_this_release_does_not_know_is_left_out() -> None:
    """A newer API server sets its default; a template cannot have it."""
    new = {"aFieldOfTomorrow": 1, "containers": [{"name": "web", "tomorrow": {"x": 1}}]}
    assert opened(form(spec=new))["spec"] == {"containers": [{"name": "web"}]}


@pytest.mark.parametrize(
    ("what", "meta", "kept", "removed"),
    [
        ("as asked for", {}, {"app": "web"}, {}),
        ("added by admission", {"labels": {"app": "web", "m": "1"}}, {"app": "web", "m": "1"}, {}),
        ("changed by admission", {"labels": {"app": "x"}}, {"app": "x"}, {}),
        ("removed by admission", {"labels": {}}, {}, {"labels": ["app"]}),
        (
            "added later",
            {
                "labels": {"app": "web", "team": "shop"},
                "managedFields": [ASKED, entry("kubectl", labels={"team": 1})],
            },
            {"app": "web"},
            {},
        ),
        (
            "changed later",
            {
                "labels": {"app": "x"},
                "managedFields": [
                    entry(FIELD_MANAGER, labels={"immutable.dev/service": 1}),
                    entry("kubectl", labels={"app": 1}),
                ],
            },
            {},
            {},
        ),
        (
            "set by a kubelet",
            {
                "labels": {"app": "web", "node": "n1"},
                "managedFields": [ASKED, entry("kubelet", "status", labels={"node": 1})],
            },
            {"app": "web"},
            {},
        ),
    ],
)
def test_labels_count_as_admission_left_them(
    what: str, meta: Json, kept: Json, removed: Json
) -> None:
    assert labels(**meta) == (kept, removed), what


def test_pod_with_unreadable_managed_fields_has_no_form() -> None:
    assert form(managedFields=[{"fieldsV1": 7}]) == b""


def test_spec_that_was_changed_since_is_another_form() -> None:
    assert opened(form())["placed"] is False
    assert opened(form(generation=2))["placed"] is True
