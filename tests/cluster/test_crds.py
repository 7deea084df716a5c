"""The custom resources as users meet them: what is refused and how, what kubectl shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from immutable_operator.api import pod_template
from immutable_operator.api.crd import KINDS
from immutable_operator.api.names import API_VERSION
from tests.cluster.guards import without_guards
from tests.cluster.operator_process import Installation
from tests.cluster.refusals import told, told_by_a_rule
from tests.controlplane import ControlPlane
from tests.unit.image_references import PINNED, PROBLEMS
from tests.unit.service_specs import PIN, REFUSED, Refused, spec, template
from tests.waiting import wait_for

CRDS = Path(__file__).parents[2] / "crds"
OTHER_PIN = PIN.replace("9f2c", "0a1b")
Json = dict[str, Any]
Apply = Callable[..., CompletedProcess[str]]


def service(given: Json, name: str = "web") -> Json:
    """Give the manifest of an ImmutableService."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ImmutableService",
        "metadata": {"name": name},
        "spec": given,
    }


def revision(recorded: Json) -> Json:
    """Give the manifest of an ImmutableRevision."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ImmutableRevision",
        "metadata": {"name": "web-im9f2c41d0"},
        "spec": {
            "service": "web",
            "number": 3,
            "revision": "9f2c41d0",
            "hash": "v1:" + "9f2c41d0" * 8,
            "reason": "TemplateChanged",
            "by": "kubectl-client-side-apply",
            "image": "web@9f2c41d07a1b",
            "template": recorded,
        },
    }


@pytest.fixture(scope="module", autouse=True)
def admitted(installation: Installation) -> None:
    """For some seconds after a definition is new, the chart's policy has no schema to work with."""
    plane, manifest = installation.plane, json.dumps(service(spec()))
    wait_for(
        "the API server admits a new kind",
        lambda: plane.kubectl("create", "-f", "-", "--dry-run=server", stdin=manifest),
    )


@pytest.fixture
def apply(control_plane: ControlPlane, namespace: str) -> Apply:
    return applies_in(control_plane, namespace)


@pytest.fixture(scope="module")
def try_to_apply(control_plane: ControlPlane, module_namespace: str) -> Apply:
    """The same for manifests that are refused: nothing of one test is there for the next."""
    return applies_in(control_plane, module_namespace)


def applies_in(control_plane: ControlPlane, namespace: str) -> Apply:
    """`kubectl apply` of one object; what it prints is the user's view."""

    def run(manifest: Json, *options: str, check: bool = True) -> CompletedProcess[str]:
        return control_plane.kubectl(
            "apply", "-f", "-", *options,
            namespace=namespace, stdin=json.dumps(manifest), check=check,
        )  # fmt: skip

    return run


@pytest.fixture
def get(control_plane: ControlPlane, namespace: str) -> Callable[[str], Json]:
    """One object, such as `imsvc/web`."""

    def run(what: str) -> Json:
        text = control_plane.kubectl("get", what, "-o", "json", namespace=namespace).stdout
        found: Json = json.loads(text)
        return found

    return run


@pytest.fixture(scope="module")
def unguarded(installation: Installation) -> Iterator[ControlPlane]:
    """Policies let only the operator write revisions; what the definition itself says is below."""
    with without_guards(installation.plane):
        yield installation.plane


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.why)
def test_a_bad_spec_is_refused_at_apply(case: Refused, try_to_apply: Apply) -> None:
    result = try_to_apply(service(case.spec, case.name), check=False)
    assert result.returncode == 1
    first, *more = result.stderr.strip().replace("is invalid: \n* ", "is invalid: ").split("\n* ")
    assert first == f'The ImmutableService "{case.name}" is invalid: {told(case)}'
    if "at most 50000 instances" in case.says:
        assert told_by_a_rule(case) in more
    # The rest is the API server's own: what its scale subresource says, and that it stopped there.
    own = (".spec.replicas: ", "<nil>: ", told_by_a_rule(case))
    assert all(line.startswith(own) for line in more)


def test_scale_beyond_limit_is_refused(
    apply: Apply, control_plane: ControlPlane, namespace: str
) -> None:
    apply(service(spec(replicas=0, suspend=True)))
    scale = ("scale", "imsvc/web", "--replicas=50001")
    told = control_plane.kubectl(*scale, namespace=namespace, check=False)
    assert told.returncode == 1
    assert "divide the service into several services" in told.stderr


def test_invalid_image_is_refused_in_words_of_operator(try_to_apply: Apply) -> None:
    # A message with a line break is not printed by the API server; the image is refused anyway.
    problems = {image: problem for image, problem in PROBLEMS.items() if "\n" not in image}
    containers = [{"name": f"c{i}", "image": image} for i, image in enumerate(problems)]
    result = try_to_apply(service(template(containers=containers)), check=False)
    for index, problem in enumerate(problems.values()):
        path = f"spec.template.spec.containers[{index}].image"
        assert f"* {path}: Invalid value: container c{index}: {problem}\n" in result.stderr + "\n"


def test_every_kind_of_pinned_image_is_accepted(try_to_apply: Apply) -> None:
    containers = [{"name": f"c{i}", "image": image} for i, image in enumerate(PINNED)]
    try_to_apply(service(template(containers=containers)), "--dry-run=server")


TYPOS = {
    "a field of the service": (spec(replica=3), "spec.replica"),
    "a field of rollout": (spec({"maxsurge": 1}), "spec.rollout.maxsurge"),
    "a field of a container": (
        template(containers=[{"name": "web", "image": PIN, "imgePullPolicy": "Always"}]),
        "spec.template.spec.containers[0].imgePullPolicy",
    ),
    "a field of a probe": (
        template(
            containers=[
                {"name": "web", "image": PIN, "livenessProbe": {"htpGet": {"path": "/", "port": 1}}}
            ]
        ),
        "spec.template.spec.containers[0].livenessProbe.htpGet",
    ),
    "containers that no template may have": (
        template(ephemeralContainers=[{"name": "debug"}]),
        "spec.template.spec.ephemeralContainers",
    ),
    "metadata that no template may have": (
        {"template": spec()["template"] | {"metadata": {"label": {"app": "web"}}}},
        "spec.template.metadata.label",
    ),
}


@pytest.mark.parametrize(("given", "path"), TYPOS.values(), ids=TYPOS)
def test_a_typo_is_refused_and_named(given: Json, path: str, try_to_apply: Apply) -> None:
    refused = try_to_apply(service(given), check=False)
    assert refused.returncode == 1
    assert f'strict decoding error: unknown field "{path}"' in refused.stderr
    warned = try_to_apply(service(given), "--validate=warn", "--dry-run=server")
    assert warned.stderr == f'Warning: unknown field "{path}"\n'


def test_explain_describes_field_and_default(control_plane: ControlPlane) -> None:
    def explain(path: str) -> str:
        return " ".join(control_plane.kubectl("explain", path).stdout.split())

    assert "FIELD: containers <[]Object>" in explain("imsvc.spec.template.spec.containers")
    assert "livenessProbe <Object> Periodic probe of container liveness." in explain(
        "imsvc.spec.template.spec.containers"
    )
    assert (
        "image <string> Image, pinned by digest: registry/name@sha256:<64 lower-case hex digits>."
        in explain("imsvc.spec.template.spec.containers")
    )
    assert (
        "periodSeconds <integer> How often (in seconds) to perform the probe. Default to 10 seconds"
        in explain("imsvc.spec.template.spec.containers.livenessProbe")
    )
    assert "Default 600." in explain("imsvc.spec.rollout.progressDeadlineSeconds")
    assert (
        "Number of desired instances, at most 50000. If unset, the current number is kept"
        in explain("imsvc.spec")
    )


def test_two_managers_can_share_one_template(apply: Apply, get: Callable[[str], Json]) -> None:
    def containers(*given: Json, manager: str) -> None:
        apply(
            service({"template": {"spec": {"containers": list(given)}}}),
            "--server-side",
            f"--field-manager={manager}",
        )

    containers({"name": "web", "image": PIN}, manager="team")
    containers(
        {"name": "proxy", "image": OTHER_PIN},
        {"name": "web", "volumeMounts": [{"name": "certs", "mountPath": "/certs"}]},
        manager="mesh",
    )
    mounts = [{"name": "data", "mountPath": "/data"}]
    containers({"name": "web", "image": PIN, "volumeMounts": mounts}, manager="team")

    found = {c["name"]: c for c in get("imsvc/web")["spec"]["template"]["spec"]["containers"]}
    assert found["proxy"] == {"name": "proxy", "image": OTHER_PIN}
    assert found["web"]["image"] == PIN
    assert {m["name"] for m in found["web"]["volumeMounts"]} == {"data", "certs"}


def test_template_is_stored_as_written(apply: Apply, get: Callable[[str], Json]) -> None:
    pod = {
        "containers": [
            {
                "name": "web",
                "image": PIN,
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
                "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "nodeSelector": {"disk": "ssd"},
    }
    apply(service({"template": {"metadata": {"labels": {"app": "web"}}, "spec": pod}}))
    assert get("imsvc/web")["spec"]["template"] == {
        "metadata": {"labels": {"app": "web"}},
        "spec": pod,
    }


@pytest.mark.usefixtures("unguarded")
def test_kubectl_get_shows_revisions(
    control_plane: ControlPlane, apply: Apply, namespace: str
) -> None:
    apply(revision(spec()["template"]))
    status = ("--subresource=status", "--type=merge", "-p", '{"status": {"phase": "Good"}}')
    control_plane.kubectl("patch", "imrev", "web-im9f2c41d0", *status, namespace=namespace)
    lines = control_plane.kubectl("get", "imrev", namespace=namespace).stdout.splitlines()
    titles, row = (line.split() for line in lines)
    assert " ".join(titles) == "NAME OWNER NUMBER REVISION PHASE REASON IMAGE BY AGE"
    assert " ".join(row[:-1]) == (
        "web-im9f2c41d0 web 3 9f2c41d0 Good TemplateChanged web@9f2c41d07a1b "
        "kubectl-client-side-apply"
    )


RECORDED: Json = {
    "spec": {
        "containers": [
            {"name": "web", "image": PIN, "command": ["x"], "resources": {"limits": {"cpu": 1}}}
        ]
    }
}


def limits(given: Json) -> Json:
    """A change of the limits alone."""
    container = RECORDED["spec"]["containers"][0] | {"resources": {"limits": given}}
    return {"template": {"spec": {"containers": [container]}}}


FORGERIES: dict[str, Json] = {
    "another number": {"number": 4},
    "another image": {"template": {"spec": {"containers": [{"name": "web", "image": OTHER_PIN}]}}},
    "one more field": {"template": {"spec": {"hostNetwork": True}}},
    "a field for another at the top": {"template": {"spec": None, "metadata": {"labels": {}}}},
    "a field for another in the pod": {"template": {"spec": {"containers": None, "volumes": []}}},
    "a field for another in a container": {
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "image": PIN,
                        "args": ["x"],
                        "resources": {"limits": {"cpu": 1}},
                    }
                ]
            }
        }
    },
    "another quantity": limits({"cpu": 1.5}),
    "a quantity written otherwise": limits({"cpu": "1"}),
    "one more quantity": limits({"cpu": 1, "memory": 1}),
    "a key for another in a map": {
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "image": PIN,
                        "command": ["x"],
                        "resources": {"limits": {"memory": 1}},
                    }
                ]
            }
        }
    },
}


@pytest.fixture(scope="module")
def recorded(unguarded: ControlPlane, module_namespace: str) -> str:
    """The namespace of a revision that no test changes."""
    applies_in(unguarded, module_namespace)(revision(RECORDED))
    return module_namespace


@pytest.mark.parametrize("change", FORGERIES.values(), ids=FORGERIES)
def test_spec_of_a_revision_cannot_be_changed(
    change: Json, control_plane: ControlPlane, recorded: str
) -> None:
    """The API server's `self == oldSelf` overlooks swapped keys where it knows no schema."""
    patch = json.dumps({"spec": change})
    result = control_plane.kubectl("patch", "imrev", "web-im9f2c41d0", "--type=merge", "-p", patch,
                                   namespace=recorded, check=False)  # fmt: skip
    assert result.stderr == (
        'The ImmutableRevision "web-im9f2c41d0" is invalid: spec: Invalid value: a revision is a '
        "record and cannot be changed; change the spec of its ImmutableService or "
        "ImmutableNodePool, which creates a new revision\n"
    )
    path = f"/apis/{API_VERSION}/namespaces/{recorded}/immutablerevisions"
    now = control_plane.api().get(f"{path}/web-im9f2c41d0")
    assert now["spec"]["template"] == RECORDED


@pytest.mark.usefixtures("unguarded")
def test_revision_can_be_labelled_and_deleted(
    control_plane: ControlPlane, apply: Apply, namespace: str
) -> None:
    apply(revision(RECORDED))
    control_plane.kubectl("label", "imrev", "web-im9f2c41d0", "a=b", namespace=namespace)
    control_plane.kubectl("delete", "imrev", "web-im9f2c41d0", namespace=namespace)


def test_crds_can_be_installed_with_client_side_apply(control_plane: ControlPlane) -> None:
    result = control_plane.kubectl("apply", "-f", str(CRDS), "--dry-run=server")
    assert result.stdout.count("customresourcedefinition.apiextensions.k8s.io/") == len(KINDS)


def test_stored_pod_template_schema_matches_api_server(control_plane: ControlPlane) -> None:
    served = wait_for(
        "the API server's OpenAPI", lambda: control_plane.api().get("/openapi/v3/api/v1")
    )
    assert pod_template.extract(served) == pod_template.load()
