"""Fixtures of the tests that need Prometheus: its programs, and what the chart installs for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.chart import read_documents
from tests.cluster.operator_process import ACCOUNT, CHART, NAMESPACE
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.build import binaries


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Built before the first test, if one asks for this fixture (tests/conftest.py)."""
    return binaries(["promtool"])["promtool"]


@pytest.fixture(scope="session")
def prometheus_program() -> Path:
    """Built before the first test, if one asks for this fixture (tests/conftest.py)."""
    return binaries(["prometheus"])["prometheus"]


@pytest.fixture(scope="session")
def monitoring(control_plane: ControlPlane) -> list[Json]:
    """What the chart renders with everything about monitoring enabled."""
    names = ("serviceMonitor", "prometheusRule", "dashboard")
    text = control_plane.helm(
        *("template", ACCOUNT, str(CHART), f"--values={CHART / 'ci' / 'default-values.yaml'}"),
        *(f"--set=metrics.{name}.enabled=true" for name in names),
        "--show-only=templates/monitoring.yaml",
        namespace=NAMESPACE,
    ).stdout
    return read_documents(text)
