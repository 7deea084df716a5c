"""The chart as administrators meet it, on a control plane of its own: it is installed, upgraded
and removed here. No operator runs, so objects can be looked at before anybody has touched them.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from immutable_operator.admission.certificates import issue
from immutable_operator.admission.policies import (
    GUARDS,
    NODE_GUARDS,
    Mode,
    node_bindings,
    node_policies,
    object_name,
)
from immutable_operator.api.crd import KINDS
from immutable_operator.api.names import API_VERSION, GROUP, LABEL_GUARD
from tests.cluster.chart import CHART, LEAST, NAME, NAMESPACE, kinds, read_documents, rendered, the
from tests.controlplane import ControlPlane
from tests.unit.service_specs import PIN, spec
from tests.waiting import wait_for

CI_VALUES = sorted((CHART / "ci").iterdir())
OPERATOR = f"system:serviceaccount:{NAMESPACE}:{NAME}"
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
DEFINITIONS = sorted(f"{kind.plural}.{GROUP}" for kind in KINDS)
NEW_COLUMN = "Stale"
AUTHORITY = base64.b64encode(
    issue(("example.svc",), datetime.now(UTC), timedelta(days=1)).authority.encode()
).decode()
Json = dict[str, Any]


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """A control plane with nothing of ours on it."""
    with ControlPlane.start() as started:
        started.add_nodes(2)
        yield started


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart as an earlier version might have been: one column is not there yet."""
    copy = tmp_path_factory.mktemp("older") / NAME
    shutil.copytree(CHART, copy)
    definition = copy / "files" / "crds" / "immutableservices.yaml"
    body = yaml.safe_load(definition.read_text())
    columns = body["spec"]["versions"][0]["additionalPrinterColumns"]
    columns[:] = [column for column in columns if column["name"] != NEW_COLUMN]
    definition.write_text(yaml.safe_dump(body))
    return copy


@pytest.fixture(scope="module")
def installed(plane: ControlPlane, older: Path) -> ControlPlane:
    """The older chart, installed for real into a restricted namespace; with one service."""
    plane.kubectl("create", "namespace", NAMESPACE)
    plane.kubectl("label", "namespace", NAMESPACE, RESTRICTED)
    plane.helm(
        *("install", NAME, str(older), f"--values={LEAST}", "--wait", "--timeout=2m"),
        namespace=NAMESPACE,
    )
    plane.kubectl("create", "namespace", "shop")
    wait_for("new kinds are admitted", lambda: apply(plane, service("settled")))
    return plane


def service(name: str, replicas: int | None = None, label: str = "1") -> Json:
    """Give the manifest of a service; the label is for changes that matter to nobody."""
    given = spec() if replicas is None else spec(replicas=replicas)
    given["template"] = given["template"] | {"metadata": {"labels": {"change": label}}}
    return {
        "apiVersion": API_VERSION,
        "kind": "ImmutableService",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": given,
    }


def apply(plane: ControlPlane, manifest: Json, *options: str) -> str:
    """Apply one object as a user does."""
    return plane.kubectl("apply", "-f", "-", *options, stdin=json.dumps(manifest)).stdout


def get(plane: ControlPlane, *what: str, namespace: str = "shop") -> Json:
    """Read one object, or a list of them."""
    found: Json = json.loads(plane.kubectl("get", *what, "-o", "json", namespace=namespace).stdout)
    return found


# What is rendered, and what is refused.


def test_strict_helm_lint_has_no_warnings(plane: ControlPlane) -> None:
    """Without any value; `make chart` lints it with each file of values."""
    result = plane.helm("lint", "--strict", str(CHART))
    assert "WARNING" not in result.stdout + result.stderr


REFUSED = {
    "a tag": ("image.tag=v1", "at '/image': additional properties 'tag' not allowed"),
    "a tag in the name": ("image.repository=registry.example/x:v1", "at '/image/repository': "),
    "a tag for a digest": ("image.digest=latest", "at '/image/digest': 'latest' does not match"),
    "a short digest": ("image.digest=sha256:9f2c", "at '/image/digest': 'sha256:9f2c' does not"),
    "less than none": ("replicas=-1", "at '/replicas': minimum: got -1, want 0"),
    "another format": ("logFormat=xml", "at '/logFormat': value must be one of 'json', 'console'"),
    "a typo": ("replica=2", "at '': additional properties 'replica' not allowed"),
    "no image": (
        "replicas=1",
        "image.repository is not set: set it to the operator's image, without tag and digest",
    ),
    "another level": ("logLevel=TRACE", "at '/logLevel': value must be one of 'DEBUG', 'INFO'"),
    "a name in capitals": ("nameOverride=Web", "at '/nameOverride': 'Web' does not match"),
    "the port of the metrics": ("webhook.port=8080", "at '/webhook/port': 'not' failed"),
    "an address for a namespace": (
        "pinning.secrets.namespaces={shop.example}",
        "at '/pinning/secrets/namespaces/0': 'shop.example' does not match",
    ),
    "a word for an argument": ("extraArgs={run}", "at '/extraArgs/0': 'run' does not match"),
    "an account without a name": (
        "serviceAccount.create=false",
        "serviceAccount.create is false and serviceAccount.name is not set: set it to the service",
    ),
    "an alert that does not exist": (
        "metrics.prometheusRule.disabled={Stalled}",
        "at '/metrics/prometheusRule/disabled/0': value must be one of 'ImmutableServiceStalled'",
    ),
    "an interval without unit": (
        "metrics.serviceMonitor.interval=30",
        "at '/metrics/serviceMonitor/interval': got number, want string",
    ),
    "a lease that cannot be renewed": (
        "leaderElection.renewSeconds=15",
        "leaderElection: retrySeconds (2) must be less than renewSeconds (15), and renewSeconds",
    ),
    "a budget that blocks drains": (
        "podDisruptionBudget.minAvailable=2",
        "podDisruptionBudget.minAvailable is 2 and replicas is 2: no operator pod could be evicted",
    ),
    "a budget of all": (
        "podDisruptionBudget.minAvailable=100%",
        "at '/podDisruptionBudget/minAvailable': 'not' failed",
    ),
    "no writes": ("writesPerSecond=0", "at '/writesPerSecond': exclusiveMinimum: got 0, want 0"),
    "another strategy": ("strategy.type=Canary", "at '/strategy/type': value must be one of"),
    "exec as an allowed verb": (
        "enforcement.allowedVerbs={exec}",
        "at '/enforcement/allowedVerbs/0': value must be 'portforward'",
    ),
    "a whole registry name as a prefix": (
        "enforcement.allowUnpinned={istio}",
        "at '/enforcement/allowUnpinned/0': 'istio' does not match pattern",
    ),
    "a quote in a prefix": (
        "enforcement.allowUnpinned={a/'x}",
        "at '/enforcement/allowUnpinned/0'",
    ),
    "a label with a space": (
        "enforcement.modeLabel=a b",
        "at '/enforcement/modeLabel': 'a b' does not match pattern",
    ),
    "a selector with a typo": (
        "enforcement.namespaceSelector.matchLabel.a=b",
        "at '/enforcement/namespaceSelector': additional properties 'matchLabel' not allowed",
    ),
    "a variable of the chart's own": (
        "extraEnv[0].name=POD_NAME",
        "at '/extraEnv/0/name': 'not' failed",
    ),
    "a relative mount": (
        "extraVolumeMounts[0].mountPath=etc",
        "at '/extraVolumeMounts/0': missing property 'name'",
    ),
    "an object without a kind": (
        "extraObjects[0].metadata.name=x",
        "at '/extraObjects/0': missing properties 'apiVersion', 'kind'",
    ),
    "another DNS policy": ("dnsPolicy=None", "at '/dnsPolicy': value must be one of"),
    "the annotation that crds.keep sets": (
        "crds.annotations.helm\\.sh/resource-policy=keep",
        "at '/crds/annotations': 'not' failed",
    ),
    "an address without encryption": (
        "notifications.url=http://receiver.example/,notifications.secretName=key",
        "at '/notifications/url': 'http://receiver.example/' does not match pattern",
    ),
    "an address of another kind": (
        "notifications.url=ftp://receiver.example/,notifications.secretName=key",
        "at '/notifications/url': 'ftp://receiver.example/' does not match pattern",
    ),
    "an event that does not exist": (
        "notifications.events={Good,Bad}",
        "at '/notifications/events/1': value must be one of 'Good', 'Failed'",
    ),
    "notifications without a key": (
        "notifications.url=https://receiver.example/",
        "at '/notifications/secretName': minLength: got 0, want 1",
    ),
    "no digest": (
        "image.repository=registry.example/x",
        "image.digest is not set: the operator's own image must be pinned by digest as well;"
        " set it with"
        "\n  --set image.digest=sha256:<64 lower-case hex digits>\n",
    ),
}


@pytest.mark.parametrize(("value", "message"), REFUSED.values(), ids=REFUSED)
def test_a_bad_value_is_refused_by_name(plane: ControlPlane, value: str, message: str) -> None:
    # Refused before the image is missed, where the schema does not refuse it already.
    image = () if "image" in message else (f"--values={LEAST}",)
    result = plane.helm("template", NAME, str(CHART), *image, "--set", value, check=False)
    assert result.returncode == 1
    assert message in result.stderr


def test_too_old_kubernetes_is_refused(plane: ControlPlane) -> None:
    result = plane.helm("template", NAME, str(CHART), "--kube-version=1.32.9", check=False)
    assert "chart requires kubeVersion: >=1.33.0-0" in result.stderr


def test_zero_replicas_installs_everything_but_the_deployment(plane: ControlPlane) -> None:
    assert kinds(rendered(plane, "--set=replicas=0")) == {
        "CustomResourceDefinition",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
        *BREAK_GLASS,
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }


BREAK_GLASS = {"Service", "Secret", "ValidatingWebhookConfiguration"}


def test_existing_service_account_is_used_everywhere(plane: ControlPlane) -> None:
    given = "--set=serviceAccount.create=false,serviceAccount.name=runner"
    made = rendered(plane, f"--values={LEAST}", given)
    assert "ServiceAccount" not in kinds(made)
    subjects = [s for d in made if d["kind"].endswith("RoleBinding") for s in d["subjects"]]
    assert {s["name"] for s in subjects} == {"runner"}
    [deployment] = [d for d in made if d["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == "runner"
    policies = [d for d in made if d["kind"] == "ValidatingAdmissionPolicy"]
    users = set(re.findall(r"system:serviceaccount:[-a-z]+:[-a-z]*runner", json.dumps(policies)))
    assert len(users) == 1, "the policies let the operator do what it must"


def test_component_labels_distinguish_metrics_service_from_webhook_service(
    plane: ControlPlane,
) -> None:
    common = "--set=commonLabels.team=platform,commonLabels.app\\.kubernetes\\.io/name=not-this"
    made = rendered(plane, f"--values={LEAST}", common)
    services = [d["metadata"]["labels"] for d in made if d["kind"] == "Service"]
    component, name = "app.kubernetes.io/component", "app.kubernetes.io/name"
    assert sorted(labels[component] for labels in services) == ["metrics", "webhook"]
    own = [d for d in made if d["kind"] != "CustomResourceDefinition"]
    assert {d["metadata"]["labels"]["team"] for d in own} == {"platform"}
    assert {d["metadata"]["labels"][name] for d in own} == {"immutable-operator"}


def test_service_monitor_selects_the_metrics_service_and_nothing_else(plane: ControlPlane) -> None:
    wanted = "--set=metrics.serviceMonitor.enabled=true"
    made = rendered(plane, f"--values={LEAST}", wanted)
    [monitor] = [d for d in made if d["kind"] == "ServiceMonitor"]
    [endpoint] = monitor["spec"]["endpoints"]
    selector = monitor["spec"]["selector"]["matchLabels"]
    selected = [
        d for d in made
        if d["kind"] == "Service" and selector.items() <= d["metadata"]["labels"].items()
    ]  # fmt: skip
    [service_of_metrics] = selected
    assert [port["name"] for port in service_of_metrics["spec"]["ports"]] == [endpoint["port"]]
    assert endpoint["honorLabels"], "services are in other namespaces than the operator"
    assert "ServiceMonitor" not in kinds(rendered(plane, "--set=replicas=0", wanted))
    alone = ("--set=metrics.service=false", wanted)
    refused = plane.helm("template", NAME, str(CHART), f"--values={LEAST}", *alone, check=False)
    assert "there is no Service to select" in refused.stderr


def test_rules_have_the_alerts_links_and_labels_of_the_values(plane: ControlPlane) -> None:
    base = "https://docs.example/runbook"
    values = (
        "--set=replicas=0,metrics.prometheusRule.enabled=true",
        f"--set=metrics.prometheusRule.runbookURL={base}",
        "--set=metrics.prometheusRule.alertLabels.team=platform",
        "--set=metrics.prometheusRule.labels.release=prometheus",
        "--set=metrics.prometheusRule.disabled={ImmutableBreakGlassUsed,ImmutableNotGuarded}",
    )
    [rule] = [d for d in rendered(plane, *values) if d["kind"] == "PrometheusRule"]
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    file = CHART / "files" / "monitoring" / "alerts.yaml"
    written = [r for group in yaml.safe_load(file.read_text())["groups"] for r in group["rules"]]
    made = [r for group in rule["spec"]["groups"] for r in group["rules"]]
    left_out = {r["alert"] for r in written} - {r["alert"] for r in made}
    assert left_out == {"ImmutableBreakGlassUsed", "ImmutableNotGuarded"}
    for alert in made:
        [source] = [r for r in written if r["alert"] == alert["alert"]]
        assert alert["expr"] == source["expr"]
        assert alert["labels"] == source["labels"] | {"team": "platform"}
        link = source["annotations"]["runbook_url"].replace("docs/runbook.md", base)
        assert alert["annotations"] == source["annotations"] | {"runbook_url": link}


def test_alert_about_missing_guards_is_left_out_where_they_do_not_deny(plane: ControlPlane) -> None:
    enabled = "--set=replicas=0,metrics.prometheusRule.enabled=true"
    assert "ImmutableNotGuarded" in json.dumps(rendered(plane, enabled))
    assert "ImmutableNotGuarded" not in json.dumps(
        rendered(plane, enabled, "--set=enforcement.mode=Warn")
    )


def test_alert_about_missing_guards_leaves_out_those_of_nodes_where_they_do_not_deny(
    plane: ControlPlane,
) -> None:
    def expression(*values: str) -> str:
        enabled = "--set=replicas=0,metrics.prometheusRule.enabled=true,nodes.enabled=true"
        [rule] = [d for d in rendered(plane, enabled, *values) if d["kind"] == "PrometheusRule"]
        alerts = {r["alert"]: r for group in rule["spec"]["groups"] for r in group["rules"]}
        found: str = alerts["ImmutableNotGuarded"]["expr"]
        return found

    assert "immutable_guarded == 0" in expression()
    [selector] = re.findall(r'guard!~"(.+?)"', expression("--set=enforcement.nodes=Warn"))
    assert all(re.fullmatch(selector, guard) for guard in NODE_GUARDS)
    assert not any(re.fullmatch(selector, guard) for guard in (*GUARDS, "break-glass"))


def test_dashboard_is_a_config_map_that_grafana_finds(plane: ControlPlane) -> None:
    made = rendered(plane, "--set=replicas=0,metrics.dashboard.enabled=true")
    [found] = [d for d in made if d["kind"] == "ConfigMap"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    file = CHART / "files" / "monitoring" / "dashboard.json"
    assert json.loads(found["data"]["immutable-operator.json"]) == json.loads(file.read_text())


def test_monitoring_is_off_by_default(plane: ControlPlane) -> None:
    made = kinds(rendered(plane, f"--values={LEAST}"))
    assert not made & {"ServiceMonitor", "PrometheusRule", "ConfigMap"}


def test_network_policy_allows_only_metrics_and_webhook_ports(plane: ControlPlane) -> None:
    made = rendered(plane, f"--values={LEAST}", "--set=networkPolicy.enabled=true")
    [policy] = [d for d in made if d["kind"] == "NetworkPolicy"]
    ports = [rule["ports"][0]["port"] for rule in policy["spec"]["ingress"]]
    assert ports == ["http", "webhook"]
    assert policy["spec"]["policyTypes"] == ["Ingress"], "the operator may go where it must"
    [deployment] = [d for d in made if d["kind"] == "Deployment"]
    selector = policy["spec"]["podSelector"]["matchLabels"]
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert "NetworkPolicy" not in kinds(rendered(plane, f"--values={LEAST}"))


def egress_to_receiver(plane: ControlPlane, *values: str) -> list[Json]:
    """The egress rules beside that of the user, if notifications are sent."""
    given = (
        "networkPolicy.enabled=true,networkPolicy.egress[0].ports[0].port=6443",
        "notifications.secretName=key",
        *values,
    )
    made = rendered(plane, f"--values={LEAST}", *(f"--set={value}" for value in given))
    rules: list[Json] = the("NetworkPolicy", made)["spec"]["egress"]
    assert rules[0] == {"ports": [{"port": 6443}]}
    return rules[1:]


def test_network_policy_lets_notifications_out(plane: ControlPlane) -> None:
    for url, port in (
        ("https://receiver.example/events", 443),
        ("https://receiver.example:8443/events", 8443),
        ("https://[fd00::1]/events", 443),
        ("http://receiver.example", 80),
    ):
        rules = egress_to_receiver(
            plane, "notifications.allowHTTP=true", f"notifications.url={url}"
        )
        assert rules == [{"ports": [{"port": port, "protocol": "TCP"}]}], url
    own = "networkPolicy.notificationsTo[0].podSelector.matchLabels.app=receiver"
    rules = egress_to_receiver(plane, "notifications.url=https://receiver.shop/", own)
    assert rules == [{"to": [{"podSelector": {"matchLabels": {"app": "receiver"}}}]}]
    assert egress_to_receiver(plane) == []


def test_break_glass_disabled_renders_nothing_of_it(plane: ControlPlane) -> None:
    closed = rendered(
        plane, f"--values={LEAST}", "--set=enforcement.breakGlass=false,crds.install=false"
    )
    assert BREAK_GLASS & kinds(closed) == {"Service"}, "the one of the metrics"
    text = json.dumps(closed)
    assert "webhook-" not in text
    assert "-break-glass" not in text
    roles = [d for d in closed if d["kind"] in ("Role", "ClusterRole")]
    assert "secrets" not in json.dumps(roles)


def test_operator_elsewhere_has_no_service_without_pods(plane: ControlPlane) -> None:
    made = kinds(rendered(plane, f"--values={CHART / 'ci' / 'elsewhere-values.yaml'}"))
    assert "ValidatingWebhookConfiguration" in made
    assert "Service" not in made


def test_single_replica_has_no_disruption_budget(plane: ControlPlane) -> None:
    one = kinds(rendered(plane, f"--values={LEAST}", "--set=replicas=1"))
    assert "Deployment" in one
    assert "PodDisruptionBudget" not in one


FOREIGN = "monitoring.coreos.com"
POLICY_API = "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"


def test_mutating_policy_is_rendered_only_where_supported(plane: ControlPlane) -> None:
    assert "MutatingAdmissionPolicy" not in kinds(rendered(plane, "--set=replicas=0"))
    assert "MutatingAdmissionPolicy" in kinds(rendered(plane, "--set=replicas=0", POLICY_API))
    switched_off = rendered(plane, "--set=replicas=0,keepReplicas=false", POLICY_API)
    left = [d for d in switched_off if d["kind"] == "MutatingAdmissionPolicy"]
    assert [d["metadata"]["name"] for d in left] == [f"{NAME}-actor"]


def test_chart_grants_only_needed_rights(plane: ControlPlane) -> None:
    roles = {
        (document["kind"], document["metadata"]["name"]): [
            (tuple(rule["resources"]), tuple(rule["verbs"]), tuple(rule.get("resourceNames", ())))
            for rule in document["rules"]
        ]
        for document in rendered(plane, "--set=replicas=0")
        if document["kind"] in ("ClusterRole", "Role")
    }
    assert roles["ClusterRole", NAME] == [
        (("immutableservices",), ("list", "watch"), ()),
        (("immutableservices/status",), ("patch",), ()),
        (("immutableservices/finalizers",), ("update",), ()),
        (("immutablerevisions",), ("create", "get", "list", "watch", "delete"), ()),
        (("immutablerevisions/status",), ("patch",), ()),
        (("immutablelineages",), ("create", "get", "patch"), ()),
        (("immutableactions", "immutablefreezes", "immutablechecks"), ("list", "watch"), ()),
        (("immutableactions/status",), ("patch",), ()),
        (("pods",), ("create", "get", "list", "watch", "patch", "delete"), ()),
        (("configmaps",), ("create", "get", "list", "watch"), ()),
        (("pods/eviction",), ("create",), ()),
        (("events",), ("create",), ()),
        (("poddisruptionbudgets",), ("list", "watch", "create", "patch", "delete"), ()),
        (("services",), ("list", "watch", "create", "patch", "delete"), ()),
        (("nodes",), ("list", "watch"), ()),
        (
            (
                "validatingadmissionpolicies",
                "validatingadmissionpolicybindings",
                "validatingwebhookconfigurations",
            ),
            ("list", "watch"),
            (),
        ),
        (("validatingwebhookconfigurations",), ("get", "patch"), (f"{NAME}-break-glass",)),
    ]
    assert roles["Role", NAME] == [
        (("leases",), ("create",), ()),
        (("leases",), ("get", "update", "list", "watch"), (NAME,)),
        (("secrets",), ("get", "update"), (f"{NAME}-webhook",)),
    ]


def of_secrets(documents: list[Json]) -> dict[tuple[str, str], Json]:
    """Give every rule about Secrets, by namespace and name of its role."""
    return {
        (document["metadata"].get("namespace", ""), document["metadata"]["name"]): rule
        for document in documents
        for rule in document.get("rules") or ()
        if "secrets" in rule.get("resources", ()) and document["kind"].endswith("Role")
    }


def test_chart_grants_secrets_only_in_the_listed_namespaces(plane: ControlPlane) -> None:
    alone = "enforcement.breakGlass=false"  # which has a Secret of its own
    assert of_secrets(rendered(plane, f"--set=replicas=0,{alone}")) == {}
    values = (f"--values={LEAST}", f"--set={alone},pinning.secrets.namespaces={{shop,test}}")
    documents = rendered(plane, *values)
    named, grant = f"{NAME}-pinning", {"apiGroups": [""], "resources": ["secrets"]}
    assert of_secrets(documents) == {
        (NAMESPACE, NAME): grant | {"resourceNames": [named], "verbs": ["get", "update"]},
        ("shop", named): grant | {"verbs": ["get", "create"]},
        ("test", named): grant | {"verbs": ["get", "create"]},
    }
    bound = {
        document["metadata"]["namespace"]: (document["roleRef"]["name"], document["subjects"])
        for document in documents
        if document["kind"] == "RoleBinding" and document["metadata"]["name"] == named
    }
    account = [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}]
    assert bound == {"shop": (named, account), "test": (named, account)}
    [key] = [d for d in documents if d["kind"] == "Secret"]
    assert (key["metadata"]["namespace"], key["metadata"]["name"]) == (NAMESPACE, named)
    assert "data" not in key, "an upgrade does not change the key"
    [deployment] = [d for d in documents if d["kind"] == "Deployment"]
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {a for a in arguments if "pin" in a} == {
        f"--pinning-name={named}",
        "--pin-secrets-in=shop",
        "--pin-secrets-in=test",
    }


def test_chart_grants_secrets_to_checks_only_in_the_listed_namespaces(plane: ControlPlane) -> None:
    granted = "checks.secrets.namespaces={shop},checks.jobs.namespaces={test}"
    values = f"--set=enforcement.breakGlass=false,{granted}"
    documents = rendered(plane, f"--values={LEAST}", values)
    named = f"{NAME}-checks"
    right = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    assert of_secrets(documents) == {("shop", named): right}
    [deployment] = [d for d in documents if d["kind"] == "Deployment"]
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--check-secrets-in=shop", "--check-jobs-in=test"} <= {*arguments}
    roles = {d["metadata"]["namespace"]: d["rules"] for d in documents if d["kind"] == "Role"}
    jobs = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "create"]}
    assert roles["test"] == [jobs]


def of_nodes(documents: list[Json]) -> set[str]:
    """Name the policies of node pools, and the roles that grant something about pools or nodes."""
    found = set()
    for document in documents:
        labels, name = document["metadata"].get("labels", {}), document["metadata"]["name"]
        if labels.get(LABEL_GUARD) in NODE_GUARDS:
            found.add(f"{document['kind']}/{name}")
        for rule in document.get("rules") or ():
            resources = {resource.partition("/")[0] for resource in rule["resources"]}
            writes = {*rule["verbs"]} - {"get", "list", "watch"}
            if "immutablenodepools" in resources or ("nodes" in resources and writes):
                found.add(f"{document['kind']}/{name}")
    return found


def test_chart_without_node_pools_has_no_policies_and_rights_of_them(plane: ControlPlane) -> None:
    assert of_nodes(rendered(plane, "--set=replicas=0")) == set()


def test_chart_with_node_pools_has_their_policies_and_rights(plane: ControlPlane) -> None:
    policies = {
        f"{kind}/{object_name(guard)}"
        for guard in NODE_GUARDS
        for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    }
    roles = {f"ClusterRole/{NAME}{suffix}" for suffix in ("", "-view", "-node-pools")}
    enabled = "--set=replicas=0,nodes.enabled=true"
    assert of_nodes(rendered(plane, enabled)) == policies | roles
    for off in ("enforcement.nodes=Off", "enforcement.mode=Off"):
        assert of_nodes(rendered(plane, enabled, f"--set={off}")) == roles


@pytest.mark.parametrize("mode", ["Deny", "Warn", "Audit"])
def test_node_policies_follow_their_own_mode_and_exemptions(
    plane: ControlPlane, mode: Mode
) -> None:
    documents = rendered(
        plane,
        "--set=replicas=0,nodes.enabled=true,enforcement.mode=Audit,enforcement.breakGlass=false",
        f"--set=enforcement.nodes={mode},nodes.exemptNamespaces={{monitoring}}",
    )
    found: dict[str, dict[str, Json]] = {}
    for document in documents:
        if (guard := document["metadata"].get("labels", {}).get(LABEL_GUARD)) in NODE_GUARDS:
            found.setdefault(document["kind"], {})[guard] = document["spec"]
    assert found["ValidatingAdmissionPolicy"] == node_policies(OPERATOR, break_glass=False)
    assert found["ValidatingAdmissionPolicyBinding"] == node_bindings(
        NAMESPACE, mode, ["monitoring"]
    )


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda file: file.stem)
def test_api_server_accepts_every_combination_of_values(
    installed: ControlPlane, values: Path
) -> None:
    text = installed.helm(
        "template", "other", str(CHART), f"--values={values}", "--set=crds.install=false",
        "--skip-tests", POLICY_API, namespace=NAMESPACE,
    ).stdout  # fmt: skip
    # The kinds of the Prometheus Operator are not there: tests/cluster/monitoring has them.
    wanted = [d for d in read_documents(text) if FOREIGN not in d["apiVersion"]]
    text = yaml.safe_dump_all(wanted)
    # As helm would: the policies have the same names in every release, and are there already.
    how = ("--server-side", "--field-manager=helm", "--force-conflicts", "--dry-run=server")
    result = installed.kubectl("apply", "-f", "-", *how, stdin=text)
    assert result.stderr == ""


def test_chart_metadata_is_true(installed: ControlPlane) -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((CHART.parents[1] / "pyproject.toml").read_text())["project"]
    assert chart["appVersion"] == project["version"]
    listed = yaml.safe_load(chart["annotations"]["artifacthub.io/crds"])
    assert sorted(crd["name"] for crd in listed) == DEFINITIONS
    for example in yaml.safe_load(chart["annotations"]["artifacthub.io/crdsExamples"]):
        apply(installed, example, "--dry-run=server")


# What is installed.


def test_operator_pods_run_in_a_restricted_namespace(installed: ControlPlane) -> None:
    pods = get(installed, "pods", namespace=NAMESPACE)["items"]
    assert len(pods) == 2
    for pod in pods:
        (container,) = pod["spec"]["containers"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["image"].partition("@")[2].startswith("sha256:")
        assert container["args"] == [
            "run",
            "--log-format=json",
            "--log-level=INFO",
            "--owner-metrics=500",
            "--lease-seconds=15",
            "--renew-seconds=10",
            "--retry-seconds=2",
            "--writes-per-second=200",
            "--webhook-listen=:9443",
            f"--webhook-service={NAME}-webhook",
            f"--webhook-configuration={NAME}-break-glass",
        ]
        assert container["livenessProbe"]["httpGet"] == probe("/livez")
        assert container["readinessProbe"]["httpGet"] == probe("/readyz")
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 2
    budget = get(installed, "pdb", NAME, namespace=NAMESPACE)
    wait_for(
        "the budget counts the pods",
        lambda: get(installed, "pdb", NAME, namespace=NAMESPACE)["status"]["currentHealthy"] == 2,
    )
    assert budget["spec"]["minAvailable"] == 1


def probe(path: str) -> Json:
    """Give the part of a probe that matters."""
    return {"path": path, "port": "http", "scheme": "HTTP"}


def test_usual_roles_include_rights_on_services(installed: ControlPlane) -> None:
    def may(verb: str, resource: str, namespace: str = "shop") -> str:
        resource, _, subresource = resource.partition("/")
        return installed.kubectl(
            *("auth", "can-i", verb, resource, f"--subresource={subresource}"),
            actor="alice", namespace=namespace, check=False,
        ).stdout.strip()  # fmt: skip

    installed.grant("alice", "shop", "edit")
    wait_for("the roles are aggregated", lambda: may("create", "immutableservices") == "yes")
    assert may("update", "immutableservices/scale") == "yes"
    assert may("list", "immutablerevisions") == "yes"
    assert may("create", "immutablerevisions") == "no"
    assert may("patch", "immutableservices/status") == "no"
    assert may("list", "immutableservices", "default") == "no"
    assert may("patch", "immutablerevisions/status") == "no"


def test_freezes_need_cluster_rights(installed: ControlPlane) -> None:
    """Read with a usual role in the whole cluster; written and passed with a role of their own."""

    def may(actor: str, verb: str) -> str:
        ask = ("auth", "can-i", verb, "immutablefreezes.immutable.dev")
        return installed.kubectl(*ask, actor=actor, check=False).stdout.strip()

    roles = {"bob": "view", "carol": "admin", "dave": f"{NAME}-freezes"}
    for actor, role in roles.items():
        names = (f"{actor}-everywhere", f"--clusterrole={role}", f"--user={actor}")
        installed.kubectl("create", "clusterrolebinding", *names)
    wait_for(
        "the roles are aggregated", lambda: may("carol", "list") == may("bob", "list") == "yes"
    )
    wait_for("the role is in force", lambda: may("dave", "override") == "yes")
    for verb in ("create", "patch", "delete", "override"):
        assert may("bob", verb) == may("carol", verb) == "no"
        assert may("dave", verb) == "yes"


def replicas(plane: ControlPlane, name: str) -> int | None:
    """Read the number that scale and autoscalers see."""
    wanted: int | None = get(plane, f"imsvc/{name}")["spec"].get("replicas")
    return wanted


APPLIES = {"client-side": [], "server-side": ["--server-side"]}


@pytest.mark.parametrize("how", APPLIES.values(), ids=APPLIES)
def test_manifest_without_replicas_keeps_scaled_number(
    installed: ControlPlane, how: list[str]
) -> None:
    name = f"keeps-{len(how)}"
    apply(installed, service(name), *how)
    assert replicas(installed, name) == 1
    installed.kubectl("scale", "imsvc", name, "--replicas=6", namespace="shop")
    apply(installed, service(name, label="2"), *how)
    assert (
        get(installed, f"imsvc/{name}")["spec"]["template"]["metadata"]["labels"]["change"] == "2"
    )
    assert replicas(installed, name) == 6


@pytest.mark.parametrize("how", APPLIES.values(), ids=APPLIES)
def test_removing_replicas_from_manifest_keeps_number(
    installed: ControlPlane, how: list[str]
) -> None:
    name = f"takes-{len(how)}"
    apply(installed, service(name, 4), *how)
    apply(installed, service(name, label="2"), *how)
    assert replicas(installed, name) == 4
    apply(installed, service(name, 2), *how)
    assert replicas(installed, name) == 2


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("merge", {"spec": {"replicas": None}}),
        ("json", [{"op": "remove", "path": "/spec/replicas"}]),
    ],
    ids=["merge", "json"],
)
def test_patch_that_removes_replicas_keeps_number(
    installed: ControlPlane, kind: str, patch: object
) -> None:
    name = f"patched-{kind}"
    apply(installed, service(name, 3))
    installed.kubectl(
        "patch", "imsvc", name, f"--type={kind}", "-p", json.dumps(patch), namespace="shop"
    )
    assert replicas(installed, name) == 3


def test_zero_replicas_are_kept(installed: ControlPlane) -> None:
    apply(installed, service("zero", 0))
    apply(installed, service("zero", label="2"))
    assert replicas(installed, "zero") == 0


# What is seen of a service before an operator has looked at it.


def test_new_service_is_not_yet_observed(installed: ControlPlane) -> None:
    """Kstatus: Helm, Argo CD and Flux wait, because what was observed is not this generation."""
    apply(installed, service("new"))
    assert get(installed, "imsvc/new")["status"] == {"observedGeneration": -1}
    path = f"/apis/{API_VERSION}/namespaces/shop/immutableservices"
    query = "watch=1&timeoutSeconds=1&resourceVersion=0&fieldSelector=metadata.name%3Dnew"
    event = json.loads(installed.api().text("GET", f"{path}?{query}").splitlines()[0])
    assert event["object"]["status"] == {"observedGeneration": -1}


STATUS = {
    "observedGeneration": 1,
    "desiredReplicas": 4,
    "replicas": 5,
    "readyReplicas": 4,
    "availableReplicas": 4,
    "currentReplicas": 3,
    "staleReplicas": 2,
    "selector": "immutable.dev/service=seen",
    "currentRevision": "9f2c41d0",
    "oldestInstance": "2020-01-01T00:00:00Z",
    "blockers": [
        {"reason": "Pdb", "message": "web", "object": "pdb/web", "since": "2020-01-01T00:00:00Z"}
    ],
    "conditions": [
        {
            "type": "Ready",
            "status": "False",
            "reason": "Replacing",
            "message": "2 of 4 wait",
            "lastTransitionTime": "2020-01-01T00:00:00Z",
        }
    ],
}


def with_status(plane: ControlPlane, name: str, number: int) -> None:
    """Make a service that looks as if an operator had reported on it."""
    apply(plane, service(name, number))
    body = json.dumps({"status": STATUS})
    plane.kubectl(
        *("patch", "imsvc", name, "--subresource=status", "--type=merge", "-p", body),
        *(f"--as={OPERATOR}", "--as-group=system:masters"),
        namespace="shop",
    )


def test_scale_is_read_and_written_as_with_a_deployment(installed: ControlPlane) -> None:
    with_status(installed, "scaled", 4)
    installed.kubectl("scale", "imsvc", "scaled", "--replicas=7", namespace="shop")
    path = f"/apis/{API_VERSION}/namespaces/shop/immutableservices/scaled/scale"
    scale = installed.api().get(path)
    assert scale["spec"] == {"replicas": 7}
    assert scale["status"] == {"replicas": 5, "selector": "immutable.dev/service=seen"}


# Upgrade and removal. These change what is installed, in this order, and come last.


def table(plane: ControlPlane, *what: str) -> list[list[str]]:
    """Read what `kubectl get` prints, split at two blanks or more."""
    text = plane.kubectl("get", *what, namespace="shop").stdout
    lines = text.strip().splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def test_chart_upgrade_updates_crds_and_touches_no_service(
    installed: ControlPlane,
) -> None:
    with_status(installed, "seen", 4)
    before = get(installed, "imsvc")["items"]
    assert NEW_COLUMN.upper() not in table(installed, "imsvc", "seen")[0]

    installed.helm(
        *("upgrade", NAME, str(CHART), f"--values={LEAST}", "--wait", "--timeout=2m"),
        namespace=NAMESPACE,
    )

    titles, row = wait_for("the new column", lambda: _with_new_column(installed))
    assert titles == (
        ["NAME", "DESIRED", "CURRENT", "READY", "STALE", "REVISION", "OLDEST", "STATUS", "AGE"]
    )
    assert row[:6] == ["seen", "4", "3", "4", "2", "9f2c41d0"]
    assert row[6].endswith(("y", "d"))
    assert row[7] == "Replacing"
    titles, row = table(installed, "imsvc", "seen", "-o", "wide")
    assert titles[-2:] == ["SELECTOR", "ADMISSION"]
    assert row[-2:] == ["2 of 4 wait", "immutable.dev/service=seen"]
    assert get(installed, "imsvc")["items"] == before


def _with_new_column(plane: ControlPlane) -> list[list[str]]:
    shown = table(plane, "imsvc", "seen")
    return shown if NEW_COLUMN.upper() in shown[0] else []


def test_chart_upgrade_keeps_certificates(installed: ControlPlane) -> None:
    """The operator keeps them in the chart's Secret and webhook configuration."""
    account = f"--as=system:serviceaccount:{NAMESPACE}:{NAME}"
    secret = get(installed, "secret", f"{NAME}-webhook", namespace=NAMESPACE)
    assert "data" not in secret
    secret["data"] = {"tls.key": base64.b64encode(b"a key").decode()}
    installed.kubectl("replace", "-f", "-", account, stdin=json.dumps(secret))
    hook = {"name": "break-glass.immutable.dev", "clientConfig": {"caBundle": AUTHORITY}}
    installed.kubectl(
        *("patch", "validatingwebhookconfiguration", f"{NAME}-break-glass", account),
        *("--type=strategic", "-p", json.dumps({"webhooks": [hook]})),
    )

    for metrics in ("false", "true"):
        installed.helm(
            *("upgrade", NAME, str(CHART), f"--values={LEAST}", "--wait", "--timeout=2m"),
            f"--set=metrics.service={metrics}",
            namespace=NAMESPACE,
        )

    kept = get(installed, "secret", f"{NAME}-webhook", namespace=NAMESPACE)
    assert kept["data"] == secret["data"]
    [webhook] = get(installed, "validatingwebhookconfiguration", f"{NAME}-break-glass")["webhooks"]
    assert webhook["clientConfig"]["caBundle"] == AUTHORITY
    assert webhook["clientConfig"]["service"]["name"] == f"{NAME}-webhook"


def test_webhook_configuration_cannot_block_requests(installed: ControlPlane) -> None:
    [webhook] = get(installed, "validatingwebhookconfiguration", f"{NAME}-break-glass")["webhooks"]
    assert (webhook["failurePolicy"], webhook["timeoutSeconds"]) == ("Ignore", 2)
    [rule] = webhook["rules"]
    assert rule["operations"] == ["CONNECT"]
    assert {resource.partition("/")[0] for resource in rule["resources"]} == {"pods"}
    [where] = webhook["namespaceSelector"]["matchExpressions"]
    assert (where["operator"], set(where["values"])) == ("NotIn", {"kube-system", NAMESPACE})


def test_chart_removal_keeps_crds_and_services(installed: ControlPlane) -> None:
    apply(installed, service("kept", 3))
    before = get(installed, "imsvc/kept")

    said = installed.helm("uninstall", NAME, "--wait", namespace=NAMESPACE).stdout
    assert all(f"[CustomResourceDefinition] {definition}" in said for definition in DEFINITIONS)

    assert get(installed, "imsvc/kept") == before
    left = installed.kubectl(
        "get", "deploy,pdb,svc,secret,sa,role,rolebinding", "-o", "name", namespace=NAMESPACE
    ).stdout.split()
    assert left == ["serviceaccount/default"]
    cluster_wide = (
        "clusterrole,clusterrolebinding,mutatingadmissionpolicy,validatingwebhookconfiguration"
    )
    assert NAME not in installed.kubectl("get", cluster_wide, "-o", "name").stdout
    admission = (
        "mutatingadmissionpolicybinding,mutatingwebhookconfiguration,validatingwebhookconfiguration,"
        "validatingadmissionpolicy,validatingadmissionpolicybinding"
    )
    assert installed.kubectl("get", admission, "-o", "name").stdout == ""

    installed.helm("install", NAME, str(CHART), "--set=replicas=0", namespace=NAMESPACE)
    assert get(installed, "imsvc/kept") == before
    assert PIN in json.dumps(before)
