"""Templates whose pods would keep state: refused when they are new, reported when they run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.model import CreateRevision, Source, Spec, View
from immutable_operator.domain.planner import plan
from immutable_operator.wire.spec import read_spec
from tests.unit.given import NOW, moves, seen, view
from tests.unit.service_specs import KEPT_STATE, PIN, Refused, spec, template, volume

LOCAL: dict[str, Any] = {"node_local": "spec.template.spec.hostPID: no"}
CLAIM: dict[str, Any] = {"claim": "spec.template.spec.volumes: no"}
ALLOWED = {"immutability": {"nodeLocal": "Allow", "sharedVolumes": "Allow"}}


def read(given: dict[str, Any]) -> Spec:
    found, invalid = read_spec("web", given, 0.0)
    assert invalid is None
    return found


def kept(given: dict[str, Any]) -> str:
    found = read(given)
    return found.node_local or found.claim


@pytest.mark.parametrize("case", KEPT_STATE, ids=lambda case: case.why)
def test_state_in_a_template_is_found_unless_it_is_permitted(case: Refused) -> None:
    assert kept(case.spec) == case.says
    assert kept(case.spec | ALLOWED) == ""


@pytest.mark.parametrize(
    "given",
    [
        spec(),
        template(volumes=None, initContainers=None, hostPID=None, hostIPC=False),
        template(volumes=[{"name": "x", "hostPath": None, "emptyDir": {}}]),
        template(hostNetwork=True),
        template(containers=[{"name": "web", "image": PIN, "securityContext": None}]),
        template(
            containers=[{"name": "web", "image": PIN, "securityContext": {"privileged": None}}]
        ),
    ],
)
def test_stateless_template_is_accepted(given: dict[str, Any]) -> None:
    assert kept(given) == ""


@pytest.mark.parametrize(
    ("permission", "given"),
    [("nodeLocal", volume("persistentVolumeClaim")), ("sharedVolumes", volume("hostPath"))],
)
def test_one_permission_does_not_include_the_other(permission: str, given: dict[str, Any]) -> None:
    assert kept(given | {"immutability": {permission: "Allow"}}) != ""


def message(given: View, kind: str) -> tuple[str, str, str] | None:
    status = plan(given, NOW).status
    assert status is not None
    found = status.condition(kind)
    return (found.status, found.reason, found.message) if found else None


@pytest.mark.parametrize(("kept", "replicas"), [(LOCAL, 1), (LOCAL, 3), (CLAIM, 3)])
def test_new_template_that_keeps_state_is_not_recorded(kept: dict[str, Any], replicas: int) -> None:
    """Also if the CRD in the cluster is older and accepted it."""
    given = view("A ###"[: 2 + replicas], wanted="B", recorded="A", replicas=replicas, **kept)
    assert moves(plan(given, NOW)) == ""
    said = next(iter(kept.values()))
    found = message(given, "Stalled")
    assert found is not None
    assert found[:2] == ("True", "InvalidSpec")
    assert found[2].endswith(said)
    assert message(given, "NotStateless") is None


def test_claim_of_a_single_instance_is_recorded() -> None:
    given = view("A #", wanted="B", recorded="A", replicas=1, **CLAIM)
    assert moves(plan(given, NOW)) == "record B"


def test_claim_is_refused_if_several_instances_run_and_the_spec_names_no_number() -> None:
    given = view("A ###", wanted="B", recorded="A", replicas=None, **CLAIM)
    assert moves(plan(given, NOW)) == ""
    assert message(given, "Stalled") is not None


@pytest.mark.parametrize(("kept", "reason"), [(LOCAL, "NodeLocal"), (CLAIM, "SharedVolumes")])
def test_running_service_that_keeps_state_is_kept_and_reported_once(
    kept: dict[str, Any], reason: str
) -> None:
    given = view("A ###", **kept)
    decided = plan(given, NOW)
    assert moves(decided, marks=True) == ""
    assert message(given, "Ready") == (
        "True",
        "Current",
        message(replace(given, spec=view("A ###").spec), "Ready")[2],  # type: ignore[index]
    )
    said = message(given, "NotStateless")
    assert said is not None
    assert said[:2] == ("True", reason)
    assert said[2].startswith(next(iter(kept.values())))
    assert [(a.reason, a.warning) for a in decided.announcements] == [("NotStateless", True)]
    assert plan(seen(given, NOW), NOW + 1).announcements == ()
    assert message(seen(given, NOW, spec={"node_local": "", "claim": ""}), "NotStateless") is None


def test_running_service_that_keeps_state_is_repaired() -> None:
    assert moves(plan(view("A ##", **LOCAL), NOW)) == "create A2"


def test_new_content_of_a_config_map_is_rolled_out_whatever_the_template_keeps() -> None:
    """A template that is on record was accepted once: its configuration may change."""
    key = ("ConfigMap", "settings")
    given = view("A ###", recorded="A", pinned={key: False}, **LOCAL)
    given = replace(given, configs={key: Source("sha256:" + "1" * 64)})
    [record] = plan(given, NOW).actions
    assert isinstance(record, CreateRevision)
    assert record.reason == "ConfigChanged"
