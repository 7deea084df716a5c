"""Which nodes are about to go, as their objects say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from immutable_operator.domain.model import NodeEnd
from immutable_operator.instances.nodes.watched import Nodes
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.wire.node import ENDING_TAINTS, NodeRecord, decode_node


def node(name: str = "n1", deleted: bool = False, **spec: Any) -> bytes:
    meta: dict[str, Any] = {"name": name, "uid": f"uid-{name}", "resourceVersion": "7"}
    if deleted:
        meta["deletionTimestamp"] = "2026-11-27T00:00:00Z"
    return json.dumps({"metadata": meta, "spec": spec}).encode()


def taint(key: str, effect: str = "NoSchedule") -> dict[str, str]:
    return {"key": key, "effect": effect}


@pytest.mark.parametrize("key", sorted(ENDING_TAINTS))
def test_taint_announces_the_end_of_a_node(key: str) -> None:
    found = decode_node(node(taints=[taint("a"), taint(key)], unschedulable=True))
    assert (found.cause, found.announced) == (f"has the taint {key}", True)


def test_node_that_is_being_deleted_ends() -> None:
    found = decode_node(node(deleted=True))
    assert (found.cause, found.announced) == ("is being deleted", True)


def test_cordon_announces_nothing() -> None:
    cordon = [taint("node.kubernetes.io/unschedulable")]
    found = decode_node(node(unschedulable=True, taints=cordon))
    assert (found.cause, found.announced) == ("is cordoned", False)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"taints": None, "unschedulable": None},
        {"taints": [taint("node.kubernetes.io/not-ready", "NoExecute")]},
        {"taints": [taint("node.kubernetes.io/unreachable", "NoExecute")]},
        {"taints": [taint("DeletionCandidateOfClusterAutoscaler", "PreferNoSchedule")]},
        {"taints": [taint("node.cluster.x-k8s.io/outdated-revision", "PreferNoSchedule")]},
        {"taints": [taint("immutable.dev/unverified")]},
    ],
)
def test_node_stays(spec: dict[str, Any]) -> None:
    assert decode_node(node(**spec)).cause == ""


def record(name: str, uid: str, cause: str = "", *, announced: bool = False) -> NodeRecord:
    return NodeRecord(ObjectMeta(name, uid), cause, announced)


class Ends:
    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[str] = []
        self.ends = Nodes(lambda owner: None, self.told.append, lambda: self.now)

    def see(self, cause: str, *, announced: bool = True, name: str = "n1") -> None:
        self.ends.upsert(record(name, f"uid-{name}", cause, announced=announced), 1)


def test_end_counts_from_when_it_was_seen_first() -> None:
    seen = Ends()
    seen.see("has the taint a")
    seen.now = 200.0
    seen.see("has the taint a")
    seen.see("is being deleted")
    assert seen.ends.ends == {"n1": NodeEnd(100.0, "is being deleted")}
    assert seen.told == ["n1", "n1"]


def test_heartbeat_wakes_no_owner() -> None:
    seen = Ends()
    for _ in range(3):
        seen.see("", announced=False)
    assert seen.told == []
    assert not seen.ends.ends


def test_cordon_that_becomes_an_end_counts_again() -> None:
    seen = Ends()
    seen.see("is cordoned", announced=False)
    seen.now = 200.0
    seen.see("has the taint a")
    assert seen.ends.ends == {"n1": NodeEnd(200.0, "has the taint a")}


def test_end_is_over_when_it_is_taken_back_or_the_node_is_gone() -> None:
    seen = Ends()
    for name in ("n1", "n2", "n3"):
        seen.see("has the taint a", name=name)
    seen.see("", announced=False, name="n1")
    seen.ends.remove(record("n2", "uid-n2"), 2)
    seen.ends.replace([], 3)
    assert not seen.ends.ends
    assert seen.told == ["n1", "n2", "n3", "n1", "n2", "n3"]


def test_end_of_another_node_with_the_same_name_counts_on_its_own() -> None:
    seen = Ends()
    seen.see("has the taint a")
    seen.now = 200.0
    seen.ends.upsert(record("n1", "uid-new", "has the taint a", announced=True), 2)
    assert seen.ends.ends == {"n1": NodeEnd(200.0, "has the taint a")}
