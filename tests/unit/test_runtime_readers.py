"""Who reads which configuration: told from each service once a spec, and forgotten with it."""

from __future__ import annotations

from typing import Any

import pytest

from immutable_operator.runtime import readers as readers_module
from immutable_operator.runtime.readers import Readers
from immutable_operator.wire.owner import OwnerRecord

IMAGE = "registry.example/web@sha256:" + "9f" * 32
FROM = {"ConfigMap": "configMapRef", "Secret": "secretRef"}


def service(uid: str, *reads: tuple[str, str], generation: int = 1, **place: Any) -> OwnerRecord:
    sources = [{FROM[kind]: {"name": name}} for kind, name in reads]
    template = {"spec": {"containers": [{"name": "web", "image": IMAGE, "envFrom": sources}]}}
    meta = {"name": uid, "namespace": "shop", "uid": uid, "resourceVersion": "5", **place}
    return OwnerRecord.of(
        {"metadata": {**meta, "generation": generation}, "spec": {"template": template}}
    )


def test_readers_are_found_by_kind_namespace_and_name() -> None:
    readers = Readers()
    readers.update("u1", service("u1", ("ConfigMap", "settings"), ("Secret", "key")))
    readers.update("u2", service("u2", ("ConfigMap", "settings")))
    readers.update("u3", service("u3", ("ConfigMap", "settings"), namespace="elsewhere"))
    assert readers.of("ConfigMap", "shop", "settings") == ("u1", "u2")
    assert readers.of("Secret", "shop", "key") == ("u1",)
    assert readers.of("Secret", "shop", "settings") == ()
    assert readers.of("ConfigMap", "elsewhere", "settings") == ("u3",)


def test_new_spec_replaces_references_and_a_deleted_service_leaves_none() -> None:
    readers = Readers()
    readers.update("u1", service("u1", ("ConfigMap", "old"), ("ConfigMap", "both")))
    readers.update("u1", service("u1", ("ConfigMap", "new"), ("ConfigMap", "both"), generation=2))
    assert readers.of("ConfigMap", "shop", "old") == ()
    assert readers.of("ConfigMap", "shop", "new") == ("u1",)
    assert readers.of("ConfigMap", "shop", "both") == ("u1",)
    readers.update("u1", None)
    readers.update("u1", None)
    assert len(readers) == 0
    assert readers._known == {}


def test_refused_spec_has_no_references() -> None:
    readers = Readers()
    readers.update("u1", service("u1", ("ConfigMap", "settings")))
    meta = {"name": "u1", "namespace": "shop", "uid": "u1", "resourceVersion": "6"}
    broken = OwnerRecord.of({"metadata": {**meta, "generation": 2}, "spec": {}})
    assert broken.spec.template is None
    readers.update("u1", broken)
    assert len(readers) == 0


def test_status_change_does_not_read_the_template(monkeypatch: pytest.MonkeyPatch) -> None:
    readers, given = Readers(), service("u1", ("ConfigMap", "settings"))
    readers.update("u1", given)
    monkeypatch.setattr(readers_module, "config_references", None)
    readers.update("u1", given)
    assert readers.of("ConfigMap", "shop", "settings") == ("u1",)
