"""The audit log of the test bed: a record that is being written is neither lost nor broken."""

from __future__ import annotations

import json
from pathlib import Path

from tests.controlplane.audit import AuditLog


def line(name: str) -> bytes:
    record = {
        "stage": "ResponseComplete",
        "verb": "create",
        "requestURI": f"/api/v1/namespaces/shop/pods/{name}",
        "user": {"username": "jane"},
        "objectRef": {"resource": "pods", "namespace": "shop", "name": name},
        "responseStatus": {"code": 201},
        "requestReceivedTimestamp": "2026-11-28T12:00:00.000000Z",
    }
    return json.dumps(record).encode() + b"\n"


def test_record_that_is_being_written_comes_after_the_mark(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.log")
    assert log.mark() == 0
    log.path.write_bytes(line("a") + line("b")[:40])
    mark = log.mark()
    assert list(log.since(mark)) == []
    log.path.write_bytes(line("a") + line("b") + line("c"))
    assert [record.name for record in log.since(mark)] == ["b", "c"]
    assert list(log.since(log.mark())) == []
