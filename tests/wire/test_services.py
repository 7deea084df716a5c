"""The sweep of services and the reading of ConfigMaps, where one of them is poisonous."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from immutable_operator.domain.model import CONFIG_MAP, Source
from immutable_operator.kube.errors import ApiError
from immutable_operator.kube.store import Owners
from immutable_operator.runtime.contents import Contents
from immutable_operator.runtime.host import OwnerReader, sweep
from immutable_operator.wire.config import ConfigRecord, Configs
from immutable_operator.wire.owner import SERVICE, OwnerRecord
from tests.wire.api import Api, page, serving, until

IMAGE = "registry.example/web@sha256:" + "9f" * 32


def body(name: str, version: Any = "5") -> dict[str, Any]:
    reads = [{"configMapRef": {"name": "settings"}}]
    template = {"spec": {"containers": [{"name": "web", "image": IMAGE, "envFrom": reads}]}}
    meta = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": version}
    return {"metadata": meta, "spec": {"template": template}}


def test_unreadable_service_keeps_its_last_state_and_hides_no_other() -> None:
    async def run() -> None:
        told: list[str] = []
        reader = OwnerReader.of(SERVICE, told.append)
        services: Owners[OwnerRecord] = Owners(lambda uid: None)
        api = Api()
        first = page(body("one"), body("two"), body("gone"))
        api.pages += [
            first,
            first,
            page(body("one", "abc"), body("two", "6"), b"null", body("new")),
        ]
        async with serving(api) as client:
            await sweep(client, services, reader)
            for _ in range(3):
                await sweep(client, services, reader)
        assert {s.name for s in services} == {"one", "two", "new"}
        assert len(told) == 2, "each is told once, not with each sweep"

    asyncio.run(run())


def test_sweep_lists_metadata_only_if_the_watch_brings_what_is_missing() -> None:
    async def run() -> None:
        services: Owners[OwnerRecord] = Owners(lambda uid: None)
        services.upsert(OwnerRecord.of(body("one", "4")))
        services.upsert(OwnerRecord.of(body("gone", "4")))
        api = Api()
        api.pages.append(page(body("one", "5"), body("two", "6"), version=7))
        async with serving(api) as client:
            sweeping = asyncio.create_task(sweep(client, services, OwnerReader.of(SERVICE)))
            await until(lambda: api.lists)
            for name, version in {"one": "5", "two": "6", "later": "8"}.items():
                await asyncio.sleep(0.1)
                services.upsert(OwnerRecord.of(body(name, version)))
                assert not sweeping.done()
            await asyncio.sleep(0.1)
            assert not sweeping.done()
            services.remove("uid-gone")
            assert await sweeping == 0
        assert len(api.lists) == 1
        assert {s.name for s in services} == {"one", "two", "later"}

    asyncio.run(run())


@pytest.mark.parametrize("missing", ["new", "changed", "gone"])
def test_sweep_takes_in_what_the_watch_does_not_bring(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("immutable_operator.runtime.host.NO_PROGRESS_SECONDS", 0.1)

    async def run() -> None:
        services: Owners[OwnerRecord] = Owners(lambda uid: None)
        known = {"new": ["one"], "changed": ["one", "two"], "gone": ["one", "two", "three"]}
        for name in known[missing]:
            services.upsert(OwnerRecord.of(body(name, "4")))
        two = "5" if missing == "changed" else "4"
        changed = {**body("two", two), "status": {"desiredReplicas": int(two)}}
        api = Api()
        api.pages.append(page(body("one", "4"), changed, version=7))
        async with serving(api) as client:
            assert await sweep(client, services, OwnerReader.of(SERVICE)) == 1
        assert len(api.lists) == 2
        assert {(s.name, s.version) for s in services} == {("one", 4), ("two", int(two))}

    asyncio.run(run())


LISTS = [b"<html>", b"{}", b'{"metadata":{"resourceVersion":"x"}}', page(successor="a")]


@pytest.mark.parametrize("said", LISTS)
def test_invalid_list_of_services_is_an_ordinary_error(said: bytes) -> None:
    async def run() -> None:
        api = Api()
        api.pages.append(said)
        async with serving(api) as client:
            with pytest.raises(ApiError):
                await sweep(client, Owners(lambda uid: None), OwnerReader.of(SERVICE))

    asyncio.run(run())


META = {"name": "settings", "namespace": "shop", "uid": "c", "resourceVersion": "7"}
ODD: list[Any] = [
    {"metadata": META, "data": {"a": "b"}},  # no time of its creation
    {"metadata": {**META, "creationTimestamp": "soon"}},
    {"metadata": {**META, "resourceVersion": "-7"}},
    {"metadata": None},
    {"metadata": META, "data": ["a"]},
]


@pytest.mark.parametrize("odd", ODD)
def test_unreadable_config_map_is_reported_and_ends_nothing(odd: Any) -> None:
    async def run() -> None:
        api = Api()

        async def answer(request: web.Request) -> web.StreamResponse:
            return web.json_response(odd)

        api.pages.append(answer)
        told: list[str] = []
        configs = Configs(CONFIG_MAP, lambda kind, item, anew: None)
        configs.upsert(ConfigRecord("shop", "settings", 1.0, 7), 7)
        async with serving(api) as client:
            contents = Contents(client, configs, told.append)
            reading = asyncio.create_task(contents.run())
            service = OwnerRecord.of(json.loads(json.dumps(body("one"))))
            assert contents.look(service, ())[0] == {}
            await until(lambda: told or reading.done())
            assert not reading.done()
            found: Source = contents.look(service, ())[0][CONFIG_MAP, "settings"]
            assert found.digest is None
            assert found.problem
            reading.cancel()

    asyncio.run(run())
