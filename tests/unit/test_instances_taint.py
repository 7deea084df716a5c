"""What a pod itself shows of having been reached into, and how a lost one is known again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from immutable_operator.api.names import FIELD_MANAGER
from immutable_operator.domain.model import Because, Quarantine, Reason, instance_name
from immutable_operator.instances.pods.codec import decode_pod, quarantine_body
from immutable_operator.instances.pods.strays import claim_body, is_lost, service_of, strays_in
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.registry.client import Stored
from immutable_operator.wire.owner import OwnerRecord

UID = "11111111-2222-3333-4444-555555555555"
NAME = instance_name("web", UID, "deadbeef", 2, 1)
IMAGE = "registry.example/web@sha256:" + "a" * 64
LABELS = {"immutable.dev/service": "web", "immutable.dev/revision": "deadbeef", "app": "web"}
NOTES = {"immutable.dev/slot": "2", "immutable.dev/incarnation": "1"}
OWNER = {"uid": UID, "kind": "ImmutableService", "name": "web", "controller": True}
MARK = '{"what": "exec", "by": "jane", "at": "2026-11-22T04:30:00Z"}'
SINCE = '{"since": "2026-11-22T04:30:00Z", "because": "Tainted: exec by jane", "labels": {}}'


def pod(
    spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **meta: Any
) -> Any:
    body = {
        "metadata": {
            "name": NAME,
            "namespace": "shop",
            "uid": "u1",
            "resourceVersion": "7",
            "generation": 1,
            "creationTimestamp": "2026-11-22T01:00:00Z",
            "labels": LABELS,
            "annotations": NOTES,
            "ownerReferences": [OWNER],
            **meta,
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "web", "image": IMAGE}], **(spec or {})},
        "status": status or {},
    }
    return decode_pod(json.dumps(body).encode()).content


TAINTS: list[tuple[str, dict[str, Any], str | None]] = [
    ("as it was born", {}, None),
    (
        "other labels and annotations",
        {"labels": LABELS | {"x": "y"}, "annotations": NOTES | {"x": "y"}},
        None,
    ),
    (
        "marked",
        {"annotations": NOTES | {"immutable.dev/tainted": MARK}},
        "exec by jane at 2026-11-22T04:30:00Z",
    ),
    (
        "marked with half a mark",
        {"annotations": NOTES | {"immutable.dev/tainted": "{}"}},
        "an unknown change by an unknown client at an unknown time",
    ),
    (
        "marked with nonsense",
        {"annotations": NOTES | {"immutable.dev/tainted": "<>"}},
        "it was marked as tainted",
    ),
    (
        "marked with a list",
        {"annotations": NOTES | {"immutable.dev/tainted": "[1]"}},
        "it was marked as tainted",
    ),
    (
        "another slot",
        {"annotations": NOTES | {"immutable.dev/slot": "3"}},
        "its birth certificate was edited or forged: it does not match the pod name",
    ),
    (
        "no slot",
        {"annotations": {}},
        "its birth certificate was edited: slot or incarnation is missing",
    ),
    (
        "another revision",
        {"labels": LABELS | {"immutable.dev/revision": "0"}},
        "its birth certificate was edited or forged: it does not match the pod name",
    ),
    (
        "another service",
        {"labels": LABELS | {"immutable.dev/service": "db"}},
        "its label immutable.dev/service was edited",
    ),
    (
        "another owner of the kind",
        {"ownerReferences": [OWNER | {"uid": "other"}]},
        "its birth certificate was edited or forged: it does not match the pod name",
    ),
    ("no owner", {"ownerReferences": []}, None),
    (
        "in quarantine",
        {
            "labels": {
                "immutable.dev/service": "web_quarantined",
                "immutable.dev/revision": "deadbeef",
            },
            "annotations": NOTES | {"immutable.dev/quarantined": SINCE},
        },
        "exec by jane",
    ),
    (
        "quarantined by a stranger",
        {"annotations": NOTES | {"immutable.dev/quarantined": "soon"}},
        "its label immutable.dev/service was edited",
    ),
]


@pytest.mark.parametrize(
    ("mark", "by", "at"),
    [
        (MARK, "jane", 1_795_321_800.0),
        ('{"by": "jane", "at": "yesterday"}', "jane", None),
        ('{"by": "jane"}', "jane", None),
        ('{"by": 7}', "", None),
        ("<>", "", None),
        ("", "", None),
    ],
)
def test_mark_says_who_and_when_as_far_as_it_can_be_read(
    mark: str, by: str, at: float | None
) -> None:
    marked = pod(annotations=NOTES | {"immutable.dev/tainted": mark})
    assert (marked.tainted_by, marked.tainted_at) == (by, at)


def test_pod_without_a_mark_was_marked_by_nobody() -> None:
    assert (pod().tainted_by, pod().tainted_at) == ("", None)


@pytest.mark.parametrize(("meta", "taint"), [t[1:] for t in TAINTS], ids=[t[0] for t in TAINTS])
def test_taint_is_read_from_the_pod(meta: dict[str, Any], taint: str | None) -> None:
    assert pod(**meta).taint == taint


def test_debug_container_is_named() -> None:
    found = pod(spec={"ephemeralContainers": [{"name": "shell", "image": IMAGE}]})
    assert found.taint == "debug container shell was added to it"


def test_quarantine_starts_at_its_annotation() -> None:
    found = pod(annotations=NOTES | {"immutable.dev/quarantined": SINCE})
    assert found.quarantined == 1795321800.0
    assert not found.active


def test_last_editor_is_read_from_managed_fields() -> None:
    fields = [
        {
            "manager": "immutable-operator",
            "time": "2026-11-22T01:00:00Z",
            "fieldsV1": {"f:spec": {}},
        },
        {
            "manager": "vpa",
            "time": "2026-11-22T02:00:00Z",
            "subresource": "resize",
            "fieldsV1": {"f:spec": {}},
        },
        {
            "manager": "kubectl-label",
            "time": "2026-11-22T03:00:00Z",
            "fieldsV1": {"f:metadata": {}},
        },
        {
            "manager": "kubelet",
            "time": "2026-11-22T04:00:00Z",
            "subresource": "status",
            "fieldsV1": {"f:spec": {}},
        },
    ]
    assert pod(generation=2, managedFields=fields).editor == "vpa"
    assert pod(generation=1, managedFields=fields).editor is None, (
        "only looked for where it matters"
    )
    assert pod(generation=2, managedFields=fields[:1]).editor is None


BORN_AT, BOUND_AT, LATER = (f"2026-11-22T01:00:{second:02}Z" for second in (0, 9, 30))
BOUND = {"conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": BOUND_AT}]}


def edit(at: str, *fields: str, manager: str = "queue", subresource: str = "") -> dict[str, Any]:
    entry = {"manager": manager, "operation": "Update", "time": at}
    entry |= {"subresource": subresource} if subresource else {}
    return entry | {"fieldsV1": {"f:spec": {f"f:{field}": {} for field in fields}}}


BIRTH = edit(BORN_AT, "containers", "schedulingGates", manager="immutable-operator")
EDITS: list[tuple[str, list[dict[str, Any]], bool]] = [
    ("a gate was taken off: that leaves no entry", [], False),
    ("a queue said where it shall run", [edit("2026-11-22T01:00:05Z", "nodeSelector")], False),
    ("and what it tolerates", [edit(BOUND_AT, "nodeSelector", "tolerations")], False),
    ("a toleration was added while it ran", [edit(LATER, "tolerations")], True),
    ("an image, whenever", [edit("2026-11-22T01:00:05Z", "containers")], True),
    ("an end was set", [edit(LATER, "activeDeadlineSeconds")], True),
    ("a resize", [edit(LATER, "containers", subresource="resize")], True),
    (
        "a resize under our name",
        [edit(LATER, "containers", manager="immutable-operator", subresource="resize")],
        True,
    ),
    (
        "the status of a kubelet",
        [edit(LATER, "containers", manager="kubelet", subresource="status")],
        False,
    ),
]


@pytest.mark.parametrize(("why", "edits", "edited"), EDITS, ids=[e[0] for e in EDITS])
def test_edit_is_excused_only_by_a_scheduling_gate(
    why: str, edits: list[dict[str, Any]], edited: bool
) -> None:
    assert pod(status=BOUND, generation=3, managedFields=[BIRTH, *edits]).edited is edited, why


def test_edit_in_the_second_of_creation_is_attributed() -> None:
    """The API server stores whole seconds: the time does not identify the creation."""
    at_once = edit(BORN_AT, "activeDeadlineSeconds", manager="kubectl-patch")
    found = pod(status=BOUND, generation=2, managedFields=[BIRTH, at_once])
    assert (found.editor, found.edited) == ("kubectl-patch", True)


def test_scheduling_gate_is_read() -> None:
    assert pod({"schedulingGates": [{"name": "queue"}]}).gated
    assert not pod().gated


def test_reported_images_and_restarts_are_read() -> None:
    statuses: list[dict[str, Any]] = [
        {"name": "web", "imageID": "registry.example/other@sha256:" + "b" * 64, "restartCount": 1},
        {"name": "proxy", "imageID": "whatever"},
    ]
    found = pod(status={"containerStatuses": statuses})
    assert found.reported == (("web", statuses[0]["imageID"]),)
    assert found.restarted == "web"
    same = [{"name": "web", "imageID": "docker-pullable://mirror/web@sha256:" + "a" * 64}]
    assert pod(status={"containerStatuses": same}).reported == ()


def test_image_without_a_digest_is_compared_with_nothing() -> None:
    sidecar = {"name": "mesh", "image": "docker.io/istio/proxyv2:1.30"}
    web = {"name": "web", "image": "registry.example/web@sha256:" + "a" * 64}
    statuses = [{"name": "mesh", "imageID": "docker.io/istio/proxyv2@sha256:" + "b" * 64}]
    found = pod({"containers": [web, sidecar]}, status={"containerStatuses": statuses})
    assert found.reported == ()


def test_retried_init_container_is_no_restart() -> None:
    done = {"name": "setup", "restartCount": 1, "state": {"terminated": {"exitCode": 0}}}
    assert pod(status={"initContainerStatuses": [done]}).restarted is None


SERVICE = OwnerRecord.of(
    {"metadata": {"name": "web", "namespace": "shop", "uid": UID, "resourceVersion": "1"}}
)


def meta(**changes: Any) -> ObjectMeta:
    return ObjectMeta(name=NAME, uid="u1", namespace="shop", resource_version="7", **changes)


def test_lost_pod_is_recognized_by_its_name() -> None:
    body = claim_body(SERVICE, meta(), {}, 0.0)
    assert body is not None
    metadata = body["metadata"]
    assert metadata["labels"] == {key: LABELS[key] for key in LABELS if key != "app"}
    assert {key: metadata["annotations"][key] for key in NOTES} == NOTES
    assert "its label was removed" in metadata["annotations"]["immutable.dev/tainted"]
    assert (metadata["uid"], metadata["resourceVersion"]) == ("u1", "7")


def entry(manager: str, fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "fieldsV1": fields, **more}


SPEC: dict[str, Any] = {"f:spec": {"f:containers": {}}}


@pytest.mark.parametrize(
    ("entries", "is_ours"),
    [
        pytest.param([entry("kubectl-create", SPEC)], False, id="another client created it"),
        pytest.param([entry(FIELD_MANAGER, SPEC)], True, id="the operator created it"),
        pytest.param(
            [entry(FIELD_MANAGER, SPEC), entry("kubectl-edit", SPEC)],
            True,
            id="the operator created it and a user edited its image",
        ),
        pytest.param(
            [entry("kubectl-debug", SPEC, subresource="ephemeralcontainers")],
            True,
            id="its other entries were removed",
        ),
        pytest.param([entry("kubectl-label", {"f:metadata": {}})], True, id="only labels"),
        pytest.param(["odd", {"manager": "x", "fieldsV1": None}], True, id="unreadable"),
        pytest.param(None, True, id="no entries"),
    ],
)
def test_foreign_pod_is_not_claimed(entries: Any, is_ours: bool) -> None:
    body = claim_body(SERVICE, meta(), {"managedFields": entries}, 0.0)
    assert (body is not None) == is_ours


def test_taint_annotation_is_never_overwritten() -> None:
    body = claim_body(SERVICE, meta(annotations={"immutable.dev/tainted": MARK}), {}, 0.0)
    assert body is not None
    assert "immutable.dev/tainted" not in body["metadata"]["annotations"]


@pytest.mark.parametrize(
    "name", ["web-imdeadbeef-aaaaa", "web-imdeadbeef", "web", "db-imdeadbeef-abcde", NAME + "x"]
)
def test_pod_without_the_reserved_name_is_not_claimed(name: str) -> None:
    stranger = ObjectMeta(name=name, uid="u1")
    assert claim_body(SERVICE, stranger, {}, 0.0) is None


def test_pod_found_by_label_and_owner_is_not_lost() -> None:
    whole = json.loads(json.dumps({"name": NAME, "uid": "u1"}))
    assert is_lost(meta(), SERVICE)
    assert not is_lost(meta(deletion_timestamp="2026-11-22T01:00:00Z"), SERVICE)
    assert service_of(whole["name"]) == "web"
    page = json.dumps({"items": [{"metadata": whole}, {"metadata": {"name": "x", "uid": "u2"}}]})
    assert [found.name for found in strays_in(page.encode())] == [NAME]
    assert strays_in(b'{"items": null}') == []


def test_quarantine_records_and_removes_all_labels_but_the_operators() -> None:
    order = Quarantine(NAME, "u1", Because(Reason.TAINTED, "exec by jane"))
    metadata = quarantine_body(SERVICE, LABELS, order, 1795321800.0)["metadata"]
    assert metadata["labels"] == {"app": None, "immutable.dev/service": "web_quarantined"}
    assert metadata["uid"] == "u1"
    kept = json.loads(metadata["annotations"]["immutable.dev/quarantined"])
    assert kept["labels"] == {"app": "web"}
    assert kept["because"] == "Tainted: exec by jane"


REFERENCES: list[tuple[str, tuple[str, str] | None]] = [
    (f"registry.example/a/b@sha256:{'a' * 64}", ("registry.example", "a/b")),
    (f"docker-pullable://localhost:5000/a:v1@sha256:{'a' * 64}", ("localhost:5000", "a")),
    (f"library/web@sha256:{'a' * 64}", None),
    (f"sha256:{'a' * 64}", None),
    ("registry.example/a:v1", None),
    (f"registry.example/a@sha256:{'a' * 63}", None),
    ("\n", None),
]


@pytest.mark.parametrize(("reference", "wanted"), REFERENCES)
def test_image_reference_is_split_into_host_and_repository(
    reference: str, wanted: tuple[str, str] | None
) -> None:
    found = Stored.of(reference)
    assert (found and (found.host, found.repository)) == wanted
