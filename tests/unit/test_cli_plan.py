"""`kubectl immutable plan`: files, the patch of a dry run, and how a forecast reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from immutable_operator.api.names import API_VERSION
from immutable_operator.cli.dry_run import three_way
from immutable_operator.cli.foretold import Foretold, as_json, as_text
from immutable_operator.cli.manifests import read_manifests
from immutable_operator.cli.planner_view import start_seconds
from immutable_operator.cli.problem import CannotRun
from immutable_operator.domain.families.pods import PODS
from immutable_operator.domain.forecast import forecast
from immutable_operator.domain.foreseen import Assumed
from immutable_operator.domain.model import CONFIG_MAP, Policy, View
from tests.unit.given import NOW, REVISIONS, fleet, name_of, proven, view

SERVICE = {"apiVersion": API_VERSION, "kind": "ImmutableService", "metadata": {"name": "web"}}
CONFIG = {"kind": "ConfigMap", "metadata": {"name": "app", "namespace": "shop"}, "data": {"a": "1"}}


def written(folder: Path, *documents: Any) -> list[str]:
    file = folder / "file.yaml"
    file.write_text("\n---\n".join(d if isinstance(d, str) else json.dumps(d) for d in documents))
    return [str(file)]


def test_file_may_have_several_documents_and_lists(tmp_path: Path) -> None:
    pool = {**SERVICE, "kind": "ImmutableNodePool", "metadata": {"name": "blue"}}
    items = {"kind": "List", "items": [pool, CONFIG]}
    freeze = {"kind": "ImmutableFreeze", "metadata": {"name": "closing"}}
    found = read_manifests(written(tmp_path, SERVICE, "# nothing", items, freeze))
    assert [(m.kind.word, m.name) for m in found.owners] == [("service", "web"), ("pool", "blue")]
    assert found.configs["shop"][CONFIG_MAP, "app"].texts == {"a": "1"}
    assert found.others == ("ImmutableFreeze closing",)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (CONFIG, "there is no ImmutableService and no ImmutableNodePool; name a file"),
        ("just words", "a document is not an object"),
        ("a: [", "is not valid YAML: line 1"),
        ({"kind": "ImmutableService"}, "no kind or no metadata.name"),
        (
            {**SERVICE, "apiVersion": "immutable.dev/v9"},
            "this plug-in knows immutable.dev/v1alpha1",
        ),
    ],
)
def test_file_without_a_service_is_refused(tmp_path: Path, document: Any, says: str) -> None:
    with pytest.raises(CannotRun, match=says):
        read_manifests(written(tmp_path, document))


def test_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"nowhere\.yaml cannot be read"):
        read_manifests([str(tmp_path / "nowhere.yaml")])


@pytest.mark.parametrize(
    ("original", "current", "modified", "patch"),
    [
        ({"a": 1}, {"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}),
        # What the file had, and has no longer, goes; what others set stays.
        ({"a": 1}, {"a": 1, "b": 2}, {}, {"a": None}),
        ({}, {"a": 1}, {}, {}),
        ({"x": {"a": 1}}, {"x": {"a": 1, "d": 0}}, {"x": {"b": 1}}, {"x": {"a": None, "b": 1}}),
        ({"l": [1, 2]}, {"l": [1, 2]}, {"l": [1]}, {"l": [1]}),
    ],
)
def test_patch_is_that_of_kubectl_apply(
    original: Any, current: Any, modified: Any, patch: Any
) -> None:
    specs = [{"spec": part} for part in (original, current, modified)]
    assert three_way(*specs)["spec"] == patch


def test_time_until_readiness_is_what_was_observed() -> None:
    current = {"currentRevision": REVISIONS["A"].id}
    instances = fleet("A ##")
    assert start_seconds((), current, ()) is None
    assert start_seconds((), current, instances) == 3999.5
    noted = replace(proven("A"), verdict=replace(proven("A").verdict, start_seconds=7.0))
    assert start_seconds([noted], current, instances) == 7.0


def foretold(given: View, **changes: Any) -> Foretold:
    found = forecast(given, NOW, PODS, Assumed(), Policy())
    fields: dict[str, Any] = {
        "word": "service",
        "namespace": "shop",
        "name": "web",
        "exists": True,
        "running": "revision 1 (aaaaaaaa)",
        "asked": "revision 1 (aaaaaaaa)",
        "new": found.revision,
        "titles": ("old", "new"),
        "changes": (),
        "spec": (),
        "found": found,
        "now": NOW,
        "start": 10.0,
        "is_observed": True,
        "desired": 3,
    }
    return Foretold(**{**fields, **changes})


def test_text_has_a_row_for_each_replacement() -> None:
    text = as_text(foretold(view("A ###", wanted="B", recorded="A")))
    first, _, head, *rows = text.splitlines()
    assert first.endswith(", TemplateChanged, and run instead of revision 1 (aaaaaaaa)")
    assert head.split() == ["SLOT", "GOES", "COMES", "CREATED", "RETIRED", "BECAUSE"]
    assert rows[0].split()[:5] == ["0", name_of("A0"), name_of("B0"), "+0s", "+20s"]
    assert rows[-2] == (
        "3 created, 3 retired; at least 3 of 3 pods available (3 now), at most 4 at once"
    )
    assert rows[-1] == (
        "done after about 60s, if each one is ready 10s after its creation, as observed"
    )


def test_text_of_no_change_says_so() -> None:
    told = foretold(view("A ###"))
    assert not told.is_changed
    assert as_text(told).splitlines() == [
        "service web: no new revision; it stays at revision 1 (aaaaaaaa)",
        "nothing would change",
    ]


def test_text_of_a_scale_to_fewer_names_those_that_go() -> None:
    text = as_text(foretold(view("A ###", replicas=1), desired=1))
    assert "0 created, 2 retired" in text
    assert f"{name_of('A2')}" in text


def test_text_of_what_never_ends_names_the_reason() -> None:
    text = as_text(foretold(view("A ###", wanted="B", recorded="A", suspend=True)))
    assert "the time of completion cannot be predicted" in text
    assert "until an unknown time: Suspended: " in text


def test_json_has_the_same_in_numbers() -> None:
    found = as_json(foretold(view("A ###", wanted="B", recorded="A")))
    assert found["revision"]["isNew"] is True
    assert found["seconds"] == 60.0
    assert found["available"] == {"now": 3, "least": 3, "desired": 3}
    assert [s["move"] for s in found["steps"]][:2] == ["record", "create"]
    assert found["steps"][1]["replaces"] == name_of("A0")


def test_ignored_part_of_the_regeneration_is_named() -> None:
    problem = "spec.regeneration.schedule: Mars/Olympus is not a time zone"
    told = foretold(view("A ###", problems=(problem,)))
    assert f"ignored: {problem}; " in as_text(told)
    assert problem in as_json(told)["ignored"]
    assert as_json(foretold(view("A ###")))["ignored"] is None
