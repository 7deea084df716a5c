"""The policies as text: the names in them are ours, the copies in the chart are theirs.

What they do is tested on a real API server: tests/cluster/test_policies_*.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from immutable_operator.admission.chart import FOLDER, ROOT, main
from immutable_operator.admission.policies import (
    GUARDS,
    LISTS,
    NODE_GUARDS,
    POOL_RECORDS,
    Allowed,
    Mode,
    bindings,
    node_bindings,
    node_policies,
    object_name,
    policies,
    source,
)
from immutable_operator.api.names import (
    ANNOTATION_TAINTED,
    BREAK_GLASS_GROUP,
    GROUP,
    INSTANCE_NAME,
    LABEL_POOL,
    LABEL_REVISION,
    LABEL_SERVICE,
    RESERVED_PREFIX,
    TAINT_RETIRING,
    TAINT_UNVERIFIED,
)
from immutable_operator.api.node_folders import NODE_FOLDERS, is_sensitive

OPERATOR = "system:serviceaccount:here:me"
PLACEHOLDERS = ("OPERATOR_USER", "BREAK_GLASS", "NODE_FOLDERS", *LISTS)


def test_policies_use_the_names_of_the_api() -> None:
    """YAML cannot import the names; a policy with an outdated name protects nothing."""
    assert f"'{INSTANCE_NAME}'" in source("pod-create")
    for guard in ("connect", "node-proxy"):
        assert INSTANCE_NAME.removesuffix("$") in source(guard)
    for guard in ("connect", "running-pod"):
        assert f"'{BREAK_GLASS_GROUP}'" in source(guard)
    for guard in ("running-pod", "pod-create"):
        assert f"'{ANNOTATION_TAINTED}'" in source(guard)
    for guard in ("running-pod", "pod-create", "pod-status", "configmap", "secret", "service"):
        assert f"'{LABEL_SERVICE}'" in source(guard)
    assert f"'{LABEL_REVISION}'" in source("pod-create")
    for guard in ("node-access", "node-records", "claim-records"):
        assert f"'{BREAK_GLASS_GROUP}'" in source(guard)
    for guard in ("node-records", "claim-records"):
        assert f"'{LABEL_POOL}'" in source(guard)
        assert f"startsWith('{RESERVED_PREFIX}')" in source(guard)
    assert f"{LABEL_POOL}=" in source("pool-deletion")
    assert all(t.startswith(RESERVED_PREFIX) for t in (TAINT_UNVERIFIED, TAINT_RETIRING))
    assert object_name("connect") == f"connect.{GROUP}"


def test_policy_of_node_access_names_the_folders_that_detection_looks_for() -> None:
    for folder in NODE_FOLDERS:
        assert f"'{folder}/'" in source("node-access")


@pytest.mark.parametrize(
    "path",
    [*NODE_FOLDERS, "/", "//", "/.", "/var", "/var/lib/", "/run", "/etc//ssh", "/var/./run/x"],
)
def test_folder_that_gives_access_to_its_node_is_sensitive(path: str) -> None:
    assert is_sensitive(path)


@pytest.mark.parametrize("path", ["/etcd", "/var/log", "/mnt/disks/a", "/run/user", "/data/etc"])
def test_folder_that_only_holds_data_is_not_sensitive(path: str) -> None:
    assert not is_sensitive(path)


def test_policies_name_the_operator_in_every_place() -> None:
    for made in (policies(OPERATOR), node_policies(OPERATOR, break_glass=True)):
        assert OPERATOR in str(made)
        assert not [name for name in PLACEHOLDERS if name in str(made)]


def test_break_glass_that_is_off_allows_no_access_to_nodes() -> None:
    for guard in ("node-access", "node-records", "claim-records"):
        for on, word in ((True, "true"), (False, "false")):
            text = str(node_policies(OPERATOR, break_glass=on)[guard])
            assert f"{word} && '{BREAK_GLASS_GROUP}' in request.userInfo" in text


@pytest.mark.parametrize("guard", [*GUARDS, *NODE_GUARDS])
def test_policy_fails_closed_without_parameters_and_with_a_message(guard: str) -> None:
    spec = (policies(OPERATOR) | node_policies(OPERATOR, break_glass=True))[guard]
    assert spec["failurePolicy"] == "Fail"
    assert "paramKind" not in spec
    for rule in spec["validations"]:
        assert rule["reason"] in ("Forbidden", "Invalid")
        assert rule["message"], "what is shown where the computed message fails"


def test_policies_let_through_what_the_values_allow_and_nothing_else() -> None:
    usual = policies(OPERATOR)
    changed = policies(OPERATOR, Allowed(("portforward",), ("docker.io/istio/",)))
    assert {guard for guard in GUARDS if usual[guard] != changed[guard]} == {
        "connect",
        "pod-create",
    }
    assert "variables.sub in []" in str(usual["connect"])
    assert "variables.sub in ['portforward']" in changed["connect"]["validations"][0]["expression"]
    assert "['docker.io/istio/'].exists" in changed["pod-create"]["variables"][-1]["expression"]


def test_bindings_follow_the_mode() -> None:
    assert bindings("here", "Off") == {}
    wanted: dict[Mode, list[str]] = {"Deny": ["Deny", "Audit"], "Audit": ["Audit"]}
    for mode, actions in wanted.items():
        for guard, spec in bindings("here", mode, ["sandbox"]).items():
            assert spec["policyName"] == object_name(guard)
            assert spec["validationActions"] == actions
            [term] = spec["matchResources"]["namespaceSelector"]["matchExpressions"]
            assert term["values"] == ["kube-system", "here", "sandbox"]


def test_bindings_of_node_policies_follow_their_mode_and_deletion_is_never_refused() -> None:
    assert node_bindings("here", "Off") == {}
    wanted: dict[Mode, str] = {"Deny": "Warn", "Warn": "Warn", "Audit": "Audit"}
    for mode, first in wanted.items():
        bound = node_bindings("here", mode, ["monitoring"])
        assert {*bound} == {*NODE_GUARDS}
        for guard, spec in bound.items():
            actions = spec["validationActions"]
            assert actions[0] == (first if guard == "pool-deletion" else mode)
            [term] = spec["matchResources"]["namespaceSelector"]["matchExpressions"]
            own = guard in POOL_RECORDS
            wanted_values = ["here"] if own else ["kube-system", "here", "monitoring"]
            assert (term["operator"], term["values"]) == ("In" if own else "NotIn", wanted_values)


def test_check_reports_a_chart_copy_that_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check", f"--root={ROOT}"]) == 0
    assert main([f"--root={tmp_path}"]) == 0
    copy = tmp_path / FOLDER / "connect.yaml"
    copy.write_text(copy.read_text().replace("Fail", "Ignore"))
    (tmp_path / FOLDER / "left-over.yaml").write_text("failurePolicy: Fail\n")
    assert main(["--check", f"--root={tmp_path}"]) == 1
    said = capsys.readouterr().out
    assert "-failurePolicy: Ignore" in said
    assert "left-over.yaml" in said
    assert main([f"--root={tmp_path}"]) == 0
    assert main(["--check", f"--root={tmp_path}"]) == 0
