"""Actions and freezes on the wire: what cannot be read never lets anybody pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from immutable_operator.wire.action import decode_action
from immutable_operator.wire.freeze import decode_freeze

META = {"name": "x", "namespace": "shop", "uid": "u", "creationTimestamp": "2026-11-22T01:00:00Z"}
WINDOW = {"schedule": "0 0 31 2 *", "duration": "1h"}


def freeze(**spec: Any) -> Any:
    return decode_freeze(json.dumps({"metadata": META, "spec": spec}).encode())


@pytest.mark.parametrize("reason", [None, ""])
def test_override_without_a_reason_lifts_no_freeze(reason: str | None) -> None:
    spec = {"service": "web", "overrideFreeze": True, "reason": reason}
    request = decode_action(json.dumps({"metadata": META, "spec": spec}).encode()).content
    assert not request.override_freeze
    spec["reason"] = "a hole was found"
    request = decode_action(json.dumps({"metadata": META, "spec": spec}).encode()).content
    assert request.override_freeze


HOLDS: list[tuple[str, dict[str, Any], str]] = [
    ("no reason", {"until": "2027-01-01T00:00:00Z"}, "its spec cannot be read"),
    ("no time", {"until": "soon", "reason": "closing"}, "its spec cannot be read"),
    ("windows that never open", {"windows": [WINDOW], "reason": "closing"}, "spec.windows[0]"),
]


@pytest.mark.parametrize(("rule", "spec", "words"), HOLDS)
def test_invalid_freeze_holds_and_reports_it(rule: str, spec: dict[str, Any], words: str) -> None:
    found = freeze(**spec).content
    assert words in found.reason, rule
    assert found.windows == ()
    assert found.ends is None
