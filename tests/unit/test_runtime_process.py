"""Which owners one change of an object causes to be planned, found without a search."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes.aio.client import Configuration

from immutable_operator.domain.model import CONFIG_MAP, Revision
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.store import Owners
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.process import Operator, Options
from immutable_operator.wire.action import decode_action
from immutable_operator.wire.config import ConfigRecord
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.revision import RevisionRecord

IMAGE = "registry.example/web@sha256:" + "9f" * 32


class Asked:
    """The operator's queue, and only what it was asked for."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def add(self, key: str) -> None:
        self.keys.add(key)

    add_later = add

    def postpone(self, seconds: float) -> None:
        """The order of keys does not count here."""

    def take(self) -> set[str]:
        taken, self.keys = self.keys, set()
        return taken


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    found = Asked()
    monkeypatch.setattr("immutable_operator.runtime.process.KeyQueue", lambda clock: found)
    return found


@pytest.fixture
def operator(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    client = KubeClient(Configuration(host="http://127.0.0.1:1"))
    made = Operator(Options(namespace="ns", identity="me"), client, Metrics())
    for number in range(50):
        read = "settings" if number % 10 == 0 else f"other-{number}"
        made._watches.owners.upsert(service(number, read))
    asked.take()

    def search(owners: Owners[Any]) -> Iterator[Any]:
        raise AssertionError("all services were searched")

    monkeypatch.setattr(Owners, "__iter__", search)
    yield made
    asyncio.run(client.close())


def service(number: int, read: str, namespace: str = "shop") -> OwnerRecord:
    reads = [{"configMapRef": {"name": read}}]
    template = {"spec": {"containers": [{"name": "web", "image": IMAGE, "envFrom": reads}]}}
    meta = {"name": f"web-{number}", "namespace": namespace, "uid": f"u{number}"}
    return OwnerRecord.of(
        {"metadata": {**meta, "resourceVersion": "5"}, "spec": {"template": template}}
    )


def test_changed_config_map_concerns_only_its_readers(operator: Operator, asked: Asked) -> None:
    configs = operator._watches.configs[CONFIG_MAP]
    configs.upsert(ConfigRecord("shop", "settings", 1.0, 7), 7)
    assert asked.take() == {"u0", "u10", "u20", "u30", "u40"}
    configs.upsert(ConfigRecord("elsewhere", "settings", 1.0, 8), 8)
    assert asked.take() == set()
    operator._watches.owners.remove("u10")
    asked.take()
    configs.upsert(ConfigRecord("shop", "settings", 2.0, 9), 9)
    assert asked.take() == {"u0", "u20", "u30", "u40"}


def test_action_concerns_the_service_of_its_name(operator: Operator, asked: Asked) -> None:
    meta = {"name": "now", "namespace": "shop", "uid": "a1", "resourceVersion": "5"}
    body = {
        "metadata": {**meta, "creationTimestamp": "2026-11-22T01:00:00Z"},
        "spec": {"service": "web-7", "actor": "alice"},
    }
    operator._watches.actions.upsert(decode_action(json.dumps(body).encode()), 5)
    assert asked.take() == {"u7"}


def test_record_in_another_namespace_is_ignored(operator: Operator) -> None:
    forged = Revision("0a1b2c3d", 9, "v2:0", "forged", "r9")
    mine = Revision("0a1b2c3d", 1, "v2:0", "mine", "r1")
    operator._watches.revisions.upsert(RevisionRecord("r9", "u7", forged, "elsewhere"), 5)
    operator._watches.revisions.upsert(RevisionRecord("r1", "u7", mine, "shop"), 6)
    assert [record.content.name for record in operator._watches.revisions.of("u7")] == ["mine"]


def test_every_reflector_counts_unreadable_objects(operator: Operator) -> None:
    for reflector in operator._watches.reflectors:
        reflector._reader.read(b"null")
        value = operator._metrics.registry.get_sample_value(
            "immutable_unreadable_objects_total", {"resource": reflector.resource}
        )
        assert value == 1.0, reflector.resource


def test_what_is_heard_after_the_first_lists_is_planned_before_what_they_brought(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also if the lease is taken a moment after the start, as in an upgrade."""

    async def story() -> None:
        client = KubeClient(Configuration(host="http://127.0.0.1:1"))
        operator = Operator(Options(namespace="ns", identity="me"), client, Metrics())
        for number in range(5):
            operator._watches.owners.upsert(service(number, "settings"))
        operator._swept.set()
        for reflector in operator._watches.reflectors:
            reflector.synced.set()

        async def acquired() -> None:
            operator._queue.add("u3")
            operator._lease.acquired.set()
            await asyncio.Event().wait()

        async def looked() -> None:
            operator._watches.all_again()
            assert await operator._queue.get() == "u3"
            raise Planned

        monkeypatch.setattr(operator._lease, "run", acquired)
        monkeypatch.setattr(operator._watches.guards, "look", looked)
        with pytest.raises(Planned):
            await operator._lead()
        await client.close()

    asyncio.run(story())


class Planned(Exception):
    """The first look of a new leader, which ends the test."""


HANDED_OVER = {"pods": 7}


@pytest.mark.parametrize(
    ("took_over", "seen", "owners_late", "read"),
    [
        (False, {}, True, []),
        # The owners are listed beside the rest.
        (True, {}, True, ["refresh begins", "sweep", "refresh is complete"]),
        (True, HANDED_OVER, False, ["refresh begins", "refresh is complete"]),
        (True, HANDED_OVER, True, ["refresh begins", "refresh is complete", "sweep"]),
    ],
    ids=["first", "after a killed one", "handed over", "handed over, services late"],
)
def test_new_leader_reads_what_it_may_lack(
    operator: Operator,
    took_over: bool,
    seen: dict[str, int],
    owners_late: bool,
    read: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[str] = []

    async def refresh(given: dict[str, int]) -> bool:
        assert given == seen
        steps.append("refresh begins")
        for _ in range(3):
            await asyncio.sleep(0)
        steps.append("refresh is complete")
        return owners_late

    async def sweep() -> int:
        steps.append("sweep")
        return 0

    async def look() -> None:
        steps.append("looks")
        raise Planned

    monkeypatch.setattr(operator._watches, "refresh", refresh)
    monkeypatch.setattr(operator, "_sweep", sweep)
    monkeypatch.setattr(operator._watches.guards, "look", look)

    async def run() -> None:
        work = asyncio.create_task(operator._work())
        for _ in range(10):
            await asyncio.sleep(0)
        assert steps == [], "it does not lead yet"
        operator._lease.took_over, operator._lease.handed_over = took_over, seen
        operator._lease.acquired.set()
        with pytest.raises(Planned):
            await work

    asyncio.run(run())
    assert steps == [*read, "looks"]
