"""What single values of the chart change, as `helm template` shows it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from immutable_operator.admission.policies import CLUSTER_WIDE, GUARDS
from immutable_operator.api.names import LABEL_GUARD
from immutable_operator.runtime.main import _notify_options, _parser
from tests.cluster.chart import CHART, LEAST, NAME, NAMESPACE, kinds, read_documents, rendered, the
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json

VALUES = CHART / "values.yaml"
KEEP = "helm.sh/resource-policy"


def pods(plane: ControlPlane, *values: str) -> Json:
    """The spec of the operator's pods with these values."""
    made = rendered(plane, f"--values={LEAST}", *(f"--set={value}" for value in values))
    spec: Json = the("Deployment", made)["spec"]["template"]["spec"]
    return spec


def definitions(plane: ControlPlane, *values: str) -> list[Json]:
    made = rendered(plane, "--set=replicas=0", *(f"--set={value}" for value in values))
    return [d for d in made if d["kind"] == "CustomResourceDefinition"]


def leaves(values: Json, path: str = "") -> dict[str, object]:
    """Each value that is no object, or an empty one, by its path."""
    found: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            found |= leaves(value, f"{path}{key}.")
        else:
            found[f"{path}{key}"] = value
    return found


def test_each_value_has_a_row_with_a_description_in_the_readme() -> None:
    rows = re.findall(
        r"^\| (\S+) \| \S+ \| (.*) \| (.*) \|$", (CHART / "README.md").read_text(), re.M
    )
    described = {name: text for name, _, text in rows if text.strip()}
    given = leaves(yaml.safe_load(VALUES.read_text()))
    undescribed = [
        path for path in given if not any(path == n or path.startswith(f"{n}.") for n in described)
    ]
    assert undescribed == []


def test_each_value_is_in_the_schema_and_in_the_file_with_every_value() -> None:
    everything = leaves(yaml.safe_load((CHART / "ci" / "everything-values.yaml").read_text()))
    paths = leaves(yaml.safe_load(VALUES.read_text()))
    missing = [
        p
        for p in paths
        if not any(e == p or e.startswith(f"{p}.") or p.startswith(f"{e}.") for e in everything)
    ]
    assert missing == ["enforcement.breakGlassURL"], "that of an operator elsewhere"


def test_crds_are_deleted_on_uninstall_only_if_asked_for(control_plane: ControlPlane) -> None:
    kept = definitions(control_plane)
    assert {d["metadata"]["annotations"][KEEP] for d in kept} == {"keep"}
    plain = definitions(control_plane, "crds.keep=false")
    assert len(plain) == len(kept) == len([*CHART.glob("files/crds/*.yaml")])
    assert all("annotations" not in d["metadata"] for d in plain)
    assert [d["spec"] for d in plain] == [d["spec"] for d in kept]


def test_crds_get_labels_and_annotations(control_plane: ControlPlane) -> None:
    values = ("crds.labels.team=platform", "crds.annotations.note=ours")
    for definition in definitions(control_plane, *values):
        assert definition["metadata"]["labels"] == {"team": "platform"}
        assert definition["metadata"]["annotations"] == {KEEP: "keep", "note": "ours"}


def test_extra_variables_and_volumes_reach_the_container(control_plane: ControlPlane) -> None:
    spec = pods(
        control_plane,
        "extraEnv[0].name=SSL_CERT_FILE,extraEnv[0].value=/ca/ca.crt",
        "extraVolumes[0].name=ca,extraVolumes[0].configMap.name=ca",
        "extraVolumeMounts[0].name=ca,extraVolumeMounts[0].mountPath=/ca",
    )
    [container] = spec["containers"]
    names = [variable["name"] for variable in container["env"]]
    assert names == ["POD_NAME", "POD_NAMESPACE", "NODE_NAME", "SSL_CERT_FILE"]
    assert container["volumeMounts"] == [{"name": "ca", "mountPath": "/ca"}]
    assert spec["volumes"] == [{"name": "ca", "configMap": {"name": "ca"}}]


def test_notifications_reach_the_command_and_the_key_is_mounted(
    control_plane: ControlPlane,
) -> None:
    spec = pods(
        control_plane,
        "notifications.url=http://receiver.example/a?b=c,notifications.allowHTTP=true",
        "notifications.secretName=key,notifications.events={Failed,Tainted}",
        "notifications.caFile=/ca/ca.crt,notifications.source=//production",
        "extraVolumes[0].name=ca,extraVolumes[0].configMap.name=ca",
        "extraVolumeMounts[0].name=ca,extraVolumeMounts[0].mountPath=/ca",
    )
    [container] = spec["containers"]
    notify = [argument for argument in container["args"] if argument.startswith("--notify")]
    assert notify == [
        "--notify-url=http://receiver.example/a?b=c",
        "--notify-key-file=/etc/immutable-operator/notifications/key",
        "--notify-source=//production",
        "--notify-timeout-seconds=10",
        "--notify-event=Failed",
        "--notify-event=Tainted",
        "--notify-ca-file=/ca/ca.crt",
        "--notify-allow-http",
    ]
    secret, extra = spec["volumes"]
    assert (secret["secret"]["secretName"], extra["name"]) == ("key", "ca")
    own, ca = container["volumeMounts"]
    assert own["mountPath"] == "/etc/immutable-operator/notifications"
    assert ca == {"name": "ca", "mountPath": "/ca"}
    options = _parser().parse_args(container["args"])
    assert _notify_options(options) is not None
    usual = pods(control_plane)["containers"][0]
    assert "--notify" not in str(usual["args"])


def test_pods_in_the_network_of_their_nodes_find_the_dns_of_the_cluster(
    control_plane: ControlPlane,
) -> None:
    spec = pods(control_plane, "hostNetwork=true")
    assert (spec["hostNetwork"], spec["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    assert pods(control_plane, "hostNetwork=true", "dnsPolicy=Default")["dnsPolicy"] == "Default"
    usual = pods(control_plane)
    assert not {"hostNetwork", "dnsPolicy", "runtimeClassName", "volumes"} & {*usual}
    assert pods(control_plane, "runtimeClassName=gvisor")["runtimeClassName"] == "gvisor"


def test_spread_without_selector_counts_the_operator_pods(control_plane: ControlPlane) -> None:
    zone = "topologySpreadConstraints[0]"
    [constraint] = pods(
        control_plane,
        f"{zone}.maxSkew=1,{zone}.topologyKey=zone,{zone}.whenUnsatisfiable=DoNotSchedule",
    )["topologySpreadConstraints"]
    [usual] = pods(control_plane)["topologySpreadConstraints"]
    assert constraint["topologyKey"] == "zone"
    assert constraint["labelSelector"] == usual["labelSelector"]


def test_strategy_recreate_has_no_settings_of_a_rolling_update(control_plane: ControlPlane) -> None:
    made = rendered(control_plane, f"--values={LEAST}", "--set=strategy.type=Recreate")
    assert the("Deployment", made)["spec"]["strategy"] == {"type": "Recreate"}


def test_disruption_budget_can_be_changed_and_left_out(control_plane: ControlPlane) -> None:
    base = f"--values={LEAST}"
    half = rendered(control_plane, base, "--set=podDisruptionBudget.minAvailable=50%")
    assert the("PodDisruptionBudget", half)["spec"]["minAvailable"] == "50%"
    off = rendered(control_plane, base, "--set=podDisruptionBudget.enabled=false")
    assert "PodDisruptionBudget" not in kinds(off)


def test_extra_objects_are_installed_with_their_templates_evaluated(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    own = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "{{ .Release.Name }}-own"},
    }
    file = tmp_path / "values.json"
    file.write_text(json.dumps({"extraObjects": [own]}))
    made = rendered(control_plane, "--set=replicas=0", f"--values={file}")
    assert the("ConfigMap", made)["metadata"] == {"name": f"{NAME}-own"}


def bindings_by_guard(documents: list[Json]) -> dict[str, Json]:
    return {
        d["metadata"]["labels"][LABEL_GUARD]: d["spec"]
        for d in documents
        if d["kind"] == "ValidatingAdmissionPolicyBinding"
        and LABEL_GUARD in d["metadata"]["labels"]
    }


def test_mode_label_adds_a_binding_for_each_other_mode(control_plane: ControlPlane) -> None:
    made = bindings_by_guard(rendered(control_plane, "--set=replicas=0,enforcement.modeLabel=mode"))
    others = [guard for guard in GUARDS if guard != CLUSTER_WIDE]
    wanted = {*GUARDS, *(f"{guard}-{mode}" for guard in others for mode in ("warn", "audit"))}
    assert {*made} == wanted
    [_, first] = made["connect"]["matchResources"]["namespaceSelector"]["matchExpressions"]
    assert first == {"key": "mode", "operator": "NotIn", "values": ["Audit", "Off", "Warn"]}
    warn = made["connect-warn"]
    assert (warn["policyName"], warn["validationActions"]) == (
        "connect.immutable.dev",
        ["Warn", "Audit"],
    )
    [_, own] = warn["matchResources"]["namespaceSelector"]["matchExpressions"]
    assert own == {"key": "mode", "operator": "In", "values": ["Warn"]}


def test_namespace_selector_restricts_each_binding(control_plane: ControlPlane) -> None:
    made = bindings_by_guard(
        rendered(
            control_plane, "--set=replicas=0,enforcement.namespaceSelector.matchLabels.team=shop"
        )
    )
    assert {*made} == {*GUARDS}
    for spec in made.values():
        [_, own] = spec["matchResources"]["namespaceSelector"]["matchExpressions"]
        assert own == {"key": "team", "operator": "In", "values": ["shop"]}


@pytest.mark.parametrize("value", ["modeLabel=mode", "namespaceSelector.matchLabels.team=shop"])
def test_namespaces_may_be_listed_only_where_their_labels_count(
    control_plane: ControlPlane, value: str
) -> None:
    def rights(*values: str) -> list[Json]:
        made = rendered(control_plane, f"--values={LEAST}", *values)
        [role] = [d for d in made if d["kind"] == "ClusterRole" and d["metadata"]["name"] == NAME]
        return [rule for rule in role["rules"] if "namespaces" in rule["resources"]]

    assert rights() == []
    [rule] = rights(f"--set=enforcement.{value}")
    assert rule["verbs"] == ["list", "watch"]
    assert (
        "--namespaces-by-label"
        in pods(control_plane, f"enforcement.{value}")["containers"][0]["args"]
    )
    assert rights(f"--set=enforcement.{value},enforcement.mode=Off") == []


def hooks(plane: ControlPlane, *values: str) -> list[Json]:
    """What `helm test` creates."""
    command = ("template", NAME, str(CHART), f"--values={LEAST}", *(f"--set={v}" for v in values))
    made = read_documents(plane.helm(*command, namespace=NAMESPACE).stdout)
    return [d for d in made if "helm.sh/hook" in d["metadata"].get("annotations", {})]


def test_helm_test_creates_a_pod_that_may_only_read(control_plane: ControlPlane) -> None:
    made = hooks(control_plane, "enforcement.mode=Warn")
    verbs = {verb for d in made for rule in d.get("rules", ()) for verb in rule["verbs"]}
    assert verbs == {"get", "list"}
    annotations = [d["metadata"]["annotations"] for d in made]
    assert {a["helm.sh/hook"] for a in annotations} == {"test"}
    policy = "before-hook-creation,hook-succeeded"
    assert {a["helm.sh/hook-delete-policy"] for a in annotations} == {policy}
    pod = the("Pod", made)
    [container] = pod["spec"]["containers"]
    assert container["command"] == ["kubectl-immutable", "check"]
    assert container["args"] == ["--mode=Warn", f"--namespace={NAMESPACE}"]
    assert pod["spec"]["serviceAccountName"] == the("ServiceAccount", made)["metadata"]["name"]
    services = [d for d in rendered(control_plane, f"--values={LEAST}") if d["kind"] == "Service"]
    for service in services:
        selector = service["spec"]["selector"].items()
        assert not selector <= pod["metadata"]["labels"].items(), (
            "it gets no requests of the operator"
        )


def test_helm_test_can_be_left_out(control_plane: ControlPlane) -> None:
    assert hooks(control_plane, "test.enabled=false") == []
    assert hooks(control_plane, "replicas=0") == []


def notes(plane: ControlPlane, *values: str) -> str:
    """What `helm install` would print to a person."""
    command = (
        "install",
        NAME,
        str(CHART),
        f"--values={LEAST}",
        "--dry-run=client",
        "--hide-secret",
    )
    said = plane.helm(*command, *(f"--set={v}" for v in values), namespace=NAMESPACE).stdout
    return said.rpartition("NOTES:")[2]


NOTES = {
    "replicas=1": "replicas is 1: while the operator's pod restarts or moves",
    "enforcement.mode=Audit": "enforcement.mode is Audit: running pods can be changed in place",
    "enforcement.modeLabel=mode": "kubectl get namespaces -L mode",
    "enforcement.allowedVerbs={portforward}": "portforward to running pods is allowed",
    "crds.keep=false": "`helm uninstall` deletes the CustomResourceDefinitions",
    "webhook.port=10250": "must reach port 10250 of the operator's pods",
}


@pytest.mark.parametrize("value", NOTES)
def test_notes_name_what_limits_the_installation(control_plane: ControlPlane, value: str) -> None:
    assert NOTES[value] in notes(control_plane, value)
    usual = notes(control_plane)
    assert (NOTES[value] in usual) is False
    assert f"helm test {NAME} -n {NAMESPACE}" in usual
    assert "must reach port 9443" in usual
