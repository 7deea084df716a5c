"""Where real nodes cannot run, their tests are skipped with a reason that says what to do."""

from __future__ import annotations

import os
import sys

import pytest

from tests.controlplane.real import requirements
from tests.controlplane.real.requirements import missing


def test_missing_root_rights_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert missing() == "real nodes need root (network namespaces, mounts, control groups)"


def test_unsupported_system_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert missing() == "real nodes need Linux; this is darwin"


def test_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(requirements, "TOOLS", ("no-such-program",))
    monkeypatch.setattr(requirements, "PLUGINS", ())
    said = missing() or ""
    assert said.startswith("not in PATH, and real nodes need it: no-such-program; run ")
    assert said.endswith("packages.sh")
