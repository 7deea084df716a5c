"""`kubectl immutable convert`: a Deployment becomes a service, its text stays as it was written."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from immutable_operator.api.service import validate_service
from immutable_operator.cli.conversion import Conversion, convert
from immutable_operator.cli.convert import convert_text
from immutable_operator.cli.kubernetes_yaml import dumped, loaded
from immutable_operator.cli.main import main
from immutable_operator.cli.problem import CannotRun
from tests.unit.service_specs import PIN

LABELS = {"app": "web"}
TARGET = {"apiVersion": "immutable.dev/v1alpha1", "kind": "ImmutableService", "name": "web"}


def deployment(pod: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    container = {
        "name": "web",
        "image": PIN,
        "securityContext": {"readOnlyRootFilesystem": True},
    }
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [container], **(pod or {})}}
    body = {"selector": {"matchLabels": LABELS}, "template": template, **spec}
    metadata = {"name": "web", "annotations": {"deployment.kubernetes.io/revision": "3"}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": body}


def converted(pod: dict[str, Any] | None = None, **spec: Any) -> Conversion:
    found = convert(deployment(pod, **spec))
    if not any(note.blocks for note in found.notes):
        validate_service("web", found.body["spec"])
    return found


def told(found: Conversion) -> dict[str, str]:
    return {note.path: note.text for note in found.notes}


def text_of(text: str) -> str:
    return convert_text(text, "web.yaml", lambda _: None)[0]


def test_plain_deployment_becomes_a_service_with_the_same_template() -> None:
    given = deployment(replicas=3)
    found = convert(given)
    template = given["spec"]["template"]
    assert found.body == {
        "apiVersion": "immutable.dev/v1alpha1",
        "kind": "ImmutableService",
        "metadata": {"name": "web"},
        "spec": {"replicas": 3, "template": template},
    }
    assert list(told(found)) == ["spec.selector"]


@pytest.mark.parametrize(
    ("rolling", "wanted"),
    [
        ({"maxSurge": "050%", "maxUnavailable": "0%"}, {"maxSurge": "50%", "maxUnavailable": "0%"}),
        ({"maxSurge": 0}, {"maxSurge": 0, "maxUnavailable": "25%"}),
        ({"maxUnavailable": 2}, {"maxUnavailable": 2}),
        ({}, None),
    ],
)
def test_budget_of_a_rolling_update_is_kept(rolling: Any, wanted: Any) -> None:
    found = converted(strategy={"type": "RollingUpdate", "rollingUpdate": rolling})
    assert found.body["spec"].get("rollout") == wanted


def test_recreate_replaces_pods_only_after_they_have_ended() -> None:
    found = converted(strategy={"type": "Recreate"})
    assert found.body["spec"]["rollout"] == {
        "maxSurge": 0,
        "maxUnavailable": "100%",
        "podReplacement": "TerminationComplete",
    }
    assert "no exact equivalent" in told(found)["spec.strategy.type"]


def test_fields_without_an_equivalent_are_named() -> None:
    found = converted(
        paused=True,
        minReadySeconds=5,
        progressDeadlineSeconds=300,
        revisionHistoryLimit=0,
        colour=1,
    )
    assert found.body["spec"]["rollout"] == {"minReadySeconds": 5, "progressDeadlineSeconds": 300}
    assert found.body["spec"]["historyLimit"] == 1
    names = ("paused", "progressDeadlineSeconds", "revisionHistoryLimit", "colour", "selector")
    assert set(told(found)) == {f"spec.{name}" for name in names}


def test_state_on_a_node_is_allowed_and_named() -> None:
    found = converted({"volumes": [{"name": "data", "hostPath": {"path": "/data"}}]})
    assert found.body["spec"]["immutability"] == {"nodeLocal": "Allow"}
    assert told(found)["spec.template.spec.volumes"].startswith(
        "volume data uses hostPath, so spec."
    )


@pytest.mark.parametrize(("replicas", "wanted"), [(1, None), (2, {"sharedVolumes": "Allow"})])
def test_claims_are_shared_only_by_several_replicas(replicas: int, wanted: Any) -> None:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    found = converted({"volumes": volumes}, replicas=replicas)
    assert found.body["spec"].get("immutability") == wanted
    assert "persistentVolumeClaim" in told(found)["spec.template.spec.volumes"]


def test_writable_root_file_system_is_kept() -> None:
    found = converted({"containers": [{"name": "web", "image": PIN}]})
    assert found.body["spec"]["immutability"] == {"writableRootFilesystem": True}


def test_host_port_needs_another_node() -> None:
    container = {"name": "web", "image": PIN, "ports": [{"containerPort": 80, "hostPort": 80}]}
    path = "spec.template.spec.containers[0].ports"
    assert "needs another node" in told(converted({"containers": [container]}))[path]
    one_by_one = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    assert path not in told(converted({"containers": [container]}, strategy=one_by_one))


def test_tag_is_named_with_the_command_that_pins_it() -> None:
    found = convert(deployment({"containers": [{"name": "web", "image": "nginx:1.27"}]}))
    [note] = [note for note in found.notes if note.path.endswith(".image")]
    assert not note.blocks
    assert note.text.endswith("run: kubectl immutable pin -f FILE")


def test_name_that_is_too_long_blocks_the_result() -> None:
    given = deployment()
    given["metadata"]["name"] = "a" * 46
    assert [note.path for note in convert(given).notes if note.blocks] == ["metadata.name"]


DEPLOYMENT = """\
# Shop front
apiVersion: apps/v1
kind: Deployment  # of the shop
metadata:
  name: web
  annotations:
    deployment.kubernetes.io/revision: "3"
spec:
  # enough for Monday
  replicas: 3
  # what it selects
  selector:
    matchLabels:
      app: web
  revisionHistoryLimit: 2
  # the pods
  template:
    metadata:
      labels: &labels {app: web}
    spec:
      containers:
      - name: web
        image: IMAGE   # pinned by CI
        args: ["on", 'y', 1.0]
        command:
        - sh
        - -c
        - |
          echo "# no comment"

        securityContext: {readOnlyRootFilesystem: true}
status:
  replicas: 3
""".replace("IMAGE", PIN)
SERVICE = """\
# Shop front
apiVersion: immutable.dev/v1alpha1
kind: ImmutableService  # of the shop
metadata:
  name: web
spec:
  # enough for Monday
  replicas: 3
  historyLimit: 2
  # the pods
  template:
    metadata:
      labels: &labels {app: web}
    spec:
      containers:
      - name: web
        image: IMAGE   # pinned by CI
        args: ["on", 'y', 1.0]
        command:
        - sh
        - -c
        - |
          echo "# no comment"

        securityContext: {readOnlyRootFilesystem: true}
""".replace("IMAGE", PIN)
BESIDE = """\
---
# scales
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  maxReplicas: 9 # enough
---
apiVersion: policy/v1
kind: PodDisruptionBudget # stays
metadata: {name: web}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
"""


def test_comments_and_order_are_kept() -> None:
    assert text_of(DEPLOYMENT) == SERVICE


def test_line_ends_of_windows_are_kept_where_nothing_changes() -> None:
    text = text_of(DEPLOYMENT.replace("\n", "\r\n"))
    assert text.startswith("# Shop front\r\napiVersion: immutable.dev/v1alpha1\r\n")
    assert yaml.safe_load(text) == yaml.safe_load(SERVICE)


def test_autoscaler_gets_the_service_and_the_budget_stays() -> None:
    text = text_of(DEPLOYMENT + BESIDE)
    service, autoscaler, budget = yaml.safe_load_all(text)
    assert service == yaml.safe_load(SERVICE)
    assert autoscaler["spec"] == {"scaleTargetRef": TARGET, "maxReplicas": 9}
    assert budget == list(yaml.safe_load_all(BESIDE))[1]
    assert "maxReplicas: 9 # enough" in text
    assert text.endswith(BESIDE.partition("enough\n")[2])


def test_autoscaler_of_something_else_stays() -> None:
    other = BESIDE.replace("name: web}", "name: other}")
    assert text_of(DEPLOYMENT + other) == SERVICE + other


def test_scaled_object_of_keda_gets_the_service() -> None:
    spec = {"scaleTargetRef": {"name": "web"}, "minReplicaCount": 2}
    scaled = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "spec": spec}
    _, found = yaml.safe_load_all(text_of(f"{DEPLOYMENT}---\n{dumped(scaled)}"))
    assert found["spec"] == {"scaleTargetRef": TARGET, "minReplicaCount": 2}


def test_vertical_autoscaler_is_named_because_it_changes_pods_in_place() -> None:
    said: list[str] = []
    spec = {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}
    vertical = {"kind": "VerticalPodAutoscaler", "metadata": {"name": "web"}, "spec": spec}
    convert_text(f"{DEPLOYMENT}---\n{dumped(vertical)}", "-", said.append)
    assert said[-1].startswith(
        "verticalpodautoscaler web: spec.targetRef: kept; it can change pods"
    )


def test_selector_that_the_template_refers_to_is_written_out() -> None:
    text = DEPLOYMENT.replace("&labels {app: web}", "*chosen")
    text = text.replace("matchLabels:\n", "matchLabels: &chosen\n")
    assert yaml.safe_load(text_of(text)) == yaml.safe_load(SERVICE)


def test_json_stays_json() -> None:
    text = text_of(json.dumps({"kind": "List", "items": [deployment(), {"kind": "Secret"}]}))
    first, second = json.loads(text)["items"]
    assert (first["kind"], second) == ("ImmutableService", {"kind": "Secret"})


def test_autoscaler_counts_as_several_replicas() -> None:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    text = dumped(deployment({"volumes": volumes})) + BESIDE
    service = next(iter(yaml.safe_load_all(text_of(text))))
    assert service["spec"]["immutability"] == {"sharedVolumes": "Allow"}


def test_other_workloads_are_kept_and_named() -> None:
    said: list[str] = []
    more = dumped({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}})
    text, blocked = convert_text(f"{DEPLOYMENT}---\n{more}", "-", said.append)
    assert text.endswith(more)
    assert not blocked
    assert said[-1] == "statefulset db: kept as it is: only Deployments are converted"


@pytest.mark.parametrize(
    "value", ["1e3", "010", "1_0", "y", "No", "on", "null", "~", "", "=", "0x1"]
)
def test_text_that_looks_like_something_else_is_quoted(value: str) -> None:
    written = dumped({"a": value}).removeprefix("a: ").strip()
    assert written[0] in "'\""
    assert loaded(f"a: {written}") == {"a": value}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "is not valid YAML"),
        ("{{ .Values.x }}: y", "render it first"),
        ("kind: Service", "has no Deployment"),
        ("", "has no Deployment"),
    ],
)
def test_text_without_a_deployment_is_refused(text: str, says: str) -> None:
    with pytest.raises(CannotRun, match=says):
        text_of(text)


def run(*args: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["convert", *args])
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


def test_command_reads_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(DEPLOYMENT.encode())))
    code, out, err = run("-f", "-", capsys=capsys)
    assert (code, out) == (0, SERVICE)
    assert err.startswith("deployment web: spec.selector: left out")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_file_that_cannot_be_read_is_one_sentence(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "web.yaml"
    if content:
        path.write_bytes(content)
    code, out, err = run("-f", str(path), capsys=capsys)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {path} cannot be read: ")
    assert err.count("\n") == 1


def test_blocked_result_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(
        DEPLOYMENT.replace("name: web\n  annotations", f"name: {'a' * 46}\n  annotations")
    )
    code, out, err = run("-f", str(path), capsys=capsys)
    assert code == 1
    assert "kind: ImmutableService" in out
    assert "choose a shorter name" in err
