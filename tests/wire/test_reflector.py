"""The reflector over a real connection: what is poisonous, what is silent, what has no end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import pytest
from aiohttp import web

from immutable_operator.domain.model import Backoff
from immutable_operator.kube import reflector as reflector_module
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.reflector import BRIEF_SECONDS, Reflector
from immutable_operator.kube.store import Children
from immutable_operator.kube.times import moment
from tests.wire.api import PATH, Answer, Api, event, page, serving, thing, until


class Object(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    count: int = 0


class Record(msgspec.Struct, frozen=True):
    uid: str
    namespace: str
    content: tuple[str, int, dict[str, str]]
    owner: str = "owner"


def decode(raw: bytes | msgspec.Raw) -> Record:
    found = msgspec.json.decode(raw, type=Object)
    if born := found.metadata.annotations.get("born"):
        moment(born)
    if deep := found.metadata.annotations.get("deep"):
        msgspec.json.decode(deep)
    content = (found.metadata.name, found.count, found.metadata.labels)
    return Record(found.metadata.uid, found.metadata.namespace, content)


@dataclass
class Bed:
    api: Api
    mirror: Reflector[Record]
    store: Children[Record]
    unreadable: list[str] = field(default_factory=list)

    def known(self) -> dict[str, int]:
        return {record.content[0]: record.content[1] for record in self.store.of("owner")}


@asynccontextmanager
async def bed(api: Api) -> AsyncIterator[Bed]:
    async with serving(api) as client:
        unreadable: list[str] = []
        store: Children[Record] = Children(lambda owner: None)
        mirror = Reflector(client, PATH, "things", decode, store, unreadable=unreadable.append)
        running = asyncio.create_task(mirror.run())
        try:
            yield Bed(api, mirror, store, unreadable)
            assert not running.done(), "the reflector ended"
        finally:
            running.cancel()
            await asyncio.wait([running])


def story(told: Callable[[Bed], Awaitable[None]], *pages: bytes) -> None:
    async def run() -> None:
        api = Api()
        api.pages += pages
        async with bed(api) as it:
            await told(it)

    asyncio.run(run())


def annotated(name: str, version: int = 1, **annotations: str) -> dict[str, object]:
    made = thing(name, version)
    made["metadata"]["annotations"] = annotations
    return made


DEEP = "[" * 5000 + "]" * 5000
POISON = [
    pytest.param(annotated("bad", 20, deep=DEEP), id="deep JSON in an annotation"),
    pytest.param(annotated("bad", 20, born="yesterday"), id="a date that is none"),
    pytest.param(annotated("bad", 20, born="2026-13-01t00:00:00z"), id="a month that is none"),
    pytest.param(thing("bad", 20, count="many"), id="a text for a number"),
    pytest.param(thing("bad", 20, count=1.5), id="a fraction for a number"),
    pytest.param(
        b'{"metadata":{"name":"bad","uid":"uid-bad","resourceVersion":"20"},"count":1e400}',
        id="a number out of range",
    ),
    pytest.param(b"null", id="null for an object"),
    pytest.param(b"[]", id="a list for an object"),
    pytest.param(b'{"metadata":null}', id="no metadata"),
    pytest.param(b'{"metadata":{"name":7,"uid":"uid-bad","resourceVersion":"20"}}', id="no name"),
]
HARMLESS = [
    pytest.param(
        f'{{"metadata":{{"name":"ok","uid":"uid-ok","resourceVersion":"20"}},"x":{DEEP}}}'.encode(),
        id="deep JSON that no field reads",
    ),
    pytest.param(
        b'{"metadata":{"name":"ok","uid":"uid-ok","resourceVersion":"20","labels":null,'
        b'"annotations":null,"ownerReferences":[null]},"count":null}',
        id="nulls",
    ),
]


@pytest.mark.parametrize("poison", POISON)
def test_unreadable_object_on_a_list_hides_no_other(poison: object) -> None:
    async def told(it: Bed) -> None:
        await it.mirror.synced.wait()
        assert set(it.known()) == {"one", "two"}
        assert it.unreadable == ["things"]
        assert it.store.version == 10

    story(told, page(thing("one"), poison, thing("two")))


@pytest.mark.parametrize("poison", POISON)
def test_unreadable_event_hides_no_other_and_is_reported_once(poison: object) -> None:
    async def told(it: Bed) -> None:
        await it.api.push(event("ADDED", poison))
        await it.api.push(event("MODIFIED", poison))
        await it.api.push(event("ADDED", thing("two", 30)))
        await until(lambda: "two" in it.known())
        assert set(it.known()) == {"one", "two"}
        assert it.store.version == 30
        assert it.unreadable.count("things") <= 2, "its version, and what it is"
        before = len(it.unreadable)
        await it.api.push(event("MODIFIED", poison))
        await it.api.push(event("ADDED", thing("three", 31)))
        await until(lambda: "three" in it.known())
        assert len(it.unreadable) == before
        assert len(it.api.watches) == 1, "the stream goes on"

    story(told, page(thing("one")))


@pytest.mark.parametrize("odd", HARMLESS)
def test_unusual_readable_object_is_read(odd: bytes) -> None:
    async def told(it: Bed) -> None:
        await it.mirror.synced.wait()
        assert set(it.known()) == {"one", "ok"}
        await it.api.push(event("DELETED", odd))
        await until(lambda: set(it.known()) == {"one"})
        await it.api.push(event("ADDED", odd))
        await until(lambda: set(it.known()) == {"one", "ok"})
        assert it.unreadable == []

    story(told, page(thing("one"), odd))


def test_known_object_is_kept_while_its_new_version_is_unreadable() -> None:
    async def told(it: Bed) -> None:
        await it.mirror.synced.wait()
        await it.api.push(event("MODIFIED", thing("one", 11, count="many")))
        await until(lambda: it.store.version == 11)
        assert it.known() == {"one": 1}
        it.mirror.relist()
        await until(lambda: it.mirror.lists == 2)
        assert it.known() == {"one": 1}, "a list that has it does not forget it"
        assert len(it.unreadable) == 2
        await it.api.push(event("DELETED", thing("one", 21, count="many")))
        await until(lambda: it.known() == {})

    story(told, page(thing("one", 5, count=1)), page(thing("one", 12, count="many"), version=20))


@pytest.mark.parametrize("version", ["-5", "", "abc", "9" * 5000, "١٢", "1_0", " 7", "1e9"])
def test_invalid_resource_version_is_skipped(version: str) -> None:
    async def told(it: Bed) -> None:
        await it.mirror.synced.wait()
        await it.api.push(event("MODIFIED", thing("one", version, count=2)))
        await it.api.push(event("BOOKMARK", thing("", version)))
        await until(lambda: it.known() == {"one": 2})
        assert it.store.version == 10
        await it.api.push(event("MODIFIED", thing("one", 30, count=3)))
        await until(lambda: it.store.version == 30)

    story(told, page(thing("one")))


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"<html>not now</html>", id="a page of a proxy"),
        pytest.param(b"{}", id="an empty object"),
        pytest.param(b'{"metadata":{"resourceVersion":"-1"},"items":[]}', id="an odd version"),
        pytest.param(b'{"metadata":{"resourceVersion":"5"},"items":{}}', id="no list"),
        pytest.param(b'{"metadata":null,"items":null}', id="nulls"),
        pytest.param(b'{"metadata":' + DEEP.encode() + b"}", id="deep"),
        pytest.param(b'{"metadata":{"resourceVersion":"5"},"items":[', id="cut short"),
    ],
)
def test_answer_that_is_no_list_is_requested_again(
    first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflector_module, "RETRY", Backoff(0.0, 0.0))

    async def told(it: Bed) -> None:
        await it.mirror.synced.wait()
        assert set(it.known()) == {"one"}

    story(told, first, page(thing("one")))


def test_null_items_are_an_empty_list() -> None:
    async def told(it: Bed) -> None:
        await it.mirror.synced.wait()
        assert it.known() == {}

    story(told, b'{"metadata":{"resourceVersion":"5","continue":null},"items":null}')


def test_list_with_circular_pages_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector_module, "RETRY", Backoff(0.0, 0.0))

    async def told(it: Bed) -> None:
        await it.mirror.synced.wait()
        assert set(it.known()) == {"one"}

    circle = [page(thing("x"), successor=token) for token in ("a", "b", "a")]
    story(told, *circle, page(thing("one")))


def test_repeated_unreadable_line_is_skipped_by_a_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reflector_module, "RETRY", Backoff(0.0, 0.0))

    async def told(it: Bed) -> None:
        it.api.first_words = [b'{"type":"ADDED","object":{"metadata":{]}}\n']
        await until(lambda: it.mirror.lists == 2)
        it.api.first_words = []
        await until(lambda: set(it.known()) == {"one", "two"})

    story(told, page(thing("one")), page(thing("one"), thing("two"), version=20))


@pytest.mark.parametrize(
    "said",
    [
        b'{"type":"ERROR","object":[]}\n',
        b'{"type":"ERROR","object":{"code":"gone"}}\n',
        b'{"type":"ERROR","object":{"code":410,"details":[1],"message":null}}\n',
        b'{"type":"ERROR","object":{"code":503,"details":{"causes":{"a":1}}}}\n',
    ],
)
def test_error_in_any_form_ends_only_the_stream(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflector_module, "RETRY", Backoff(0.0, 0.0))

    async def told(it: Bed) -> None:
        await it.mirror.synced.wait()
        await it.api.push(said)
        await until(lambda: len(it.api.watches) == 2)

    story(told, page(thing("one")))


def test_future_resource_version_causes_a_new_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This happens after a restored backup; otherwise the watch would fail forever."""
    monkeypatch.setattr(reflector_module, "RETRY", Backoff(0.0, 0.0))
    too_large = (
        b'{"kind":"Status","reason":"Timeout","message":"Too large resource version: 99",'
        b'"code":504,"details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"..."}]}}'
    )

    async def told(it: Bed) -> None:
        it.api.refused.append((504, too_large))
        await until(lambda: it.mirror.lists == 2)
        assert it.store.version == 7, "a list is the truth, even if it goes back"

    story(told, page(thing("one"), version=99), page(thing("one"), version=7))


def test_list_request_interrupts_a_silent_watch_at_once() -> None:
    async def told(it: Bed) -> None:
        await until(lambda: it.api.watches)
        assert it.mirror.lists == 1
        it.mirror.relist()
        await until(lambda: it.mirror.lists == 2)
        await until(lambda: len(it.api.watches) == 2)
        assert it.api.watches[1]["resourceVersion"] == "20"
        assert set(it.known()) == {"two"}

    story(told, page(thing("one")), page(thing("two"), version=20))


def brief(api: Api) -> list[bool]:
    """Of each watch, whether it was opened for a few seconds only."""
    return [watch["timeoutSeconds"] == str(BRIEF_SECONDS) for watch in api.watches]


def test_brief_watch_that_ends_without_a_bookmark_delays_no_later_one() -> None:
    async def told(it: Bed) -> None:
        await until(lambda: it.api.watches)
        it.mirror.hurry()
        await until(lambda: brief(it.api) == [False, True])
        it.mirror._resumed = lambda resource: it.mirror.hurry(12)
        it.api.close()
        await until(lambda: brief(it.api) == [False, True, True])

    story(told, page())


def test_list_ends_the_hurry_for_a_version_that_a_backup_does_not_have() -> None:
    async def told(it: Bed) -> None:
        await until(lambda: it.api.watches)
        it.mirror.hurry(50)
        await until(lambda: brief(it.api) == [False, True])
        it.mirror.relist()
        await until(lambda: brief(it.api) == [False, True, False])
        await it.api.push(event("BOOKMARK", thing("", 6)))
        await it.api.push(event("ADDED", thing("new", 7)))
        await until(lambda: "new" in it.known())
        it.api.close()
        await until(lambda: brief(it.api) == [False, True, False, False])

    story(told, page(version=40), page(version=5))


def test_only_a_list_started_after_the_mark_counts() -> None:
    """A list in progress may lack what was written before the request."""

    async def told(it: Bed) -> None:
        await it.mirror.synced.wait()
        under_way, go_on = asyncio.Event(), asyncio.Event()

        async def held(request: web.Request) -> web.StreamResponse:
            under_way.set()
            await go_on.wait()
            return web.Response(
                body=page(thing("one"), version=20), content_type="application/json"
            )

        it.api.pages[:] = [held, page(thing("one"), thing("two"), version=30)]
        it.mirror.relist()
        await under_way.wait()
        seen = it.mirror.mark()
        it.mirror.relist()
        go_on.set()
        await until(lambda: it.mirror.lists == 2)
        assert not seen(), "that list began before"
        await until(seen)
        assert it.mirror.lists == 3
        assert it.store.version == 30

    story(told, page(thing("one")))


def test_failed_list_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector_module, "RETRY", Backoff(0.0, 0.0))

    async def told(it: Bed) -> None:
        await it.mirror.synced.wait()

        async def broken(request: web.Request) -> web.StreamResponse:
            return web.Response(status=503, body=b'{"details":["no"],"message":["no"]}')

        it.api.pages[:] = [broken, broken, page(thing("two"), version=20)]
        seen = it.mirror.mark()
        it.mirror.relist()
        await until(seen)
        assert set(it.known()) == {"two"}

    story(told, page(thing("one")))


GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}


@pytest.mark.parametrize("told_by", ["an event", "the answer"])
def test_expired_watch_is_listed_again_and_drops_vanished_objects(
    told_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflector_module, "RETRY", Backoff(0.0, 0.0))

    async def told(it: Bed) -> None:
        await until(lambda: it.api.watches)
        assert set(it.known()) == {"one", "two"}
        if told_by == "an event":
            await it.api.push(event("ERROR", GONE))
        else:
            it.api.refused.append((410, msgspec.json.encode(GONE)))
            it.api.close()
        await until(lambda: it.mirror.lists == 2)
        assert set(it.known()) == {"two"}
        await until(lambda: it.api.watches[-1]["resourceVersion"] == "30")

    story(told, page(thing("one"), thing("two")), page(thing("two"), version=30))


def test_ended_watch_is_resumed_without_a_list() -> None:
    async def told(it: Bed) -> None:
        await until(lambda: it.api.watches)
        await it.api.push(event("MODIFIED", thing("one", 12, count=3)))
        await until(lambda: it.known() == {"one": 3})
        it.api.close()
        await until(lambda: len(it.api.watches) == 2)
        assert it.api.watches[1]["resourceVersion"] == "12"
        assert it.mirror.lists == 1

    story(told, page(thing("one")))


def missing(status: int = 404) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        body = {"kind": "Status", "reason": "NotFound", "message": "no such resource"}
        return web.json_response(body, status=status)

    return answer


def optional(*pages: bytes | Answer) -> tuple[Api, list[bool], Children[Record]]:
    api = Api()
    api.pages += pages
    return api, [], Children(lambda owner: None)


def test_collection_that_is_not_installed_delays_no_start_and_is_read_once_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reflector_module, "ABSENT", Backoff(0.0, 0.0))

    async def told() -> None:
        api, served, store = optional(missing(), missing(), page(thing("one")))
        async with serving(api) as client:
            mirror = Reflector(client, PATH, "things", decode, store, served=served.append)
            listed = mirror.mark()
            running = asyncio.create_task(mirror.run())
            try:
                await mirror.synced.wait()
                assert served == [False]
                assert listed(), "no list of it is awaited"
                await until(lambda: api.watches)
                assert served == [False, False, True]
                assert [record.content[0] for record in store.of("owner")] == ["one"]
            finally:
                running.cancel()
                await asyncio.wait([running])

    asyncio.run(told())


@pytest.mark.parametrize("status", [403, 404])
def test_collection_of_a_later_chart_delays_no_start_and_is_read_once_it_can_be(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(reflector_module, "RETRY", Backoff(0.0, 0.0))
    monkeypatch.setattr(reflector_module, "ABSENT", Backoff(0.0, 0.0))

    async def told() -> None:
        api, _, store = optional(missing(status), missing(status), page(thing("one")))
        async with serving(api) as client:
            mirror = Reflector(client, PATH, "things", decode, store, optional=True)
            running = asyncio.create_task(mirror.run())
            try:
                await mirror.synced.wait()
                assert not store.of("owner")
                await until(lambda: api.watches)
                assert [record.content[0] for record in store.of("owner")] == ["one"]
            finally:
                running.cancel()
                await asyncio.wait([running])

    asyncio.run(told())


def test_collection_that_is_uninstalled_keeps_its_last_state_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reflector_module, "RETRY", Backoff(0.0, 0.0))
    monkeypatch.setattr(reflector_module, "ABSENT", Backoff(0.0, 0.0))

    async def told() -> None:
        api, served, store = optional(
            page(thing("one")), missing(), missing(), page(thing("two"), version=30)
        )
        async with serving(api) as client:
            mirror = Reflector(client, PATH, "things", decode, store, served=served.append)
            running = asyncio.create_task(mirror.run())
            try:
                await until(lambda: api.watches)
                api.refused.append((404, b"{}"))
                api.close()
                await until(lambda: False in served)
                assert [record.content[0] for record in store.of("owner")] == ["one"]
                await until(lambda: served[-1] and len(served) > 2)
                assert [record.content[0] for record in store.of("owner")] == ["two"]
            finally:
                running.cancel()
                await asyncio.wait([running])

    asyncio.run(told())


def test_missing_collection_that_every_cluster_has_is_awaited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reflector_module, "RETRY", Backoff(0.0, 0.0))

    async def told(it: Bed) -> None:
        await until(lambda: len(it.api.lists) > 2)
        assert it.mirror.lists == 1
        assert set(it.known()) == {"one"}

    async def run() -> None:
        api = Api()
        api.pages += [missing(), missing(), page(thing("one"))]
        async with bed(api) as it:
            assert not it.mirror.synced.is_set()
            await it.mirror.synced.wait()
            await told(it)

    asyncio.run(run())
