"""Records, verdicts and copies against an API server's answers: ours, another's or gone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from immutable_operator.api.names import ANNOTATION_DIGEST, REVISION_KIND, REVISION_PLURAL
from immutable_operator.domain.config.births import born_from
from immutable_operator.domain.config.hashing import revision_hash
from immutable_operator.domain.config.references import content_digest
from immutable_operator.domain.model import (
    CONFIG_MAP,
    Cause,
    CreateRevision,
    CreateSnapshot,
    DeleteRevision,
    Phase,
    Pin,
    Revision,
    SetVerdict,
    Verdict,
)
from immutable_operator.instances.driver import Refused, Seen, Unknown
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.store import Children
from immutable_operator.runtime.copies import CopyWriter
from immutable_operator.runtime.records import RecordMove, Records
from immutable_operator.runtime.secrets import PinnedSecrets, SecretOptions
from immutable_operator.wire.config import Configs
from immutable_operator.wire.revision import (
    REVISIONS,
    RevisionRecord,
    decode_revision,
    owner_reference,
)
from tests.wire.scripted import CUT, SERVICE, Answer, Script, refusal

TEMPLATE = SERVICE.spec.template or {}
HASH = revision_hash(TEMPLATE)
NAME, UID = "web-im0a1b2c3d", "u-r1"
COLLECTION, RECORD = REVISIONS.collection("shop"), REVISIONS.item("shop", NAME)
MAPS = "/api/v1/namespaces/shop/configmaps"
EXISTS = refusal(409, "already exists")
GONE = refusal(404, "not found", kind=REVISION_PLURAL, name=NAME)
SLOW = refusal(500, "etcdserver: request timed out")

DATA = {"colour": "blue"}
PIN = Pin("settings", "web-cfg0a1b2c3d", content_digest(DATA, {}))
REVISION = Revision("0a1b2c3d", 1, HASH, NAME, UID, (PIN,))
CREATE = CreateRevision("0a1b2c3d", 1, HASH, "First: it is the first", "kubectl", (PIN,))
COPY = CreateSnapshot(PIN, REVISION)
MARK = SetVerdict(REVISION, Verdict(Phase.GOOD, completed=1_700_000_000.0))
FORGET = DeleteRevision(NAME, UID)


def record(*, version: int = 7, owner: str = "s1", uid: str = UID, **spec: Any) -> dict[str, Any]:
    meta = {
        "name": NAME,
        "namespace": "shop",
        "uid": uid,
        "resourceVersion": str(version),
        "ownerReferences": [owner_reference(SERVICE) | {"uid": owner}],
    }
    stated = {"revision": "0a1b2c3d", "number": 1, "hash": HASH, "template": TEMPLATE, **spec}
    return {"metadata": meta, "spec": stated}


def config(
    name: str, data: dict[str, str] | None = None, *, owner: str = "", digest: str = PIN.digest
) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "name": name,
        "namespace": "shop",
        "uid": f"u-{name}",
        "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    if owner:
        meta["annotations"] = {ANNOTATION_DIGEST: digest}
        reference = {"kind": REVISION_KIND, "name": NAME, "uid": owner, "controller": True}
        meta["ownerReferences"] = [reference]
    return {"metadata": meta, "data": DATA if data is None else data}


class View:
    """What is known of records and copies."""

    def __init__(self, *records: dict[str, Any]) -> None:
        self.revisions: Children[RevisionRecord] = Children(lambda owner: None)
        found = [decode_revision(msgspec.json.encode(each)) for each in records]
        self.revisions.replace(found, 1)
        self.configs = Configs(CONFIG_MAP, lambda kind, item, anew: None)


def records(client: KubeClient, view: View) -> Records:
    secrets = PinnedSecrets(client, SecretOptions(), lambda uid: None)
    return Records(client, view.revisions, CopyWriter(client, view.configs, secrets))


def written(script: Script, move: RecordMove, view: View | None = None) -> Seen:
    known = view or View()
    return script.run(lambda client: records(client, known).write(SERVICE, move))


def refused(script: Script, move: RecordMove) -> Refused:
    with pytest.raises(Refused) as caught:
        written(script, move)
    return caught.value


# Records.


def test_record_is_seen_when_the_view_reaches_it() -> None:
    script, view = Script(record(version=7)), View()
    seen = written(script, CREATE, view)
    [asked] = script.asked
    assert asked.line == f"POST {COLLECTION}"
    assert asked.body["spec"]["hash"] == HASH
    assert not seen()
    view.revisions.advance(7)
    assert seen()


def test_existing_record_of_the_same_revision_counts_as_written() -> None:
    script = Script(EXISTS, record())
    written(script, CREATE)
    assert script.lines == [f"POST {COLLECTION}", f"GET {RECORD}"]


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(record(owner="s2"), id="of a namesake that was deleted"),
        pytest.param(record(hash="v3:" + "0" * 64), id="of another wanted state"),
        pytest.param(record(number="one"), id="that cannot be read"),
    ],
)
def test_another_record_of_the_name_is_waited_for(found: dict[str, Any]) -> None:
    said = refused(Script(EXISTS, found), CREATE)
    assert said.cause is Cause.API_SERVER
    assert NAME in said.message


# Deletion, and what was made of a revision.


def test_record_is_deleted_with_its_uid() -> None:
    script, view = Script({"kind": "Status"}), View(record())
    seen = written(script, FORGET, view)
    [asked] = script.asked
    assert asked.line == f"DELETE {RECORD}"
    assert asked.body["preconditions"] == {"uid": UID}
    assert not seen()
    view.revisions.advance(1_000)
    assert not seen(), "a deletion has no version"
    view.revisions.replace([], 9)
    assert seen()


def test_missing_record_counts_as_deleted() -> None:
    view = View(record())
    seen = written(Script(GONE), FORGET, view)
    assert not seen()
    view.revisions.replace([], 9)
    assert seen()


def test_verdict_is_applied_to_the_status_of_the_version_that_was_seen() -> None:
    """The API server does not compare the uid in an apply of a status."""
    script, view = Script(record(version=12)), View(record(version=7))
    seen = written(script, MARK, view)
    [asked] = script.asked
    assert asked.line == f"PATCH {RECORD}/status"
    assert asked.form == "application/apply-patch+yaml"
    assert asked.body["metadata"]["uid"] == UID
    assert asked.body["metadata"]["resourceVersion"] == "7"
    assert asked.body["status"]["phase"] == "Good"
    assert "spec" not in asked.body
    assert not seen()
    view.revisions.advance(12)
    assert seen()


def test_verdict_on_a_record_that_was_written_since_is_tried_again() -> None:
    text = "the object has been modified; please apply your changes to the latest version"
    with pytest.raises(Refused) as caught:
        written(Script(refusal(409, text)), MARK, View(record()))
    assert caught.value.cause is Cause.API_SERVER


def test_verdict_on_a_missing_record_is_dropped() -> None:
    view = View(record())
    seen = written(Script(GONE), MARK, view)
    assert not seen()
    view.revisions.replace([], 9)
    assert seen()


# Copies.


def test_copy_has_the_recorded_content() -> None:
    script, view = Script((200, config("settings"), {}), config(PIN.snapshot, owner=UID)), View()
    seen = written(script, COPY, view)
    assert script.lines == [f"GET {MAPS}/settings", f"POST {MAPS}"]
    body = script.asked[1].body
    assert (body["data"], body["immutable"]) == (DATA, True)
    assert body["metadata"]["annotations"][ANNOTATION_DIGEST] == PIN.digest
    [owner] = body["metadata"]["ownerReferences"]
    assert owner["uid"] == UID
    assert not seen()
    view.configs.advance(7)
    assert seen()


@pytest.mark.parametrize(
    "source",
    [
        pytest.param((200, config("settings", {"colour": "red"}), {}), id="changed"),
        pytest.param((200, config("settings", {}), {}), id="emptied"),
        pytest.param(refusal(404, "not found"), id="deleted"),
        pytest.param((200, {"metadata": None}, {}), id="unreadable"),
    ],
)
def test_changed_content_is_not_copied(source: Answer) -> None:
    script = Script(source)
    said = refused(script, COPY)
    assert "settings" in said.message
    assert script.lines == [f"GET {MAPS}/settings"]


def test_existing_copy_of_the_same_content_counts_as_made() -> None:
    script = Script((200, config("settings"), {}), EXISTS, config(PIN.snapshot, owner=UID))
    written(script, COPY)
    assert script.lines[2] == f"GET {MAPS}/{PIN.snapshot}"


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(config(PIN.snapshot), id="no owner"),
        pytest.param(config(PIN.snapshot, owner="u-r2"), id="of another revision"),
        pytest.param(config(PIN.snapshot, owner=UID, digest="sha256:0"), id="of another digest"),
        pytest.param(config(PIN.snapshot, {"colour": "red"}, owner=UID), id="of other content"),
        pytest.param({"metadata": {"name": 5}}, id="that cannot be read"),
    ],
)
def test_another_object_of_the_copy_name_is_waited_for(found: dict[str, Any]) -> None:
    said = refused(Script((200, config("settings"), {}), EXISTS, found), COPY)
    assert said.cause is Cause.API_SERVER
    assert PIN.snapshot in said.message


# Answers that say little, whatever the move.

each_move = pytest.mark.parametrize(
    "move", [CREATE, COPY, MARK, FORGET], ids=lambda move: type(move).__name__
)


def before(move: RecordMove) -> list[Answer]:
    return [(200, config("settings"), {})] if isinstance(move, CreateSnapshot) else []


@each_move
@pytest.mark.parametrize("answer", [CUT, SLOW], ids=["none", "its store was slow"])
def test_record_write_without_an_answer_has_an_unknown_result(
    move: RecordMove, answer: Answer
) -> None:
    with pytest.raises(Unknown):
        written(Script(*before(move), answer), move)


@each_move
def test_retry_after_of_a_record_write_is_kept(move: RecordMove) -> None:
    busy = refusal(429, "Too many requests, please try again later.", retry_after="17")
    assert refused(Script(*before(move), busy), move).retry_after == 17.0


@pytest.mark.parametrize("move", [MARK, FORGET])
def test_record_with_another_uid_is_not_modified(move: RecordMove) -> None:
    refused(Script(refusal(409, "the UID in the precondition does not match")), move)


# What is born from a revision.


def template(script: Script, view: View, revision: str = "0a1b2c3d") -> Any:
    return script.run(lambda client: records(client, view).template(SERVICE, revision))


def test_birth_uses_the_spec_for_the_wanted_revision_and_the_record_for_others() -> None:
    script = Script()
    assert template(script, View(record())) == born_from(TEMPLATE)
    before = record(hash=revision_hash(TEMPLATE, "v3"))
    assert template(script, View(before)) == TEMPLATE, "an earlier release recorded it"
    assert script.asked == []
    older = {"spec": {"containers": [{"name": "old", "image": "x"}]}}
    stored = record(hash=revision_hash(older), template=older)
    script = Script((200, stored, {}))
    assert template(script, View(stored)) == older
    assert script.lines == [f"GET {RECORD}"]


def test_revision_without_a_record_has_no_births() -> None:
    with pytest.raises(Refused):
        template(Script(), View())
    older = record(hash="v3:" + "0" * 64)
    with pytest.raises(Refused):
        template(Script(GONE), View(older))
