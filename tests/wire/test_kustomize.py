"""gitops/kustomize with the kustomize that is in kubectl: as users build, without a cluster.

Each test writes a base and an overlay that adds the component, and reads what kustomize makes of
them. What must hold for an ImmutableService is compared with a Deployment of the same template.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from immutable_operator.api.names import API_VERSION
from tests.controlplane.access import find_kubectl

ROOT = Path(__file__).parents[2]
COMPONENT = ROOT / "gitops" / "kustomize"
EXAMPLE = ROOT / "examples" / "gitops" / "production"
DIGEST = f"sha256:{'a' * 64}"
IMAGE = "registry.example/web"

Json = dict[str, Any]


def _template(container: Json | None = None, pod: Json | None = None) -> Json:
    containers = [
        {"name": "web", "image": IMAGE, **(container or {})},
        {"name": "log", "image": "registry.example/log"},
    ]
    spec = {"containers": containers, **(pod or {})}
    return {"metadata": {"labels": {"app": "web"}}, "spec": spec}


def _service(template: Json, **spec: Any) -> Json:
    return _object("ImmutableService", "web", {**spec, "template": template})


def _object(kind: str, name: str, spec: Json, api_version: str = API_VERSION) -> Json:
    metadata = {"name": name}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def _deployment(template: Json, **spec: Any) -> Json:
    selector = {"matchLabels": {"app": "web"}}
    body = {**spec, "selector": selector, "template": copy.deepcopy(template)}
    return _object("Deployment", "plain", body, "apps/v1")


def _build(
    tmp_path: Path, objects: list[Json], base: Json | None = None, overlay: Json | None = None
) -> dict[str, Json]:
    """What an overlay with the component makes of a base: objects by kind.

    ``base`` and ``overlay`` are what their kustomization.yaml say beside resources.
    """
    folders = tmp_path / "base", tmp_path / "overlay"
    for folder in folders:
        folder.mkdir()
    (folders[0] / "objects.yaml").write_text(yaml.safe_dump_all(objects))
    component = tmp_path / "component"
    component.symlink_to(COMPONENT)
    said = (
        {"resources": ["objects.yaml"], **(base or {})},
        {"resources": ["../base"], "components": ["../component"], **(overlay or {})},
    )
    for folder, kustomization in zip(folders, said, strict=True):
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return _kustomize(folders[1])


def _kustomize(folder: Path) -> dict[str, Json]:
    command = [str(find_kubectl()), "kustomize", str(folder)]
    # It ends before a collection of garbage pays.
    env = {**os.environ, "GOGC": "off"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {body["kind"]: body for body in yaml.safe_load_all(done.stdout)}


def _patch(kind: str, name: str, template: Json, api_version: str = API_VERSION) -> Json:
    body = _object(kind, name, {"template": {"spec": template}}, api_version)
    return {"patch": json.dumps(body)}


def _pod(body: Json) -> Json:
    spec: Json = body["spec"]["template"]["spec"]
    return spec


# Each reference of a template to an object X: what the container and what the pod says.
CONFIG_REFERENCES: dict[str, tuple[str, str]] = {
    "envFrom": ("{envFrom: [{configMapRef: {name: X}}]}", "{}"),
    "env": ("{env: [{name: A, valueFrom: {configMapKeyRef: {name: X, key: a}}}]}", "{}"),
    "volume": ("{}", "{volumes: [{name: v, configMap: {name: X}}]}"),
    "projected volume": (
        "{}",
        "{volumes: [{name: v, projected: {sources: [{configMap: {name: X}}]}}]}",
    ),
    "init container": (
        "{}",
        "{initContainers: [{name: i, image: i, envFrom: [{configMapRef: {name: X}}],"
        " env: [{name: A, valueFrom: {configMapKeyRef: {name: X, key: a}}}]}]}",
    ),
}
SECRET_REFERENCES: dict[str, tuple[str, str]] = {
    "envFrom": ("{envFrom: [{secretRef: {name: X}}]}", "{}"),
    "env": ("{env: [{name: A, valueFrom: {secretKeyRef: {name: X, key: a}}}]}", "{}"),
    "volume": ("{}", "{volumes: [{name: v, secret: {secretName: X}}]}"),
    "projected volume": (
        "{}",
        "{volumes: [{name: v, projected: {sources: [{secret: {name: X}}]}}]}",
    ),
    "CSI volume": (
        "{}",
        "{volumes: [{name: v, csi: {driver: d, nodePublishSecretRef: {name: X}}}]}",
    ),
    "pull secret": ("{}", "{imagePullSecrets: [{name: X}]}"),
    "init container": (
        "{}",
        "{initContainers: [{name: i, image: i, envFrom: [{secretRef: {name: X}}],"
        " env: [{name: A, valueFrom: {secretKeyRef: {name: X, key: a}}}]}]}",
    ),
}


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        *(pytest.param("ConfigMap", p, id=f"ConfigMap, {n}") for n, p in CONFIG_REFERENCES.items()),
        *(pytest.param("Secret", p, id=f"Secret, {n}") for n, p in SECRET_REFERENCES.items()),
    ],
)
def test_generated_name_reaches_each_reference_of_the_template(
    tmp_path: Path, kind: str, parts: tuple[str, str]
) -> None:
    container, pod = (yaml.safe_load(part.replace("X", "settings")) for part in parts)
    template = _template(container, pod)
    generator = f"{kind[0].lower()}{kind[1:]}Generator"

    built = _build(
        tmp_path,
        [_service(template)],
        overlay={generator: [{"name": "settings", "literals": ["a=1"]}]},
    )

    name = built[kind]["metadata"]["name"]
    assert name.startswith("settings-")
    expected = json.loads(json.dumps(template["spec"]).replace('"settings"', f'"{name}"'))
    assert _pod(built["ImmutableService"]) == expected


def test_changed_content_of_a_generator_changes_the_template(tmp_path: Path) -> None:
    template = _template({"envFrom": [{"configMapRef": {"name": "settings"}}]})
    built = []
    for content in ("a=1", "a=2"):
        (tmp_path / content).mkdir()
        generator = {"name": "settings", "literals": [content]}
        found = _build(
            tmp_path / content, [_service(template)], overlay={"configMapGenerator": [generator]}
        )
        built.append(found["ImmutableService"])
    assert built[0] != built[1]


def test_generated_name_reaches_the_list_of_live_objects(tmp_path: Path) -> None:
    service = _service(_template(), immutability={"config": {"live": ["flags", "of-others"]}})
    generator = {"name": "flags", "literals": ["a=1"]}

    built = _build(tmp_path, [service], base={"configMapGenerator": [generator]})

    live = built["ImmutableService"]["spec"]["immutability"]["config"]["live"]
    assert live == [built["ConfigMap"]["metadata"]["name"], "of-others"]


def test_prefix_reaches_all_that_names_the_object(tmp_path: Path) -> None:
    claim = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    pod = {"serviceAccountName": "web", "volumes": [claim], "priorityClassName": "high"}
    target = {"apiVersion": API_VERSION, "kind": "ImmutableService", "name": "web"}
    objects = [
        _service(_template(pod=pod)),
        _object("ServiceAccount", "web", {}, "v1"),
        _object("PersistentVolumeClaim", "data", {}, "v1"),
        _object("PriorityClass", "high", {}, "scheduling.k8s.io/v1"),
        _object("HorizontalPodAutoscaler", "web", {"scaleTargetRef": target}, "autoscaling/v2"),
        _object("ImmutableAction", "again", {"type": "Retry", "service": "web"}),
    ]

    built = _build(tmp_path, objects, overlay={"namePrefix": "eu-"})

    spec = _pod(built["ImmutableService"])
    assert built["ImmutableService"]["metadata"]["name"] == "eu-web"
    assert spec["serviceAccountName"] == "eu-web"
    assert spec["volumes"][0]["persistentVolumeClaim"]["claimName"] == "eu-data"
    assert spec["priorityClassName"] == built["PriorityClass"]["metadata"]["name"] == "eu-high"
    assert built["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "eu-web"
    assert built["ImmutableAction"]["spec"]["service"] == "eu-web"


def test_prefix_reaches_the_node_class_of_a_pool(tmp_path: Path) -> None:
    group = "karpenter.k8s.aws"
    reference = {"group": group, "kind": "EC2NodeClass", "name": "default"}
    pool = {"provider": {"karpenter": {"nodeClassRef": reference}}}
    objects = [
        _object("ImmutableNodePool", "general", pool),
        _object("EC2NodeClass", "default", {}, f"{group}/v1"),
    ]

    built = _build(tmp_path, objects, overlay={"namePrefix": "eu-"})

    karpenter = built["ImmutableNodePool"]["spec"]["provider"]["karpenter"]
    assert karpenter["nodeClassRef"]["name"] == "eu-default"


def test_images_pins_every_image_of_the_template_by_digest(tmp_path: Path) -> None:
    volume = {"name": "v", "image": {"reference": IMAGE}}
    pod = {"initContainers": [{"name": "init", "image": f"{IMAGE}:1"}], "volumes": [volume]}

    built = _build(
        tmp_path,
        [_service(_template(pod=pod))],
        overlay={"images": [{"name": IMAGE, "newTag": "2", "digest": DIGEST}]},
    )

    spec = _pod(built["ImmutableService"])
    pinned = f"{IMAGE}:2@{DIGEST}"
    images = [c["image"] for c in spec["containers"]]
    assert images == [pinned, "registry.example/log"]
    assert spec["initContainers"][0]["image"] == pinned
    assert spec["volumes"][0]["image"]["reference"] == pinned


def test_images_pins_the_smoke_pod_of_a_node_pool(tmp_path: Path) -> None:
    verify = {"smokePod": {"image": IMAGE}}
    pool = _object("ImmutableNodePool", "general", {"rollout": {"verify": verify}})

    built = _build(tmp_path, [pool], overlay={"images": [{"name": IMAGE, "digest": DIGEST}]})

    verified = built["ImmutableNodePool"]["spec"]["rollout"]["verify"]
    assert verified["smokePod"]["image"] == f"{IMAGE}@{DIGEST}"


@pytest.mark.parametrize("spec", [{}, {"replicas": 2}], ids=["unset", "set"])
@pytest.mark.parametrize("kind", ["ImmutableService", "ImmutableNodePool"])
def test_replicas_sets_the_number_of_instances(
    tmp_path: Path, kind: str, spec: dict[str, Any]
) -> None:
    overlay = {"replicas": [{"name": "web", "count": 5}]}
    built = _build(tmp_path, [_object(kind, "web", spec)], overlay=overlay)
    assert built[kind]["spec"]["replicas"] == 5


def test_replicas_stay_unset_for_an_autoscaler(tmp_path: Path) -> None:
    built = _build(tmp_path, [_service(_template())], overlay={"namePrefix": "eu-"})
    assert "replicas" not in built["ImmutableService"]["spec"]


# Patches of the spec of a pod, all of them by the merge keys that a Deployment has.
PATCHES = {
    "field of a container": "{containers: [{name: web, args: [b]}]}",
    "environment": "{containers: [{name: web, env: [{name: B, value: '2'}]}]}",
    "changed environment": "{containers: [{name: web, env: [{name: A, value: '2'}]}]}",
    "ports": "{containers: [{name: web, ports: [{containerPort: 9090}]}]}",
    "mounts": "{containers: [{name: web, volumeMounts: [{mountPath: /b, name: w}]}]}",
    "new container": "{containers: [{name: new, image: n}]}",
    "new init container": "{initContainers: [{name: new, image: n}]}",
    "deleted container": "{containers: [{name: log, $patch: delete}]}",
    "volumes": "{volumes: [{name: w, emptyDir: {}}]}",
    "other kind of volume": "{volumes: [{name: v, configMap: {name: c}, emptyDir: null}]}",
    "pull secrets": "{imagePullSecrets: [{name: b}]}",
    "host aliases": "{hostAliases: [{ip: 10.0.0.2, hostnames: [b]}]}",
    "spread": (
        "{topologySpreadConstraints:"
        " [{topologyKey: zone, whenUnsatisfiable: DoNotSchedule, maxSkew: 2}]}"
    ),
    "tolerations, which are replaced as a whole": "{tolerations: [{key: b}]}",
}


@pytest.mark.parametrize("patch", PATCHES.values(), ids=[*PATCHES])
def test_patch_is_merged_as_into_a_deployment(tmp_path: Path, patch: str) -> None:
    container = {
        "args": ["a"],
        "env": [{"name": "A", "value": "1"}],
        "ports": [{"containerPort": 8080}],
        "volumeMounts": [{"mountPath": "/a", "name": "v"}],
    }
    spread = {"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1}
    pod = {
        "volumes": [{"name": "v", "emptyDir": {}}],
        "imagePullSecrets": [{"name": "a"}],
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}],
        "topologySpreadConstraints": [spread, {**spread, "topologyKey": "host"}],
        "tolerations": [{"key": "a"}],
    }
    template = _template(container, pod)
    change = yaml.safe_load(patch)
    patches = [
        _patch("ImmutableService", "web", change),
        _patch("Deployment", "plain", change, "apps/v1"),
    ]
    plain = [_deployment(template)]
    (tmp_path / "alone").mkdir()
    alone = _without_component(tmp_path / "alone", plain, {"patches": [patches[1]]})

    built = _build(tmp_path, [_service(template), *plain], overlay={"patches": patches})

    expected = _pod(alone["Deployment"])
    assert _pod(built["ImmutableService"]) == expected
    # The document of the component replaces the one of kustomize, for all kinds.
    assert _pod(built["Deployment"]) == expected


def _without_component(folder: Path, objects: list[Json], kustomization: Json) -> dict[str, Json]:
    (folder / "objects.yaml").write_text(yaml.safe_dump_all(objects))
    said = {"resources": ["objects.yaml"], **kustomization}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(said))
    return _kustomize(folder)


def test_label_that_a_service_selects_by_is_on_the_pods(tmp_path: Path) -> None:
    front = _object("Service", "web", {"selector": {"app": "web"}}, "v1")
    labels = [{"pairs": {"team": "shop"}, "includeSelectors": True}]

    built = _build(tmp_path, [_service(_template()), front], overlay={"labels": labels})

    pods = built["ImmutableService"]["spec"]["template"]["metadata"]["labels"]
    assert built["Service"]["spec"]["selector"].items() <= pods.items()
    assert pods == {"app": "web", "team": "shop"}


def test_label_reaches_the_pods_only_if_that_is_asked_for(tmp_path: Path) -> None:
    found = []
    for asked in (False, True):
        (tmp_path / str(asked)).mkdir()
        labels = [{"pairs": {"team": "shop"}, "includeTemplates": asked}]
        built = _build(tmp_path / str(asked), [_service(_template())], overlay={"labels": labels})
        found.append(built["ImmutableService"]["spec"]["template"]["metadata"]["labels"])
    assert found == [{"app": "web"}, {"app": "web", "team": "shop"}]


def test_namespace_is_set_on_namespaced_kinds_only(tmp_path: Path) -> None:
    objects = [
        _service(_template()),
        _object("ImmutableAction", "again", {}),
        _object("ImmutableFreeze", "release", {}),
        _object("ImmutableNodePool", "general", {}),
    ]

    built = _build(tmp_path, objects, overlay={"namespace": "shop"})

    namespaces = {kind: body["metadata"].get("namespace") for kind, body in built.items()}
    assert namespaces == {
        "ImmutableService": "shop",
        "ImmutableAction": "shop",
        "ImmutableFreeze": None,
        "ImmutableNodePool": None,
    }


def test_example_builds_to_a_pinned_service_that_an_autoscaler_scales() -> None:
    built = _kustomize(EXAMPLE)

    service = built["ImmutableService"]
    [container] = _pod(service)["containers"]
    assert "replicas" not in service["spec"]
    assert "@sha256:" in container["image"]
    assert container["envFrom"][0]["configMapRef"]["name"] == built["ConfigMap"]["metadata"]["name"]
    assert container["resources"]["limits"] == {"memory": "128Mi"}
    assert container["resources"]["requests"] == {"cpu": "10m", "memory": "16Mi"}
    assert built["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["kind"] == service["kind"]
