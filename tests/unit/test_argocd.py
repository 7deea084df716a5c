"""gitops/argocd: each script with the tables of tests that Argo CD asks for beside it.

The folder has the layout of Argo CD's own resource_customizations, so that it can be contributed
as it is; what its two Go tests check is checked here, with Lua 5.1 and Argo CD's few libraries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops.generate import argocd
from immutable_operator.api.crd import KINDS
from immutable_operator.api.names import CHECK_KIND, GROUP, LINEAGE_KIND
from tests.argocd_tables import ACTIONS, DISCOVERIES, FOLDER, HEALTH, load
from tests.lua import discover, execute, health

KIND_FOLDERS = sorted(FOLDER.iterdir())

Json = dict[str, Any]


@pytest.mark.parametrize(("folder", "entry"), HEALTH)
def test_health_is_that_of_the_table(folder: Path, entry: Json) -> None:
    script = (folder / "health.lua").read_text(encoding="utf-8")
    assert health(script, load(folder / entry["inputPath"])) == entry["healthStatus"]


@pytest.mark.parametrize(("folder", "entry"), DISCOVERIES)
def test_actions_on_offer_are_those_of_the_table(folder: Path, entry: Json) -> None:
    script = (folder / "discovery.lua").read_text(encoding="utf-8")
    expected = [{"disabled": False, **action} for action in entry["result"]]
    found = discover(script, load(folder / entry["inputPath"]))
    assert found == sorted(expected, key=lambda action: str(action["name"]))


@pytest.mark.parametrize(("folder", "entry"), ACTIONS)
def test_action_writes_what_the_table_says(folder: Path, entry: Json) -> None:
    script = (folder / entry["action"] / "action.lua").read_text(encoding="utf-8")
    expected = load(folder / entry["expectedOutputPath"])
    if isinstance(expected, dict):
        expected = [{"k8sOperation": "patch", "unstructuredObj": expected}]
    changes = execute(script, load(folder / entry["inputPath"]))
    assert [(c["operation"], c["resource"]) for c in changes] == [
        (e["k8sOperation"], e["unstructuredObj"]) for e in expected
    ]


@pytest.mark.parametrize("folder", KIND_FOLDERS, ids=lambda folder: folder.name)
def test_each_sample_of_a_kind_is_in_its_table(folder: Path) -> None:
    tested = {entry["inputPath"] for entry in load(folder / "health_test.yaml")["tests"]}
    assert tested == {f"testdata/{path.name}" for path in (folder / "testdata").iterdir()}


@pytest.mark.parametrize("folder", KIND_FOLDERS, ids=lambda folder: folder.name)
def test_each_action_is_on_offer_and_tested(folder: Path) -> None:
    actions = folder / "actions"
    defined = {path.parent.name for path in actions.glob("*/action.lua")}
    table = load(actions / "action_test.yaml") if actions.exists() else {}
    offered = {a["name"] for t in table.get("discoveryTests", ()) for a in t["result"]}
    assert defined == offered == {test["action"] for test in table.get("actionTests", ())}


def test_every_kind_has_a_health_script() -> None:
    """But the lineage and the check, which have no state."""
    kinds = {kind.name for kind in KINDS} - {LINEAGE_KIND, CHECK_KIND}
    assert {folder.name for folder in KIND_FOLDERS} == kinds


def test_config_map_contains_the_scripts_as_they_are() -> None:
    assert argocd.main(["--check"]) == 0
    data = yaml.safe_load(argocd.render())["data"]
    service = FOLDER / "ImmutableService"
    key = f"{GROUP}_ImmutableService"
    script = (service / "health.lua").read_text(encoding="utf-8")
    assert data[f"resource.customizations.health.{key}"] == script
    actions = yaml.safe_load(data[f"resource.customizations.actions.{key}"])
    assert [d["name"] for d in actions["definitions"]] == [
        "abort",
        "promote",
        "regenerate",
        "resume",
        "retry",
        "suspend",
    ]
