"""Pods on the wire: what is read of them, and the certificate they are born with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from immutable_operator.domain.model import Because, Create, Reason, TroubleKind
from immutable_operator.instances.pods.codec import decode_pod, pod_body
from immutable_operator.wire.owner import OwnerRecord

IMAGE = "registry.example/web@sha256:" + "a" * 64


def pod(status: dict[str, Any], **meta: Any) -> Any:
    body = {
        "metadata": {
            "name": "web-imdeadbeef-abcde",
            "namespace": "shop",
            "uid": "u1",
            "resourceVersion": "7",
            "creationTimestamp": "2026-11-22T01:00:00Z",
            "labels": {"immutable.dev/service": "web", "immutable.dev/revision": "deadbeef"},
            "annotations": {"immutable.dev/slot": "2", "immutable.dev/incarnation": "1"},
            "ownerReferences": [
                {"uid": "other", "kind": "X", "controller": False},
                {"uid": "owner", "kind": "ImmutableService", "controller": True},
            ],
            **meta,
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "web", "image": IMAGE}]},
        "status": status,
    }
    return decode_pod(json.dumps(body).encode())


def container(**fields: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "web", "image": IMAGE, "ready": False, **fields}]}


def waiting(reason: str, message: str = "", restarts: int = 0) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return container(state=state, restartCount=restarts)


def test_pod_is_read_as_its_instance() -> None:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T01:00:05Z"}
    record = pod({"phase": "Running", "conditions": [ready]})
    instance = record.content
    assert record.owner == "owner"
    assert (instance.revision, instance.slot, instance.incarnation) == ("deadbeef", 2, 1)
    assert instance.ready_since == instance.born + 5
    assert instance.active


@pytest.mark.parametrize("nonsense", ["", "x", "1e3", "９９x", "-"])
def test_invalid_birth_certificate_does_not_stop_the_reader(nonsense: str) -> None:
    annotations = {"immutable.dev/slot": nonsense, "immutable.dev/incarnation": nonsense}
    assert pod({}, annotations=annotations).content.slot == 0


TROUBLES = [
    (waiting("ErrImagePull", "not found"), TroubleKind.IMAGE_PULL, False),
    (waiting("ImagePullBackOff", f'Back-off pulling "{IMAGE}"'), TroubleKind.IMAGE_PULL, True),
    (waiting("InvalidImageName"), TroubleKind.IMAGE_PULL, True),
    (
        waiting("CreateContainerConfigError", 'secret "s" not found'),
        TroubleKind.CONTAINER_CONFIG,
        1,
    ),
    (waiting("CrashLoopBackOff", restarts=1), TroubleKind.CRASH_LOOP, False),
    (waiting("CrashLoopBackOff", restarts=3), TroubleKind.CRASH_LOOP, True),
    (
        container(restartCount=4, lastState={"terminated": {"exitCode": 3, "reason": "Error"}}),
        TroubleKind.CRASH_LOOP,
        True,
    ),
]


@pytest.mark.parametrize(("status", "kind", "settled"), TROUBLES)
def test_trouble_is_read_from_the_status(
    status: dict[str, Any], kind: TroubleKind, settled: bool
) -> None:
    trouble = pod({"phase": "Pending", **status}).content.trouble
    assert trouble is not None
    assert (trouble.kind, trouble.settled) == (kind, bool(settled))


PULL = "ErrImagePull"
NO_CONFIG = "CreateContainerConfigError"
PROOFS: list[tuple[str, str, bool, str]] = [
    # reason, message, whether no other try can work, the object that is missing
    (PULL, f"failed to resolve reference {IMAGE}: not found", True, ""),
    (PULL, "manifest unknown: manifest unknown", True, ""),
    ("ImagePullBackOff", 'Back-off pulling image "x": ErrImagePull: x: not found', True, ""),
    ("ImagePullBackOff", 'Back-off pulling image "x"', False, ""),
    (
        PULL,
        "pull access denied, repository does not exist or may require 'docker login'",
        False,
        "",
    ),
    (PULL, "unexpected status code 401 Unauthorized: image not found", False, ""),
    (PULL, "unexpected status code 429 Too Many Requests", False, ""),
    (PULL, "unexpected status code 503 Service Unavailable", False, ""),
    (PULL, "dial tcp: lookup registry.example: no such host", False, ""),
    (PULL, "dial tcp 10.0.0.1:443: i/o timeout", False, ""),
    (NO_CONFIG, 'secret "db" not found', False, "db"),
    (NO_CONFIG, 'configmap "web-cfg12345678" not found', False, "web-cfg12345678"),
    (NO_CONFIG, "couldn't find key a in ConfigMap shop/web-cfg12345678", False, "web-cfg12345678"),
    (NO_CONFIG, "container has runAsNonRoot and image will run as root", True, ""),
]


@pytest.mark.parametrize(("reason", "message", "final", "lacks"), PROOFS)
def test_message_tells_what_no_other_try_can_mend(
    reason: str, message: str, final: bool, lacks: str
) -> None:
    """A registry that does not answer, or denies it, may answer the next time."""
    status = {"phase": "Pending", "startTime": "2026-11-22T01:00:00Z", **waiting(reason, message)}
    trouble = pod(status).content.trouble
    assert trouble is not None
    assert (trouble.is_final, trouble.lacks) == (final, lacks)
    assert trouble.since is not None


REBOOTED = container(
    restartCount=5,
    state={"running": {"startedAt": "2026-11-22T02:00:00Z"}},
    lastState={"terminated": {"exitCode": 255, "reason": "Unknown"}},
)


def test_container_that_ended_with_its_node_is_not_crashing() -> None:
    """Otherwise every fifth reboot of a node would stall the service."""
    trouble = pod({"phase": "Running", **REBOOTED}).content.trouble
    assert trouble is not None
    assert (trouble.kind, trouble.settled) == (TroubleKind.NODE_RESTARTED, False)
    assert "because node n1 rebooted" in trouble.message


NODE_SAYS: list[tuple[str, dict[str, Any], bool]] = [
    # rule, the condition Ready, whether it is the node's trouble
    ("the node controller gives no reason", {"status": "False"}, True),
    ("ready", {"status": "True"}, False),
    ("a gate", {"status": "False", "reason": "ReadinessGatesNotReady"}, False),
]


@pytest.mark.parametrize(("rule", "ready", "told"), NODE_SAYS)
def test_pod_of_a_lost_node_names_the_node(rule: str, ready: dict[str, Any], told: bool) -> None:
    conditions = [{"type": "Ready", **ready}, {"type": "ContainersReady", "status": "True"}]
    trouble = pod({"phase": "Running", **container(ready=True), "conditions": conditions})
    found = trouble.content.trouble
    assert (found is not None and found.kind is TroubleKind.NODE_NOT_READY) == told, rule
    assert not found or "node n1" in found.message


def test_starting_container_is_no_trouble() -> None:
    assert pod({"phase": "Pending", **waiting("ContainerCreating")}).content.trouble is None
    once = container(ready=True, restartCount=2, lastState={"terminated": {"exitCode": 1}})
    assert pod({"phase": "Running", **once}).content.trouble is None


def test_pull_error_has_a_stable_message_with_its_cause() -> None:
    cause = "failed to resolve reference: not found"
    first = pod(waiting("ErrImagePull", cause)).content.trouble
    later = f'Back-off pulling image "{IMAGE}": ErrImagePull: {cause}'
    second = pod(waiting("ImagePullBackOff", later)).content.trouble
    assert first is not None
    assert second is not None
    assert first.message == second.message
    assert IMAGE in first.message
    assert cause in first.message


def test_birth_certificate_wins_over_the_template() -> None:
    service = OwnerRecord.of(
        {
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
            "spec": {},
        }
    )
    template = {
        "metadata": {"labels": {"app": "web", "immutable.dev/service": "forged"}},
        "spec": {"containers": [{"name": "web", "image": IMAGE}]},
    }
    create = Create(
        "web-imdeadbeef-abcde",
        "deadbeef",
        2,
        1,
        "web-im00000000-aaaaa",
        Because(Reason.OUTDATED, "x"),
    )
    body = pod_body(service, template, create)
    assert body["metadata"]["labels"] == {
        "app": "web",
        "immutable.dev/service": "web",
        "immutable.dev/revision": "deadbeef",
    }
    assert body["metadata"]["annotations"]["immutable.dev/replaces"] == "web-im00000000-aaaaa"
    assert body["metadata"]["ownerReferences"][0]["controller"] is True
    assert body["spec"] == template["spec"]


def test_wrong_architecture_is_reported_by_image_and_cause_only() -> None:
    """containerd reports the config's id as the image; the message may hold a secret."""
    words = {"exitCode": 1, "reason": "Error", "message": "exec /web: exec format error"}
    crash = container(restartCount=3, lastState={"terminated": words})
    crash["containerStatuses"][0]["image"] = "sha256:" + "c" * 64
    trouble = pod({"phase": "Running", **crash}).content.trouble
    assert trouble is not None
    assert IMAGE in trouble.message
    assert "exec format error" in trouble.message
    words["message"] = "password=hunter2"
    trouble = pod({"phase": "Running", **crash}).content.trouble
    assert trouble is not None
    assert "hunter2" not in trouble.message
