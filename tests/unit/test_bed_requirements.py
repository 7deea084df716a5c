"""Where real nodes cannot run, their tests are skipped with a reason that says what to do."""

from __future__ import annotations

import os
import sys

import pytest

from tests.controlplane.real import requirements
from tests.controlplane.real.requirements import missing


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert missing() == "real nodes need root (network namespaces, mounts, control groups)"


def test_on_another_system_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert missing() == "real nodes need Linux; this is darwin"


def test_a_missing_program_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(requirements, "TOOLS", ("no-such-program",))
    monkeypatch.setattr(requirements, "PLUGINS", ())
    said = missing() or ""
    assert said.startswith("not in PATH, and real nodes need it: no-such-program; run ")
    assert said.endswith("packages.sh")
