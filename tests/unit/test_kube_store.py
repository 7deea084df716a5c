"""The store: owners of children, holders of names, and what a list keeps."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from msgspec import structs

from immutable_operator.domain.model import Instance
from immutable_operator.instances.pods.codec import PodRecord
from immutable_operator.instances.pods.watched import Pods
from immutable_operator.kube.reading import Identity
from immutable_operator.kube.store import Children, Owners


@dataclass(frozen=True)
class Thing:
    uid: str
    owner: str = "s1"
    namespace: str = "shop"
    content: object = None


@dataclass(frozen=True)
class Service:
    uid: str
    namespace: str = "shop"
    name: str = "web"
    version: int = 1
    content: object = None

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


def children(home: str | None = "shop") -> Children[Thing]:
    return Children(lambda owner: None, lambda owner: home)


def test_child_in_another_namespace_has_no_owner() -> None:
    store = children()
    store.replace([Thing("a"), Thing("forged", namespace="elsewhere")], 5)
    assert [child.uid for child in store.of("s1")] == ["a"]
    store.upsert(Thing("later", namespace="elsewhere"), 6)
    assert [child.uid for child in store.of("s1")] == ["a"]


def test_children_are_kept_before_their_owner_is_known() -> None:
    store = children(home=None)
    store.replace([Thing("a"), Thing("b", namespace="elsewhere")], 5)
    assert {child.uid for child in store.of("s1")} == {"a", "b"}


def pod(uid: str, namespace: str = "shop") -> PodRecord:
    instance = Instance(name=uid, uid=uid, revision="r", slot=0, incarnation=0, born=0.0)
    return PodRecord(uid, "s1", instance, namespace)


def test_deleted_forged_pod_is_not_reported() -> None:
    pods = Pods(lambda owner: None, lambda record: None, lambda owner: "shop")
    pods.replace([pod("a"), pod("forged", "elsewhere")], 5)
    pods.replace([], 6)
    assert set(pods.gone("s1")) == {"a"}


def test_pods_of_a_service_share_equal_forms() -> None:
    def with_form(name: str, letter: str) -> PodRecord:
        return structs.replace(pod(name), form=bytes([ord(letter)]) * 9)

    pods = Pods(lambda owner: None, lambda record: None)
    pods.upsert(with_form("a", "x"), 5)
    pods.upsert(with_form("b", "x"), 6)
    pods.upsert(with_form("c", "y"), 7)
    pods.upsert(with_form("d", "y"), 8)
    pods.upsert(with_form("a", "x"), 9)
    forms = {each.content.name: each.form for each in pods.of("s1")}
    assert {name: form[:1] for name, form in forms.items()} == dict(
        zip("abcd", (b"x", b"x", b"y", b"y"), strict=True)
    )
    assert forms["a"] is forms["b"]
    assert forms["c"] is forms["d"]


def test_list_replaces_the_store_even_with_an_older_version() -> None:
    store = children()
    store.replace([Thing("a")], 50)
    store.advance(60)
    store.advance(55)
    assert store.version == 60
    store.replace([Thing("a")], 7)
    assert store.version == 7


def test_object_is_found_by_its_uid() -> None:
    store = children()
    store.upsert(Thing("a"), 5)
    assert store.known(Identity(uid="a", version="6")) == Thing("a")
    assert store.known(Identity(uid="b")) is None
    assert store.known(Identity()) is None


def owners() -> Owners[Service]:
    return Owners(lambda uid: None)


def test_owner_is_found_by_its_name() -> None:
    store = owners()
    store.upsert(Service("u1"))
    store.upsert(Service("u2", name="api"))
    store.upsert(Service("u3", namespace="elsewhere"))
    assert store.named("shop/web") == Service("u1")
    assert store.named("shop/api") == Service("u2", name="api")
    assert store.named("shop/none") is None
    assert (store.home("u3"), store.home("u9")) == ("elsewhere", None)


@pytest.mark.parametrize("first", ["old", "new"])
def test_younger_object_of_a_name_wins_until_the_older_is_deleted(
    first: str,
) -> None:
    old, new = Service("u1", version=5), Service("u2", version=9)
    store = owners()
    for owner in (old, new) if first == "old" else (new, old):
        store.upsert(owner)
    assert store.named("shop/web") == new
    store.remove("u1")
    assert store.named("shop/web") == new
    store.remove("u2")
    assert store.named("shop/web") is None
    assert store._by_key == {}


def test_sweep_keeps_unreadable_objects() -> None:
    store = owners()
    store.upsert(Service("u1"))
    store.upsert(Service("u2", name="api"))
    assert store.sweep([], 10, {"u1"}) == 1
    assert store.named("shop/web") is not None
    assert store.named("shop/api") is None


def test_older_event_of_an_owner_is_ignored() -> None:
    told: list[str] = []
    store: Owners[Service] = Owners(told.append)
    store.upsert(Service("u1", version=9, content="new"))
    store.upsert(Service("u1", version=5, content="old"))
    assert store.get("u1") == Service("u1", version=9, content="new")
    assert told == ["u1"]
    store.sweep([Service("u1", version=7, content="old")], 12)
    assert store.get("u1") == Service("u1", version=9, content="new")
    store.upsert(Service("u1", version=10, content="newest"))
    assert store.get("u1") == Service("u1", version=10, content="newest")
    assert told == ["u1", "u1"]


def test_deleted_owner_is_not_restored_by_an_old_event_or_list() -> None:
    store = owners()
    store.upsert(Service("u1", version=5))
    store.remove("u1")
    store.upsert(Service("u1", version=5))
    store.upsert(Service("u1", version=99))
    assert store.sweep([Service("u1", version=5)], 4) == 0
    assert (store.get("u1"), len(store)) == (None, 0)
    store.upsert(Service("u2", version=6))
    assert store.named("shop/web") == Service("u2", version=6), "a new one of that name"


def test_deletion_before_the_creation_event_counts() -> None:
    store = owners()
    store.remove("u1")
    store.upsert(Service("u1", version=5))
    assert store.get("u1") is None


def test_sweep_removes_missing_objects_unless_they_are_younger() -> None:
    told: list[str] = []
    store: Owners[Service] = Owners(told.append)
    store.upsert(Service("u1", version=5))
    store.upsert(Service("u2", name="api", version=20))
    told.clear()
    assert store.sweep([], 10) == 1
    assert [owner.uid for owner in store] == ["u2"]
    assert told == ["u1"]
    store.upsert(Service("u1", version=5))
    assert store.get("u1") is None, "what a sweep forgot does not come back, either"


def test_list_removes_vanished_children_and_reports_their_owner() -> None:
    told: list[str] = []
    store: Children[Thing] = Children(told.append)
    store.replace([Thing("a"), Thing("b", owner="s2"), Thing("c")], 5)
    told.clear()
    store.replace([Thing("c")], 9)
    assert sorted(told) == ["s1", "s2"]
    assert [child.uid for child in store.of("s1")] == ["c"]
    assert list(store.of("s2")) == []
    assert (store.get("a"), store.get("b"), len(store)) == (None, None, 1)


def test_child_that_changes_its_owner_leaves_the_first_owner() -> None:
    told: list[str] = []
    store: Children[Thing] = Children(told.append)
    store.upsert(Thing("a"), 5)
    store.upsert(Thing("a", owner="s2"), 6)
    assert list(store.of("s1")) == []
    assert [child.uid for child in store.of("s2")] == ["a"]
    assert told == ["s1", "s1", "s2"]


def test_irrelevant_changes_are_not_reported() -> None:
    told: list[str] = []
    store: Children[Thing] = Children(told.append)
    store.upsert(Thing("a", content=1), 5)
    store.upsert(Thing("a", content=1), 6)
    assert (told, store.version) == (["s1"], 6)
    store.upsert(Thing("a", content=2), 7)
    store.remove(Thing("a"), 8)
    store.remove(Thing("a"), 9)
    assert (told, store.version) == (["s1", "s1", "s1"], 9)
