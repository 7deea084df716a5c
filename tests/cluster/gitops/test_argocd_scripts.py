"""The scripts of argocd-cm.yaml in Argo CD itself, by its own command for that; without a cluster.

tests/unit/test_argocd.py runs the same tables with another Lua; here Argo CD reads the ConfigMap.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.argocd_tables import ACTIONS, DISCOVERIES, HEALTH, load
from tests.controlplane.api import Json
from tests.controlplane.argocd import CUSTOMIZATIONS
from tests.controlplane.build import binaries


def _overrides(verb: str, sample: Path, *more: str) -> str:
    """What ``argocd admin settings resource-overrides`` says of a sample."""
    command = [
        *(str(binaries(["argocd"])["argocd"]), "admin", "settings", "resource-overrides"),
        *(verb, str(sample), *more),
        *(f"--argocd-cm-path={CUSTOMIZATIONS}", "--load-cluster-settings=false"),
    ]
    environment = os.environ | {"ARGOCD_BINARY_NAME": "argocd"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("folder", "entry"), HEALTH)
def test_argocd_reports_the_health_of_the_table(folder: Path, entry: Json) -> None:
    said = _overrides("health", folder / entry["inputPath"])
    health = entry["healthStatus"]
    assert f"STATUS: {health['status']}\n" in said
    assert f"MESSAGE: {health['message']}\n" in said


@pytest.mark.parametrize(("folder", "entry"), DISCOVERIES)
def test_argocd_offers_the_actions_of_the_table(folder: Path, entry: Json) -> None:
    rows = _overrides("list-actions", folder / entry["inputPath"]).splitlines()[1:]
    offered = {tuple(row.split()) for row in rows}
    assert offered == {
        (action["name"], str(action.get("disabled", False)).lower()) for action in entry["result"]
    }


@pytest.mark.parametrize(("folder", "entry"), ACTIONS)
def test_argocd_carries_out_the_action_of_the_table(folder: Path, entry: Json) -> None:
    said = _overrides("run-action", folder / entry["inputPath"], entry["action"])
    expected = load(folder / entry["expectedOutputPath"])
    if isinstance(expected, list):
        created = said.partition("Following resource was created:\n")[2]
        assert yaml.safe_load(created) == expected[0]["unstructuredObj"]
    else:
        assert f"suspend: {str(expected['spec']['suspend']).lower()}" in said
