"""The generated CRDs: structural, complete, equal to the models and to what is committed.

That the API server accepts them, costs of CEL included, is tested in tests/cluster/test_crds.py.
"""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from immutable_operator.api import pod_template
from immutable_operator.api.crd import FOLDERS, KINDS, ROOT, crd, main
from immutable_operator.api.freeze import FREEZE
from immutable_operator.api.kind import Kind
from immutable_operator.api.nodepool import (
    POOL,
    ImmutableNodePoolSpec,
    ImmutableNodePoolStatus,
)
from immutable_operator.api.revision import REVISION
from immutable_operator.api.service import SERVICE, ImmutableServiceSpec, ImmutableServiceStatus
from immutable_operator.api.template import IGNORED

Schema = dict[str, Any]

CLIENT_SIDE_APPLY = 256 * 1024  # of annotations, of which kubectl writes the whole object into one
ALLOWED = {
    *("type", "format", "description", "default", "enum", "pattern", "minimum", "maximum"),
    *("minLength", "maxLength", "minItems", "maxItems", "maxProperties", "required"),
    *("properties", "items", "additionalProperties", "x-kubernetes-validations"),
    *("x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type"),
    *("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields", "nullable", "not"),
}
UNTYPED = ("int-or-string", "preserve-unknown-fields")
both_kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.short)


owners = pytest.mark.parametrize("kind", [SERVICE, POOL], ids=lambda kind: kind.short)


def schema_of(kind: Kind) -> Schema:
    """Give the schema of a kind as the API server gets it."""
    schema: Schema = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Walk a schema with the path of each node."""
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from nodes(below, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


def faults(schema: Schema) -> Iterator[str]:
    """Name what keeps a schema from being structural, or from server-side apply."""
    for path, node in nodes(schema):
        for keyword in sorted(set(node) - ALLOWED):
            yield f"{path}: {keyword} is not for structural schemas"
        untyped = any(node.get(f"x-kubernetes-{word}") for word in UNTYPED)
        if "type" not in node and not untyped:
            yield f"{path}: neither a type nor x-kubernetes-int-or-string"
        if "type" in node and node.get("x-kubernetes-int-or-string"):
            yield f"{path}: both a type and x-kubernetes-int-or-string"
        if node.get("default", ...) is None:
            yield f"{path}: a default of null is pruned"
        if "properties" in node and "additionalProperties" in node:
            yield f"{path}: properties exclude additionalProperties"
        if node.get("type") == "array":
            yield from _list_faults(path, node)
        for name in node.get("required", ()):
            if name not in node.get("properties", {}):
                yield f"{path}: requires {name}, which it does not have"


def _list_faults(path: str, node: Schema) -> Iterator[str]:
    if "items" not in node:
        yield f"{path}: a list without items"
    keys = node.get("x-kubernetes-list-map-keys", [])
    kind = node.get("x-kubernetes-list-type")
    if kind not in ("atomic", "set", "map") or (kind == "map") != bool(keys):
        yield f"{path}: list type {kind} with keys {keys}"
    items = node.get("items", {})
    for key in keys:
        has_default = "default" in items["properties"][key]
        if not has_default and key not in items.get("required", ()):
            yield f"{path}: key {key} is neither required nor defaulted"


@both_kinds
def test_schema_is_structural(kind: Kind) -> None:
    assert list(faults(schema_of(kind))) == []


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda s: s.update(anyOf=[{}]), ": anyOf is not for structural schemas"),
        (lambda s: s.update(oneOf=[{}]), ": oneOf is not for structural schemas"),
        (lambda s: s.pop("type"), ": neither a type nor x-kubernetes-int-or-string"),
        (
            lambda s: s.update({"x-kubernetes-int-or-string": True}),
            ": both a type and x-kubernetes-int-or-string",
        ),
        (lambda s: s.update(default=None), ": a default of null is pruned"),
        (lambda s: s.update(additionalProperties={"type": "string"}), "exclude"),
        (lambda s: s["properties"]["conditions"].pop("x-kubernetes-list-type"), "list type None"),
        (lambda s: s["properties"]["conditions"]["items"].pop("required"), "neither required"),
        (lambda s: s.update(required=["nothing"]), "requires nothing"),
    ],
)
def test_structural_check_reports_each_kind_of_fault(
    spoil: Callable[[Schema], object], fault: str
) -> None:
    schema = copy.deepcopy(schema_of(SERVICE)["properties"]["status"])
    spoil(schema)
    assert any(fault in found for found in faults(schema)), list(faults(schema))


def test_committed_crds_equal_the_generated_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_check_shows_a_difference_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--root", str(tmp_path), "--check"]) == 0
    file = tmp_path / "crds" / "immutableservices.yaml"
    file.write_text(file.read_text().replace("- imsvc", "- service"))
    assert main(["--root", str(tmp_path), "--check"]) == 1
    out = capsys.readouterr().out
    assert "-    - service\n+    - imsvc\n" in out
    assert out.endswith("run: python -m immutable_operator.api.crd\n")


def test_chart_contains_the_same_crds() -> None:
    plain, chart = (sorted((ROOT / folder).iterdir()) for folder in FOLDERS)
    assert [file.name for file in plain] == [file.name for file in chart]
    assert [file.read_bytes() for file in plain] == [file.read_bytes() for file in chart]


@both_kinds
def test_crd_fits_into_the_annotation_of_client_side_apply(kind: Kind) -> None:
    body = json.dumps(crd(kind), separators=(",", ":"))
    assert len(body) < CLIENT_SIDE_APPLY * 0.9


@both_kinds
def test_helm_uninstall_keeps_the_crds(kind: Kind) -> None:
    assert crd(kind)["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


_POOL = {"image": {"id": "ami-1"}, "provider": {"simulated": {}}}


def defaults(schema: Schema) -> Schema:
    """Give what the API server adds to an empty object, as far as the parents' defaults reach."""
    return {
        name: node["default"]
        for name, node in schema.get("properties", {}).items()
        if "default" in node
    }


@pytest.mark.parametrize(
    ("kind", "part", "model"),
    [
        (SERVICE, "spec", ImmutableServiceSpec.model_validate({"template": {}})),
        (SERVICE, "status", ImmutableServiceStatus()),
        (POOL, "spec", ImmutableNodePoolSpec.model_validate(_POOL)),
        (POOL, "status", ImmutableNodePoolStatus()),
    ],
)
def test_crd_defaults_equal_the_model_defaults(kind: Kind, part: str, model: BaseModel) -> None:
    required = set(_POOL) | {"template"}
    by_model = model.model_dump(by_alias=True, exclude_none=True, exclude=required)
    assert defaults(schema_of(kind)["properties"][part]) == by_model


@owners
def test_defaults_are_the_same_inside_and_outside(kind: Kind) -> None:
    """A field that is written in part gets the other defaults, too."""
    for path, node in nodes(schema_of(kind)["properties"]["spec"]):
        if "properties" in node and "default" in node:
            # An empty list means the same as none.
            outside = {name: value for name, value in node["default"].items() if value != []}
            assert outside == defaults(node), path


@pytest.mark.parametrize("kind", [SERVICE, POOL, FREEZE], ids=lambda kind: kind.short)
def test_what_users_write_in_lists_has_no_defaults(kind: Kind) -> None:
    """The API server would add them: tools that compare lists as a whole would always differ."""
    spec = schema_of(kind)["properties"]["spec"]
    assert [path for path, node in nodes(spec) if "[]" in path and "default" in node] == []


def test_template_schema_has_no_defaults() -> None:
    """The stored template equals the written one, so tools that compare them see no difference."""
    template = schema_of(SERVICE)["properties"]["spec"]["properties"]["template"]
    assert [path for path, node in nodes(template) if "default" in node] == []


def test_revision_spec_has_no_untyped_object_field() -> None:
    """Without a schema, `self == oldSelf` of the API server overlooks a replaced key."""
    spec = schema_of(REVISION)["properties"]["spec"]
    unknown = [n for _, n in nodes(spec) if n.get("x-kubernetes-preserve-unknown-fields")]
    assert unknown, "quantities"
    assert all("type" not in node for node in unknown)


def test_optional_template_field_is_nullable() -> None:
    template = schema_of(SERVICE)["properties"]["spec"]["properties"]["template"]
    for path, node in nodes(template):
        for name, field in node.get("properties", {}).items():
            required = name in node.get("required", ())
            assert field.get("nullable", False) is not required, f"{path}.{name}"


@owners
def test_new_object_has_observed_generation_minus_one(kind: Kind) -> None:
    """Kstatus: without this an object that no operator has seen counts as finished."""
    assert schema_of(kind)["properties"]["status"]["default"] == {"observedGeneration": -1}


def test_statuses_of_service_and_pool_have_the_same_fields() -> None:
    """One codec writes both. Only services read Secrets."""

    def bare(kind: Kind) -> list[tuple[str, Schema]]:
        listed = nodes(schema_of(kind)["properties"]["status"])
        kept = ("type", "format", "required", "enum", "maxLength", "maxItems", "pattern")
        shared = [(path, node) for path, node in listed if not path.startswith(".liveSecrets")]
        return [(path, {key: node.get(key) for key in kept}) for path, node in shared]

    assert bare(POOL) == bare(SERVICE)


def test_recorded_node_has_every_field_of_a_pool_and_no_checks() -> None:
    """What a revision does not declare is pruned when it is recorded."""
    recorded = schema_of(REVISION)["properties"]["spec"]["properties"]["node"]
    wanted = schema_of(POOL)["properties"]["spec"]["properties"]
    for field in ("image", "template", "provider"):
        given = recorded["properties"][field]
        assert [path for path, _ in nodes(given)] == [path for path, _ in nodes(wanted[field])]
    allowed = {"type", "properties", "items", "additionalProperties", "x-kubernetes-list-type",
               "x-kubernetes-preserve-unknown-fields"}  # fmt: skip
    for path, node in nodes(recorded):
        assert set(node) - {"description"} <= allowed, path


# Embedded as the API server describes it, or recorded without descriptions.
_OTHERS = (".template.", ".node.")


@both_kinds
def test_every_field_has_a_description(kind: Kind) -> None:
    for part in ("spec", "status"):
        for path, node in nodes(schema_of(kind)["properties"].get(part, {"description": "none"})):
            if not path.startswith(_OTHERS) and not path.endswith(("[]", "{}")):
                assert node.get("description"), f"{part}{path}"


def columns(kind: Kind, *, wide: bool) -> list[tuple[str, str]]:
    """Give the titles, as kubectl prints them, and paths of the columns."""
    listed = crd(kind)["spec"]["versions"][0]["additionalPrinterColumns"]
    return [(c["name"].upper(), c["jsonPath"]) for c in listed if bool(c.get("priority")) == wide]


@owners
def test_service_and_pool_columns(kind: Kind) -> None:
    ready = '.status.conditions[?(@.type=="Ready")]'
    changed = '.status.conditions[?(@.type=="AdmissionChanged")]'
    assert columns(kind, wide=False) == [
        ("DESIRED", ".spec.replicas"),
        ("CURRENT", ".status.currentReplicas"),
        ("READY", ".status.readyReplicas"),
        ("STALE", ".status.staleReplicas"),
        ("REVISION", ".status.currentRevision"),
        ("OLDEST", ".status.oldestInstance"),
        ("STATUS", f"{ready}.reason"),
        ("AGE", ".metadata.creationTimestamp"),
    ]
    assert columns(kind, wide=True) == [
        ("MESSAGE", f"{ready}.message"),
        ("SELECTOR", ".status.selector"),
        *([("ADMISSION", f"{changed}.message")] if kind is SERVICE else []),
    ]


def test_revision_columns() -> None:
    assert columns(REVISION, wide=False) == [
        ("OWNER", ".spec['service','pool']"),
        ("NUMBER", ".spec.number"),
        ("REVISION", ".spec.revision"),
        ("PHASE", ".status.phase"),
        ("REASON", ".spec.reason"),
        ("IMAGE", ".spec.image"),
        ("BY", ".spec.by"),
        ("AGE", ".metadata.creationTimestamp"),
    ]
    assert crd(REVISION)["spec"]["versions"][0]["subresources"] == {"status": {}}


@owners
def test_service_and_pool_have_the_scale_subresource(kind: Kind) -> None:
    assert crd(kind)["spec"]["versions"][0]["subresources"]["scale"] == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    replicas = schema_of(kind)["properties"]["spec"]["properties"]["replicas"]
    assert "default" not in replicas


OPENAPI = {
    "components": {
        "schemas": {
            pod_template.ROOT: {
                "type": "object",
                "properties": {
                    "metadata": {"allOf": [{"$ref": "#/components/schemas/Meta"}], "default": {}},
                    "spec": {"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"},
                },
            },
            "Meta": {
                "type": "object",
                "properties": {
                    "labels": {
                        "type": "object",
                        "additionalProperties": {"type": "string", "default": ""},
                    },
                    "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
                    "finalizers": {"type": "array", "items": {"type": "string"}},
                    **{name: {"type": "string"} for name in IGNORED},
                    "ownerReferences": {"type": "array", "items": {"type": "object"}},
                    "initializers": {"type": "string"},
                },
            },
            "io.k8s.api.core.v1.PodSpec": {
                "type": "object",
                "properties": {
                    "ephemeralContainers": {"type": "array", "items": {"type": "string"}},
                    "dnsPolicy": {"type": "string", "enum": ["Default", "None"]},
                    "hostAliases": {
                        "type": "array",
                        "items": {"$ref": "#/components/schemas/Port"},
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["protocol"],
                    },
                    "spreads": {
                        "type": "array",
                        "description": "Ports, e.g. of HTTP.  Defaults to none. Be careful. "
                        "More info: elsewhere",
                        "items": {"allOf": [{"$ref": "#/components/schemas/Port"}], "default": {}},
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["number", "protocol"],
                        "x-kubernetes-patch-merge-key": "number",
                    },
                },
            },
            "Port": {
                "type": "object",
                "properties": {
                    "number": {
                        "$ref": "#/components/schemas/"
                        "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
                    },
                    "protocol": {"type": "string", "default": "TCP"},
                    "name": {"type": "string", "default": "x"},
                    "size": {
                        "description": "How large.",
                        "allOf": [
                            {
                                "$ref": "#/components/schemas/"
                                "io.k8s.apimachinery.pkg.api.resource.Quantity"
                            }
                        ],
                    },
                },
            },
        }
    }
}


def test_extracted_template_has_no_references_and_only_required_keys() -> None:
    extracted = pod_template.extract(OPENAPI)["properties"]
    spec = extracted["spec"]["properties"]
    assert set(spec) == {"dnsPolicy", "hostAliases", "spreads"}
    size = spec["spreads"]["items"]["properties"].pop("size")
    assert size["description"].startswith("How large. A quantity is a number, or a string")
    assert "type" not in size
    assert spec["spreads"] == {
        "type": "array",
        "description": "Ports, e.g. of HTTP. Defaults to none.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["number", "protocol"],
        "items": {
            "type": "object",
            "required": ["number"],
            "properties": {
                "number": {"x-kubernetes-int-or-string": True},
                "protocol": {"type": "string", "default": "TCP"},
                "name": {"type": "string"},
            },
        },
    }


def test_extracted_template_is_as_permissive_as_a_deployment() -> None:
    extracted = pod_template.extract(OPENAPI)["properties"]
    assert extracted["spec"]["properties"]["dnsPolicy"]["enum"] == ["", "Default", "None"]
    aliases = extracted["spec"]["properties"]["hostAliases"]
    assert aliases["x-kubernetes-list-type"] == "atomic", "a pod may have one address twice"
    assert "x-kubernetes-list-map-keys" not in aliases
    assert aliases["items"]["properties"]["protocol"] == {"type": "string"}
    metadata = extracted["metadata"]["properties"]
    assert set(metadata) == {"labels", "annotations", "finalizers", *IGNORED}
    assert metadata["name"] == {
        "type": "string",
        "description": "Ignored: each pod gets its own value.",
    }
    assert metadata["ownerReferences"]["x-kubernetes-list-type"] == "atomic"
