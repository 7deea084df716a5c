"""The model API server answers as a real one does, where the operator depends on it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from immutable_operator.kube.errors import Conflict, Forbidden, NotFound, ServerTrouble
from immutable_operator.kube.errors import TooManyRequests as Throttled
from tests.simulation.world.api import ModelApi, Request
from tests.simulation.world.clock import VirtualLoop
from tests.simulation.world.people import PODS, SERVICES, template

SERVICE = {"metadata": {"name": "web"}, "spec": {"replicas": 3, "template": template("A")}}


@pytest.fixture
def api() -> Iterator[ModelApi]:
    loop = VirtualLoop()
    yield ModelApi(loop)
    loop.close()


def _pod(api: ModelApi, name: str, *, ready: bool = True) -> dict[str, Any]:
    body = {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": template("A")["spec"]}
    made = api.ask("kubectl", "POST", PODS, body)
    conditions = [{"type": "Ready", "status": str(ready)}]
    status = {"phase": "Running", "conditions": conditions}
    api.put_status("kubelet", ("shop", name), status, {"nodeName": "n1"})
    return made


def test_name_is_unique_and_the_uid_is_a_precondition(api: ModelApi) -> None:
    made = _pod(api, "web-1")
    with pytest.raises(Conflict, match="already exists"):
        _pod(api, "web-1")
    with pytest.raises(Conflict, match="the UID in the precondition"):
        api.ask("me", "DELETE", f"{PODS}/web-1", {"preconditions": {"uid": "another"}})
    api.ask("me", "DELETE", f"{PODS}/web-1", {"preconditions": {"uid": made["metadata"]["uid"]}})
    assert "deletionTimestamp" in api.ask("me", "GET", f"{PODS}/web-1")["metadata"]
    api.ask("me", "DELETE", f"{PODS}/web-1", {"gracePeriodSeconds": 0})
    with pytest.raises(NotFound):
        api.ask("me", "GET", f"{PODS}/web-1")


def test_eviction_respects_the_budget_and_fails_with_two_budgets(api: ModelApi) -> None:
    for name in ("web-1", "web-2"):
        _pod(api, name)
    api.budgets["web"] = {"labels": {"app": "web"}, "minAvailable": 2}
    with pytest.raises(Throttled, match="needs 2 healthy pods and has 2 currently"):
        api.ask("me", "POST", f"{PODS}/web-1/eviction", {})
    api.budgets["all"] = {"labels": {"app": "web"}, "minAvailable": 0}
    with pytest.raises(ServerTrouble, match="more than one PodDisruptionBudget"):
        api.ask("me", "POST", f"{PODS}/web-1/eviction", {})
    api.budgets = {"all": api.budgets["all"]}
    api.ask("me", "POST", f"{PODS}/web-1/eviction", {})
    assert "deletionTimestamp" in api.ask("me", "GET", f"{PODS}/web-1")["metadata"]


def test_quota_refuses_the_next_pod(api: ModelApi) -> None:
    api.quota = 1
    _pod(api, "web-1")
    with pytest.raises(Forbidden, match="exceeded quota"):
        _pod(api, "web-2")


def test_status_is_separate_from_the_spec_and_owned_by_its_applier(api: ModelApi) -> None:
    api.ask("jane", "POST", SERVICES, SERVICE)
    path = f"{SERVICES}/web/status"
    ours = {"query": {"fieldManager": "us", "force": "true"}, "content": "application/apply"}
    api.ask("us", "PATCH", path, {"status": {"replicas": 1, "selector": "a"}}, **ours)
    api.ask("m", "PATCH", path, {"status": {"replicas": 7}}, query={"fieldManager": "mallory"})
    api.ask("us", "PATCH", path, {"status": {"replicas": 1}}, **ours)
    found = api.ask("me", "GET", f"{SERVICES}/web")
    assert found["status"] == {"observedGeneration": -1, "replicas": 1}
    assert found["metadata"]["generation"] == 1
    managers = {e["manager"] for e in found["metadata"]["managedFields"]}
    assert managers == {"jane", "us"}


def test_unchanged_apply_makes_no_commit(api: ModelApi) -> None:
    api.ask("jane", "POST", SERVICES, SERVICE)
    ours = {"query": {"fieldManager": "us"}, "content": "application/apply"}
    for _ in range(2):
        api.ask("us", "PATCH", f"{SERVICES}/web/status", {"status": {"replicas": 1}}, **ours)
    assert len(api.storage.history["immutableservices"]) == 2


def test_pages_of_a_list_are_of_one_version(api: ModelApi) -> None:
    for number in range(3):
        _pod(api, f"web-{number}")
    api.page = 2
    first = api.ask("me", "GET", PODS, query={"limit": "500"})
    _pod(api, "web-3")
    second = api.ask("me", "GET", PODS, query={"continue": first["metadata"]["continue"]})
    names = [p["metadata"]["name"] for page in (first, second) for p in page["items"]]
    assert names == ["web-0", "web-1", "web-2"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def _lines(api: ModelApi, since: int, seconds: float, selector: str = "") -> list[tuple[str, str]]:
    """What a watch tells within so many seconds."""
    query = {"resourceVersion": str(since), "labelSelector": selector}
    stream = api.watch(Request("me", "GET", PODS, query=query), 70.0, lambda: 0.5)
    told: list[tuple[str, str]] = []

    async def read() -> None:
        async for chunk in stream.iter_any():
            for line in filter(None, chunk.split(b"\n")):
                event = msgspec.json.decode(line)
                told.append((event["type"], event["object"].get("metadata", {}).get("name", "")))

    async def both() -> None:
        try:
            async with asyncio.timeout(seconds):
                await read()
        except TimeoutError:
            return

    api.loop.run_until_complete(both())
    return told


def test_watch_sends_later_events_and_then_bookmarks(api: ModelApi) -> None:
    _pod(api, "web-1")
    since = api.storage.version
    _pod(api, "web-2")
    assert _lines(api, since, 0.1) == []
    assert _lines(api, since, 61) == [("ADDED", "web-2"), ("MODIFIED", "web-2"), ("BOOKMARK", "")]


def test_object_leaving_the_selection_is_deleted_for_a_watch(api: ModelApi) -> None:
    _pod(api, "web-1")
    since = api.storage.version
    api.ask("me", "PATCH", f"{PODS}/web-1", {"metadata": {"labels": {"app": None}}})
    assert _lines(api, since, 1, "app") == [("DELETED", "web-1")]


def test_compacted_version_is_gone(api: ModelApi) -> None:
    _pod(api, "web-1")
    api.storage.compact()
    assert [kind for kind, _ in _lines(api, 1, 1)] == ["ERROR"]
