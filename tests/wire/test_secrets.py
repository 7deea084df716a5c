"""Pinned Secrets against an API server: what is asked, what is believed, what is never shown."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from immutable_operator.api.names import ANNOTATION_DIGEST, REVISION_KIND
from immutable_operator.domain.config.keyed import KEY_BYTES, DigestKey
from immutable_operator.domain.model import (
    ABSENT,
    SECRET,
    CreateSnapshot,
    Phase,
    Pin,
    Revision,
    Source,
    Verdict,
)
from immutable_operator.instances.driver import Refused
from immutable_operator.kube.client import METADATA, KubeClient
from immutable_operator.runtime.copies import CopyWriter
from immutable_operator.runtime.secrets import PinnedSecrets, SecretOptions, SecretView
from immutable_operator.wire.config import Configs, decode_secret
from immutable_operator.wire.owner import OwnerRecord
from tests.wire.api import Api, serving, until

IMAGE = "registry.example/web@sha256:" + "9f" * 32
KEY, LOST_KEY = DigestKey(b"k" * KEY_BYTES), DigestKey(b"l" * KEY_BYTES)
VALUE, OTHER = (base64.b64encode(text).decode() for text in (b"hunter2", b"correct horse"))
OLD, OLD_LOST_KEY = (key.digest("shop", "db", {"password": VALUE}) for key in (KEY, LOST_KEY))
NEW = KEY.digest("shop", "db", {"password": OTHER})
KEEPER, DB, COPY = "operator/grant", "shop/db", "shop/web-cfg0a1b2c3d"
OPTIONS = SecretOptions("operator", frozenset({"shop"}), "grant", poll=0.01)
RECORD = Revision(
    "0a1b2c3d", 1, "v3:0", "web-im0a1b2c3d", "u-r", (Pin("db", "web-cfg0a1b2c3d", OLD, SECRET),)
)


def service() -> OwnerRecord:
    """A service that reads the Secret ``db``."""
    reads = [{"secretRef": {"name": "db"}}]
    template = {"spec": {"containers": [{"name": "web", "image": IMAGE, "envFrom": reads}]}}
    meta = {"name": "web", "namespace": "shop", "uid": "u-s", "resourceVersion": "5"}
    return OwnerRecord.of({"metadata": meta, "spec": {"template": template}})


def secret(where: str, version: int = 7, value: str = VALUE, digest: str = "") -> dict[str, Any]:
    space, _, name = where.partition("/")
    owner = {"kind": REVISION_KIND, "name": "web-im0a1b2c3d", "uid": "u-r", "controller": True}
    return {
        "metadata": {
            "name": name,
            "namespace": space,
            "uid": f"u-{name}",
            "resourceVersion": str(version),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {ANNOTATION_DIGEST: digest} if digest else {},
            "ownerReferences": [owner] if digest else [],
            "managedFields": [{"manager": "vault", "time": "", "fieldsV1": {"f:data": {}}}],
        },
        "data": {"password": value},
    }


def copy_of(digest: str, value: str = VALUE) -> dict[str, Any]:
    return secret(COPY, value=value, digest=digest)


def keeper(key: DigestKey = KEY) -> dict[str, Any]:
    return secret(KEEPER) | {"data": {"key": base64.b64encode(key.secret).decode()}}


class Cluster:
    """Secrets by namespace and name, or the status with which a request for one is refused."""

    def __init__(self) -> None:
        self.secrets: dict[str, Any] = {KEEPER: keeper()}
        self.asked: list[tuple[str, str, bool]] = []
        self.told: list[str] = []
        self.quoted = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.split("/")
        where = f"{parts[4]}/{parts[6]}" if len(parts) > 6 else parts[4]
        bare = request.headers["Accept"] == METADATA
        self.asked.append((request.method, where, bare))
        found = self.secrets.get(where, 404)
        if request.method == "POST":
            return web.json_response({"message": self.quoted, "kind": "Status"}, status=400)
        if request.method == "PUT" and not isinstance(found, int):
            body = await request.json()
            self.secrets[where] = body
            return web.json_response(body)
        if isinstance(found, int):
            reason = {"message": f"secrets {where} is forbidden: {found}", "kind": "Status"}
            return web.json_response(reason, status=found)
        return web.json_response({"metadata": found["metadata"]} if bare else found)

    def tell(self, story: Callable[[PinnedSecrets, KubeClient], Awaitable[None]]) -> None:
        async def run() -> None:
            api = Api()
            api.pages.append(self.answer)
            api.writes = self.answer
            async with serving(api) as client:
                known = PinnedSecrets(client, OPTIONS, self.told.append)
                running = asyncio.create_task(known.run())
                try:
                    await story(known, client)
                    assert not running.done()
                finally:
                    running.cancel()

        asyncio.run(run())


def source(view: SecretView) -> Source | None:
    return view.sources.get((SECRET, "db"))


async def learned(known: PinnedSecrets, *revisions: Revision) -> Source:
    """What is known of the Secret once something is."""
    await until(lambda: source(known.look(service(), revisions)))
    found = source(known.look(service(), revisions))
    assert found is not None
    return found


# Asking.


def test_content_is_read_once_and_then_only_metadata_until_it_changes() -> None:
    cluster = Cluster()
    cluster.secrets[DB] = secret(DB)

    async def story(known: PinnedSecrets, _: KubeClient) -> None:
        assert known.look(service(), ()) == SecretView(), "it is being read"
        assert await learned(known) == Source(OLD, author="vault")
        await until(lambda: cluster.asked.count(("GET", DB, True)) > 3)
        assert cluster.asked.count(("GET", DB, False)) == 1
        before = len(cluster.told)
        cluster.secrets[DB] = secret(DB, 8, OTHER)
        await until(lambda: len(cluster.told) > before)
        assert (await learned(known)).digest == NEW
        assert cluster.asked.count(("GET", DB, False)) == 2
        cluster.secrets[DB] = 404
        await until(lambda: source(known.look(service(), ())) == Source(ABSENT))

    cluster.tell(story)


def test_nothing_is_asked_without_a_grant_and_started_revisions_have_their_copies() -> None:
    cluster = Cluster()

    async def story(known: PinnedSecrets, _: KubeClient) -> None:
        elsewhere = replace(service(), namespace="elsewhere")
        began = replace(RECORD, verdict=Verdict(Phase.GOOD, started=1.0))
        found = known.look(elsewhere, [began])
        assert found == SecretView({}, frozenset({"web-cfg0a1b2c3d"}), frozenset({(SECRET, "db")}))
        assert known.look(elsewhere, [RECORD]).copies == frozenset(), "none was made yet"
        await asyncio.sleep(0)
        assert cluster.asked == []

    cluster.tell(story)


def test_secret_that_no_template_reads_is_no_longer_requested() -> None:
    cluster = Cluster()
    cluster.secrets[DB] = secret(DB)

    async def story(known: PinnedSecrets, _: KubeClient) -> None:
        await learned(known)
        known.forget("u-s")
        await until(lambda: not known._inquiry._open)
        assert known._known == {}

    cluster.tell(story)


# Copies.


@pytest.mark.parametrize(
    ("found", "there"),
    [
        pytest.param(copy_of(OLD), True, id="it is"),
        pytest.param(copy_of(NEW), False, id="of other content"),
        pytest.param(secret(COPY), False, id="no owner"),
        pytest.param(404, False, id="gone"),
    ],
)
def test_copy_exists_if_it_is_that_of_the_revision(found: Any, there: bool) -> None:
    cluster = Cluster()
    cluster.secrets |= {DB: secret(DB), COPY: found}

    async def story(known: PinnedSecrets, _: KubeClient) -> None:
        assert known.look(service(), [RECORD]) == SecretView(), "it is being looked up"
        await learned(known, RECORD)
        assert bool(known.look(service(), [RECORD]).copies) is there

    cluster.tell(story)


def test_copy_that_may_not_be_looked_up_is_believed_to_exist_once_its_rollout_began() -> None:
    cluster = Cluster()
    cluster.secrets |= {DB: 403, COPY: 403}

    async def story(known: PinnedSecrets, _: KubeClient) -> None:
        began = replace(RECORD, verdict=Verdict(Phase.GOOD, started=1.0))
        assert (await learned(known, began)).denied
        await until(lambda: known.look(service(), [began]).copies)
        assert not known.look(service(), [RECORD]).copies

    cluster.tell(story)


# Trouble.


def test_missing_right_names_the_role_and_a_failure_keeps_what_was_read() -> None:
    cluster = Cluster()
    cluster.secrets[DB] = secret(DB)

    async def story(known: PinnedSecrets, _: KubeClient) -> None:
        await learned(known)
        cluster.secrets[DB] = 500
        asked = len(cluster.asked)
        await until(lambda: len(cluster.asked) > asked)
        assert await learned(known) == Source(OLD, author="vault")
        cluster.secrets[DB] = 403
        known.news("shop", "db")
        await until(lambda: (found := source(known.look(service(), ()))) and found.denied)
        found = await learned(known)
        assert found.digest is None
        assert "the Role grant in the namespace shop" in found.problem
        cluster.secrets[DB] = secret(DB)
        known.news("shop", "db")
        await until(lambda: source(known.look(service(), ())) == Source(OLD, author="vault"))

    with capture_logs():
        cluster.tell(story)


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        pytest.param(404, "Secret operator/grant for the key of the digests does not exist"),
        pytest.param(403, "the Secret operator/grant: secrets operator/grant is forbidden"),
        pytest.param(
            secret(KEEPER) | {"data": {"key": "c2hvcnQ="}},
            "is not a key of 32 bytes; delete the field",
        ),
        pytest.param(secret(KEEPER) | {"data": {"key": "%%%"}}, "is not a key of 32 bytes"),
    ],
    ids=["missing", "forbidden", "too short", "no base64"],
)
def test_secret_is_not_read_without_a_key(stored: Any, told: str) -> None:
    cluster = Cluster()
    cluster.secrets |= {DB: secret(DB), KEEPER: stored}

    async def story(known: PinnedSecrets, _: KubeClient) -> None:
        found = await learned(known)
        assert found.digest is None
        assert told in found.problem
        assert not [where for _, where, _ in cluster.asked if where == DB]

    with capture_logs():
        cluster.tell(story)


def test_key_is_made_once_and_stored_with_the_version_that_was_read() -> None:
    cluster = Cluster()
    empty = secret(KEEPER)
    del empty["data"]
    cluster.secrets |= {DB: secret(DB), KEEPER: empty}

    async def story(known: PinnedSecrets, _: KubeClient) -> None:
        await learned(known)
        stored = cluster.secrets[KEEPER]
        assert len(base64.b64decode(stored["data"]["key"])) == KEY_BYTES
        assert stored["metadata"]["resourceVersion"] == "7"
        assert [method for method, where, _ in cluster.asked if where == KEEPER] == ["GET", "PUT"]

    with capture_logs() as logs:
        cluster.tell(story)
    assert cluster.secrets[KEEPER]["data"]["key"] not in str(logs)


# A lost key.


@pytest.mark.parametrize(
    ("stored", "same"),
    [
        pytest.param(copy_of(OLD_LOST_KEY), {OLD_LOST_KEY}, id="same content"),
        pytest.param(copy_of(OLD_LOST_KEY, OTHER), set(), id="other content"),
        pytest.param(404, set(), id="no copy"),
    ],
)
def test_digest_under_a_lost_key_is_compared_by_the_content_of_the_copy(
    stored: Any, same: set[str]
) -> None:
    cluster = Cluster()
    cluster.secrets |= {DB: secret(DB), COPY: stored}
    [pin] = RECORD.config
    recorded = replace(RECORD, config=(replace(pin, digest=OLD_LOST_KEY),))

    async def story(known: PinnedSecrets, _: KubeClient) -> None:
        found = await learned(known, recorded)
        assert (found.digest, set(found.same)) == (OLD, same)

    cluster.tell(story)


# Values.


@pytest.mark.parametrize("quoted", ["hunter2", VALUE], ids=["plain", "base64"])
def test_copy_refused_with_a_value_in_the_message_hides_it(quoted: str) -> None:
    """A webhook may quote what it refuses."""
    cluster = Cluster()
    cluster.secrets[DB] = secret(DB)
    cluster.quoted = f'admission webhook "x" denied the request: no {quoted} here'

    async def story(known: PinnedSecrets, client: KubeClient) -> None:
        writer = CopyWriter(client, Configs("ConfigMap", lambda kind, item, anew: None), known)
        with pytest.raises(Refused) as caught:
            await writer.make(service(), CreateSnapshot(RECORD.config[0], RECORD))
        assert quoted not in caught.value.message
        assert "contains a value of the Secret" in caught.value.message

    cluster.tell(story)


def test_content_of_a_secret_has_no_values_in_its_text() -> None:
    content = decode_secret(json.dumps(secret(DB)).encode())
    assert content.data == {"password": VALUE}
    assert VALUE not in f"{content!r} {content}"
    assert content.hidden("short: no") == "short: no"
