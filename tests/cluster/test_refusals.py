"""What real refusals of the API server mean to the operator: each is provoked and then read.

`tests/unit/test_instances_refused.py` has more of them, as they are known from here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from immutable_operator.domain.model import Cause, Move
from immutable_operator.kube.errors import Conflict, NotFound, Unauthorized
from tests.cluster.operator_process import Installation
from tests.cluster.refusing import (
    GROUP,
    NODES,
    Bed,
    Write,
    assert_read,
    config_map,
    deletion,
    evict,
    in_namespace,
    items,
    metadata,
    pod,
    record,
    refusal,
    stale,
    verdict,
)
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.waiting import wait_for

NOBODY, EDITOR = "refused-nobody", "refused-editor"
# Of another object than the one that has the name now, and of a version that is no more.
OTHER, OLD = "11111111-1111-1111-1111-111111111111", "1"
NODE = f"{NODES}/node-0"
MIB = 1024**2
# Only the operator may write records.
OF_RECORDS = (Move.RECORD, Move.VERDICT, Move.FORGET)
OWNER: Json = {
    "apiVersion": "apps/v1",
    "kind": "ReplicaSet",
    "name": "web",
    "uid": OTHER,
    "blockOwnerDeletion": True,
}


@pytest.fixture(scope="module")
def bed(control_plane: ControlPlane, installation: Installation, module_namespace: str) -> Bed:
    made = Bed.made(control_plane, module_namespace)
    control_plane.grant(EDITOR, module_namespace, "edit")
    editor, path = control_plane.api(EDITOR), f"{made.pods}?dryRun=All"
    wait_for("the right to create pods", lambda: editor.request("POST", path, pod("new")))
    return made


Made = Callable[[Bed], Write]
# What: the moves that it stands for, the write, and what the refusal means.
LACKING: dict[str, tuple[Move, Made]] = {
    "account": (Move.CREATE, lambda b: born(b, serviceAccountName="web")),
    "priority class": (Move.CREATE, lambda b: born(b, priorityClassName="high")),
    "runtime class": (Move.CREATE, lambda b: born(b, runtimeClassName="gvisor")),
    "namespace of a pod": (Move.CREATE, lambda b: Write("create", items("no-such"), pod())),
    "namespace of a copy": (
        Move.SNAPSHOT,
        lambda b: Write("create", in_namespace("no-such", "configmaps"), config_map("d")),
    ),
    "group": (Move.RECORD, lambda b: Write("create", "/apis/no.such/v1/things", metadata())),
    "kind": (Move.RECORD, lambda b: Write("create", f"/{GROUP}/things", metadata())),
}


def born(bed: Bed, **spec: object) -> Write:
    return Write("create", bed.pods, pod("new", **spec))


@pytest.mark.parametrize("what", LACKING)
def test_what_others_provide_is_awaited(bed: Bed, what: str) -> None:
    move, write = LACKING[what]
    assert_read(refusal(bed.plane.kubeconfig(), write(bed)), move, Cause.DEPENDENCY)


INVALID: dict[str, tuple[Move, Cause, Made]] = {
    "field of a pod": (Move.CREATE, Cause.TEMPLATE, lambda b: born(b, restartPolicy="Rarely")),
    "body of a pod": (Move.CREATE, Cause.TEMPLATE, lambda b: born(b, containers="web")),
    "field of a record": (
        Move.RECORD,
        Cause.TEMPLATE,
        lambda b: Write("create", b.records, {**record(), "spec": {"number": "one"}}),
    ),
    "label of a pod": (
        Move.QUARANTINE,
        Cause.ADMISSION,
        lambda b: Write("patch", b.pod, metadata(labels={"a": "b c"})),
    ),
    "taint of a node": (
        Move.RETIRE,
        Cause.ADMISSION,
        lambda b: Write("patch", NODE, {"spec": {"taints": [{"key": "a b", "effect": "No"}]}}),
    ),
    "large body": (
        Move.RECORD,
        Cause.TEMPLATE,
        lambda b: Write("create", b.records, record(MIB * 4)),
    ),
    "object larger than etcd stores": (
        Move.RECORD,
        Cause.TEMPLATE,
        lambda b: Write("create", b.records, record(MIB * 17 // 10)),
    ),
    "object larger than etcd receives": (
        Move.RECORD,
        Cause.TEMPLATE,
        lambda b: Write("create", b.records, record(MIB * 25 // 10)),
    ),
    "large copy": (
        Move.SNAPSHOT,
        Cause.TEMPLATE,
        lambda b: Write("create", b.config_maps, config_map("d", data={"a": "x" * (MIB + 1)})),
    ),
}


@pytest.mark.parametrize("what", INVALID)
def test_what_is_not_valid_is_not_asked_often(bed: Bed, what: str) -> None:
    move, cause, write = INVALID[what]
    login = bed.operator if move is Move.RECORD else bed.plane.kubeconfig()
    assert_read(refusal(login, write(bed)), move, cause, invalid=True)


CONFLICTS: dict[str, tuple[Move, Made]] = {
    "name of a pod": (Move.CREATE, lambda b: Write("create", b.pods, pod())),
    "name of a node": (Move.CREATE, lambda b: Write("create", NODES, node())),
    "name of a record": (Move.RECORD, lambda b: Write("create", b.records, record())),
    "name of a copy": (Move.SNAPSHOT, lambda b: Write("create", b.config_maps, config_map("c"))),
    "uid, evicted": (Move.RETIRE, lambda b: evict(b.namespace, "w", uid=OTHER)),
    "uid, deleted": (Move.RETIRE, lambda b: deletion(b.pod, uid=OTHER)),
    "version, deleted": (Move.RETIRE, lambda b: deletion(b.pod, resourceVersion=OLD)),
    "uid of a node, deleted": (Move.END, lambda b: deletion(NODE, uid=OTHER)),
    "uid of a record, deleted": (
        Move.FORGET,
        lambda b: deletion(f"{b.records}/probe-im00000000", uid=OTHER),
    ),
    "uid, patched": (Move.QUARANTINE, lambda b: Write("patch", b.pod, metadata(uid=OTHER))),
    "uid of a node, patched": (Move.MARK, lambda b: Write("patch", NODE, metadata(uid=OTHER))),
    "version of a node, patched": (
        Move.ADMIT,
        lambda b: Write("patch", NODE, metadata(uid=OTHER, resourceVersion=OLD)),
    ),
    "version, updated": (
        Move.SNAPSHOT,
        lambda b: Write("update", f"{b.config_maps}/c", stale(resourceVersion=OLD)),
    ),
    "uid, updated": (
        Move.SNAPSHOT,
        lambda b: Write("update", f"{b.config_maps}/c", stale(uid=OTHER)),
    ),
    "uid, applied": (
        Move.SNAPSHOT,
        lambda b: Write("apply", f"{b.config_maps}/c", stale(uid=OTHER)),
    ),
    "version of a status, applied": (Move.VERDICT, lambda b: verdict(b, resourceVersion=OLD)),
}


def node() -> Json:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0"}}


@pytest.mark.parametrize("what", CONFLICTS)
def test_conflict_is_a_matter_of_what_is_there_now(bed: Bed, what: str) -> None:
    move, write = CONFLICTS[what]
    login = bed.operator if move in OF_RECORDS else bed.plane.kubeconfig()
    error = refusal(login, write(bed))
    assert isinstance(error, Conflict)
    assert_read(error, move, Cause.API_SERVER)


GONE: dict[str, tuple[Move, Made]] = {
    "evicted": (Move.RETIRE, lambda b: evict(b.namespace, "gone", uid=OTHER)),
    "deleted": (Move.RETIRE, lambda b: deletion(items(b.namespace, "gone"), uid=OTHER)),
    "patched": (Move.QUARANTINE, lambda b: Write("patch", items(b.namespace, "gone"), metadata())),
    "of a node": (Move.ADMIT, lambda b: Write("patch", f"{NODES}/gone", metadata())),
    "of a record": (Move.FORGET, lambda b: deletion(f"{b.records}/gone", uid=OTHER)),
}


@pytest.mark.parametrize("what", GONE)
def test_object_that_is_gone_is_left_to_the_watch(bed: Bed, what: str) -> None:
    move, write = GONE[what]
    error = refusal(bed.operator if move in OF_RECORDS else bed.plane.kubeconfig(), write(bed))
    assert isinstance(error, NotFound)
    assert_read(error, move, Cause.API_SERVER)


NOT_ALLOWED: dict[str, tuple[Move, Made]] = {
    "create": (Move.CREATE, lambda b: Write("create", b.pods, pod())),
    "evict": (Move.RETIRE, lambda b: evict(b.namespace, "w", uid=OTHER)),
    "delete": (Move.RETIRE, lambda b: deletion(b.pod, uid=OTHER)),
    "patch": (Move.QUARANTINE, lambda b: Write("patch", b.pod, metadata())),
    "record": (Move.RECORD, lambda b: Write("create", b.records, record())),
    "judge": (Move.VERDICT, verdict),
    "change a node": (Move.ADMIT, lambda b: Write("patch", NODE, metadata())),
    "create a node": (Move.CREATE, lambda b: Write("create", NODES, node())),
    "create a claim": (
        Move.CREATE,
        lambda b: Write("create", "/apis/karpenter.sh/v1/nodeclaims", metadata(name="c")),
    ),
}


@pytest.mark.parametrize("what", NOT_ALLOWED)
def test_missing_right_is_told(bed: Bed, what: str) -> None:
    move, write = NOT_ALLOWED[what]
    assert_read(refusal(bed.plane.kubeconfig(NOBODY), write(bed)), move, Cause.FORBIDDEN)


def test_missing_right_to_block_the_deletion_of_an_owner_is_told(bed: Bed) -> None:
    """The plugin OwnerReferencesPermissionEnforcement is off by default; some clusters use it."""
    body = pod("new")
    body["metadata"]["ownerReferences"] = [OWNER]
    login = bed.plane.kubeconfig(EDITOR)
    error = refusal(login, Write("create", bed.pods, body))
    assert_read(error, Move.CREATE, Cause.FORBIDDEN)
    body["metadata"]["ownerReferences"] = [OWNER | {"kind": "Unknown"}]
    error = refusal(login, Write("create", bed.pods, body))
    assert_read(error, Move.CREATE, Cause.DEPENDENCY)


def test_token_that_is_not_accepted_says_nothing_of_the_move(bed: Bed, tmp_path: Path) -> None:
    config = json.loads(bed.operator.read_text())
    config["users"][0]["user"] = {"token": "no"}
    login = tmp_path / "kubeconfig"
    login.write_text(json.dumps(config))
    error = refusal(login, Write("create", bed.pods, pod()))
    assert isinstance(error, Unauthorized)
    assert_read(error, Move.CREATE, Cause.API_SERVER)


def test_priority_that_its_class_does_not_have_is_a_fault_of_the_template(bed: Bed) -> None:
    """A refusal of admission in words that the operator does not know."""
    error = refusal(bed.plane.kubeconfig(), born(bed, priority=5))
    assert_read(error, Move.CREATE, Cause.TEMPLATE)
