"""What the API server takes as the template of a Deployment, it takes as that of a service.

The Deployment itself is asked, so that the table of templates says nothing of what is right.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from immutable_operator.api.names import API_VERSION
from immutable_operator.domain.model import Because, Create, Reason
from immutable_operator.instances.pods.codec import pod_body
from immutable_operator.wire.owner import OwnerRecord
from tests.cluster.manifests import PLAIN, deployment, named, service
from tests.cluster.operator_process import Installation
from tests.controlplane import ControlPlane
from tests.controlplane.api import Api, ApiError, Json
from tests.unit.service_specs import PIN
from tests.waiting import wait_for

FILE = Path(__file__).with_name("templates.yaml")
MANY = [{"name": f"v{number}", "emptyDir": {}} for number in range(200)]
TEXT = FILE.read_text(encoding="utf-8").replace("IMAGE", PIN).replace("MANY", json.dumps(MANY))
TEMPLATES: dict[str, Json] = yaml.safe_load(TEXT)
DRY = "dryRun=All&fieldValidation=Strict&fieldManager=test"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class Kind:
    """One of the two kinds, and what the API server says to a template in each way to write it."""

    def __init__(self, api: Api, collection: str, base: Json) -> None:
        self._api, self._collection = api, collection
        self._item = f"{collection}/base"
        api.request("POST", collection, named(base, "base"))

    def create(self, body: Json) -> str:
        return self._said("POST", f"{self._collection}?{DRY}", named(body, "new"))

    def replace(self, body: Json) -> str:
        there = named(body, "base")
        if body["kind"] == "ImmutableService":  # the built-in kind needs no version, this one does
            there["metadata"] = self._api.get(self._item)["metadata"]
        return self._said("PUT", f"{self._item}?{DRY}", there)

    def merge(self, body: Json) -> str:
        """As client-side apply does for a kind without a strategy of its own."""
        return self._said("PATCH", f"{self._item}?{DRY}", {"spec": body["spec"]}, MERGE)

    def server_side(self, body: Json) -> str:
        path = f"{self._collection}/new?{DRY}&force=true"
        return self._said("PATCH", path, named(body, "new"), APPLY)

    def _said(self, method: str, path: str, body: Json, content: str = "application/json") -> str:
        try:
            self._api.request(method, path, body, content)
        except ApiError as error:
            if error.status not in (400, 422, 500):
                raise
            return str(error)
        return ""


@pytest.fixture(scope="module")
def kinds(installation: Installation) -> tuple[Kind, Kind]:
    api, name = installation.plane.api(), "test-templates"
    api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    wait_for("the default service account", lambda: api.get(account))
    services = f"/apis/{API_VERSION}/namespaces/{name}/immutableservices"
    return (
        Kind(api, f"/apis/apps/v1/namespaces/{name}/deployments", deployment(PLAIN)),
        Kind(api, services, service(PLAIN)),
    )


each_template = pytest.mark.parametrize("name", TEMPLATES)


@each_template
@pytest.mark.parametrize("way", ["create", "replace"])
def test_a_template_is_taken_where_a_deployment_takes_it(
    name: str, way: str, kinds: tuple[Kind, Kind]
) -> None:
    built_in, ours = kinds
    template = TEMPLATES[name]
    wanted = getattr(built_in, way)(deployment(template))
    found = getattr(ours, way)(service(template))
    assert bool(found) is bool(wanted), (
        f"a service: {found or 'yes'}; a Deployment: {wanted or 'yes'}"
    )


@each_template
@pytest.mark.parametrize("way", ["merge", "server_side"])
def test_a_template_is_applied_where_a_deployment_takes_it(
    name: str, way: str, kinds: tuple[Kind, Kind]
) -> None:
    """Server-side, too, a key may be there twice: the built-in kinds refuse it only there."""
    built_in, ours = kinds
    template = TEMPLATES[name]
    taken = built_in.create(deployment(template)) == ""
    assert (getattr(ours, way)(service(template)) == "") is taken


@each_template
def test_the_pod_is_that_of_the_template(
    name: str, installation: Installation, module_namespace: str
) -> None:
    """Without the certificate: of that, and of a pod's own name, other tests say what is right."""
    api, template = installation.plane.api(), TEMPLATES[name]
    metadata = template.get("metadata") or {}
    kept = {key: metadata.get(key) for key in ("labels", "annotations", "finalizers")}
    wanted = born(api, module_namespace, kept, template["spec"])
    body = {"metadata": META, "spec": {"template": template}}
    read = OwnerRecord.of(body)
    assert read.spec is not None
    if read.spec.template is None:
        assert wanted is None
        return
    made = pod_body(
        read,
        read.spec.template,
        Create("web-1", "deadbeef", 0, 0, None, Because(Reason.CREATED, "a test")),
    )
    own = made["metadata"]
    for kind in ("labels", "annotations"):
        own[kind] = {k: v for k, v in own[kind].items() if not k.startswith("immutable.dev/")}
    assert set(own) == {"name", "namespace", "labels", "annotations", "ownerReferences"} | (
        {"finalizers"} if metadata.get("finalizers") else set()
    )
    kept = {key: own.get(key) for key in ("labels", "annotations", "finalizers")}
    assert born(api, module_namespace, kept, made["spec"]) == wanted


META = {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "5"}


def born(api: Api, namespace: str, metadata: Json, spec: Json) -> Json | None:
    """The pod that the API server makes of this; None where it refuses it."""
    body = {"metadata": {**metadata, "name": "web"}, "spec": spec}
    try:
        pod = api.request("POST", f"/api/v1/namespaces/{namespace}/pods?{DRY}", body)
    except ApiError:
        return None
    text = re.sub("kube-api-access-[a-z0-9]+", "kube-api-access", json.dumps(pod["spec"]))
    kept = {key: pod["metadata"].get(key) for key in ("labels", "annotations", "finalizers")}
    return {"metadata": kept, "spec": json.loads(text)}


def test_all_of_them_can_be_applied_with_kubectl_as_they_are_written(
    control_plane: ControlPlane, kinds: tuple[Kind, Kind], namespace: str
) -> None:
    """YAML as people write it: `1e9` is a number to kubectl."""
    built_in, _ = kinds
    taken = [name for name, t in TEMPLATES.items() if not built_in.create(deployment(t))]
    assert len(taken) >= 40
    listed = [
        {**service(TEMPLATES[name]), "metadata": {"name": f"t{number}"}}
        for number, name in enumerate(taken)
    ]
    text = yaml.safe_dump_all(listed).replace("'1e9'", "1e9").replace("'2E9'", "2E9")
    for option in ("--server-side=false", "--server-side=true"):
        done = control_plane.kubectl(
            "apply", "--dry-run=server", option, "-f", "-", namespace=namespace, stdin=text
        )
        assert done.stdout.count("(server dry run)") == len(taken), done.stderr


def applied(plane: ControlPlane, namespace: str, metadata: Json) -> str:
    template = {**PLAIN, "metadata": PLAIN["metadata"] | metadata}
    document = json.dumps(named(service(template), "web"))
    options = ("apply", "--dry-run=server", "-f", "-")
    return plane.kubectl(*options, namespace=namespace, stdin=document).stderr


def test_ignored_metadata_causes_a_warning(
    control_plane: ControlPlane, installation: Installation, namespace: str
) -> None:
    said = applied(control_plane, namespace, {"name": "web", "namespace": "elsewhere"})
    assert "Warning: " in said
    assert "is ignored, as in a Deployment" in said
    assert "spec.template.metadata.name" in said
    assert applied(control_plane, namespace, {"creationTimestamp": None}) == ""


def test_explain_says_what_a_quantity_is(
    control_plane: ControlPlane, installation: Installation
) -> None:
    path = "immutableservices.spec.template.spec.containers.resources"
    said = " ".join(control_plane.kubectl("explain", path).stdout.split())
    assert "limits <map[string]Object> Limits describes" in said
    assert "A quantity is a number, or a string such as 500m or 64Mi." in said
