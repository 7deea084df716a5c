"""The policies as text: the names in them are ours, the copies in the chart are theirs.

What they do is tested on a real API server: tests/cluster/test_policies_*.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from immutable_operator.admission.chart import FOLDER, ROOT, main
from immutable_operator.admission.policies import (
    GUARDS,
    Mode,
    bindings,
    object_name,
    policies,
    source,
)
from immutable_operator.api.names import (
    ANNOTATION_TAINTED,
    BREAK_GLASS_GROUP,
    GROUP,
    INSTANCE_NAME,
    LABEL_REVISION,
    LABEL_SERVICE,
)

OPERATOR = "system:serviceaccount:here:me"


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
    assert object_name("connect") == f"connect.{GROUP}"


def test_policies_name_the_operator_in_every_place() -> None:
    text = str(policies(OPERATOR))
    assert OPERATOR in text
    assert "OPERATOR_USER" not in text


@pytest.mark.parametrize("guard", GUARDS)
def test_policy_fails_closed_without_parameters_and_with_a_message(guard: str) -> None:
    spec = policies(OPERATOR)[guard]
    assert spec["failurePolicy"] == "Fail"
    assert "paramKind" not in spec
    for rule in spec["validations"]:
        assert rule["reason"] in ("Forbidden", "Invalid")
        assert rule["message"], "what is shown where the computed message fails"


def test_bindings_follow_the_mode() -> None:
    assert bindings("here", "Off") == {}
    wanted: dict[Mode, list[str]] = {"Deny": ["Deny", "Audit"], "Audit": ["Audit"]}
    for mode, actions in wanted.items():
        for guard, spec in bindings("here", mode, ["sandbox"]).items():
            assert spec["policyName"] == object_name(guard)
            assert spec["validationActions"] == actions
            [term] = spec["matchResources"]["namespaceSelector"]["matchExpressions"]
            assert term["values"] == ["kube-system", "here", "sandbox"]


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
