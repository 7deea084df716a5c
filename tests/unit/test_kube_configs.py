"""ConfigMaps on the wire: what is pinned, what is recorded of it, and its copy."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.config.references import content_digest
from immutable_operator.domain.model import CreateRevision, CreateSnapshot, Pin, Revision
from immutable_operator.wire.config import (
    ConfigRecord,
    Configs,
    decode_config,
    decode_content,
    snapshot_body,
)
from immutable_operator.wire.revision import decode_revision, revision_body
from tests.unit.config_readers import service

DIGEST = content_digest({"mode": "old"}, {"blob": "AAE="})
PIN = Pin("settings", "web-cfg0a1b2c3d", DIGEST)


@pytest.mark.parametrize(
    ("config", "pinned"),
    [
        pytest.param(None, {"settings", "rotating"}, id="all by default"),
        pytest.param({"live": ["rotating"]}, {"settings"}, id="but those that are live"),
        pytest.param({"mode": "Live"}, set(), id="none"),
    ],
)
def test_spec_selects_the_pinned_config_maps(config: Any, pinned: set[str]) -> None:
    found = service(config)
    assert found.spec is not None
    assert set(found.spec.pinned) == {("ConfigMap", name) for name in pinned}


def test_unknown_mode_is_refused() -> None:
    found = service({"mode": "Frozen"})
    assert found.spec is not None
    assert found.spec.template is None
    assert "spec.immutability.config.mode" in str(found.invalid)


def test_record_survives_a_round_trip() -> None:
    given = service()
    assert given.spec is not None
    assert given.spec.template is not None
    record = CreateRevision("0a1b2c3d", 1, "v2:" + "0" * 64, "Created", "kubectl", (PIN,))
    body = revision_body(given, given.spec.template, record)
    assert body["spec"]["template"] == given.spec.template, "references are those of the user"
    body["metadata"]["uid"] = "u1"
    assert decode_revision(json.dumps(body).encode()).content.config == (PIN,)
    old = json.loads(json.dumps(body))
    del old["spec"]["config"][0]["kind"]
    assert decode_revision(json.dumps(old).encode()).content.config == (PIN,), "before kinds"
    secret = replace(record, config=(PIN, replace(PIN, kind="Secret")))
    both = revision_body(given, given.spec.template, secret)
    both["metadata"]["uid"] = "u2"
    assert decode_revision(json.dumps(both).encode()).content.config == secret.config
    plain = CreateRevision("0a1b2c3d", 1, "v1:" + "0" * 64, "Created", "kubectl")
    assert "config" not in revision_body(given, given.spec.template, plain)["spec"]


def config_map(**more: Any) -> bytes:
    meta = {
        **{"name": "settings", "namespace": "shop", "uid": "c", "resourceVersion": "41"},
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    body: dict[str, Any] = {"metadata": meta, "data": {"mode": "old"}} | more
    return json.dumps(body).encode()


def wrote(manager: str, minute: int, *fields: str, **more: Any) -> dict[str, Any]:
    at = f"2026-01-01T00:{minute:02}:00Z"
    return {"manager": manager, "time": at, "fieldsV1": {name: {} for name in fields}, **more}


@pytest.mark.parametrize(
    ("entries", "author"),
    [
        pytest.param([wrote("helm", 1, "f:data")], "helm", id="one"),
        pytest.param(
            [wrote("edit", 3, "f:data"), wrote("helm", 1, "f:data")], "edit", id="the last"
        ),
        pytest.param(
            [wrote("helm", 1, "f:data"), wrote("label", 9, "f:metadata")], "helm", id="of content"
        ),
        pytest.param([wrote("bin", 1, "f:binaryData")], "bin", id="of binary content"),
        pytest.param(
            [wrote("helm", 1, "f:data"), wrote("x", 2, "f:data", subresource="status")],
            "helm",
            id="not of a subresource",
        ),
        pytest.param([wrote("label", 1, "f:metadata")], "", id="of nothing"),
        pytest.param([{"manager": None, "fieldsV1": {"f:data": {}}}], "unknown", id="nameless"),
        pytest.param([{"manager": "m", "fieldsV1": None}], "", id="no fields"),
        pytest.param([], "", id="empty"),
        pytest.param(None, "", id="null"),
        pytest.param("odd", "", id="no list"),
    ],
)
def test_author_of_content_is_its_last_writer(entries: Any, author: str) -> None:
    body = json.loads(config_map())
    body["metadata"]["managedFields"] = entries
    assert decode_content(json.dumps(body).encode()).author == author
    del body["metadata"]["managedFields"]
    assert decode_content(json.dumps(body).encode()).author == ""


def test_copy_is_immutable_and_owned_by_its_revision() -> None:
    content = decode_content(config_map(binaryData={"blob": "AAE="}))
    assert content.digest == DIGEST
    revision = Revision("0a1b2c3d", 1, "v2:0", "web-im0a1b2c3d", "uid-r", (PIN,))
    body = snapshot_body(service(), CreateSnapshot(PIN, revision), content)
    assert body["immutable"] is True
    [owner] = body["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("ImmutableRevision", "uid-r")
    body["metadata"] |= {"uid": "s", "resourceVersion": "7"}
    body["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    read = decode_content(json.dumps(body).encode())
    assert read.digest == DIGEST
    assert (read.record.revision, read.record.digest) == ("uid-r", DIGEST)


def test_empty_config_map_has_a_digest_and_a_foreign_one_has_no_revision() -> None:
    content = decode_content(config_map(data=None))
    assert content.digest == content_digest({}, {})
    record = decode_config(config_map())
    assert (record.version, record.revision, record.digest) == (41, "", "")


def test_change_is_reported_once_with_whether_the_object_is_another() -> None:
    told: list[tuple[str, bool]] = []
    configs = Configs("ConfigMap", lambda kind, item, anew: told.append((item.name, anew)))
    first = ConfigRecord("shop", "settings", 1.0, 41)
    configs.replace([first], 50)
    configs.upsert(first, 51)
    configs.upsert(ConfigRecord("shop", "settings", 1.0, 52), 52)
    configs.upsert(ConfigRecord("shop", "settings", 9.0, 53), 53)
    configs.replace([], 60)
    names = ["settings"] * 4
    assert told == list(zip(names, [True, False, True, False], strict=True))
    assert configs.get("shop", "settings") is None
    assert configs.version == 60
