"""JSON schemas of all kinds of the test bed's API server, for kubeconform.

They are made from its OpenAPI document, with the kinds of the chart and of the Prometheus Operator
installed, and kept in the cache: kubeconform would otherwise download them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.controlplane.build import KUBERNETES_VERSION, cache_root
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.prometheus import operator_crds
from tests.waiting import wait_for

__all__ = ["LOCATION", "schemas", "schemas_folder"]

Json = dict[str, Any]
# The pattern by which kubeconform finds a file in the folder.
LOCATION: Final = "{{ .ResourceKind }}-{{ .Group }}-{{ .ResourceAPIVersion }}.json"
_GVK: Final = "x-kubernetes-group-version-kind"
_PREFIX: Final = "#/definitions/"
# Kinds of schemas, which contain themselves and unknown keywords.
_OPEN: Final = ("JSONSchemaProps", "RawExtension", "FieldsV1", "JSON")
_EITHER: Final = {"oneOf": [{"type": "string"}, {"type": "number"}]}


def schemas_folder(*, build: bool = True) -> Path | None:
    """The folder with the schemas; None if it does not exist and shall not be built.

    A change of the CRDs makes a new folder.
    """
    crds = Path(__file__).parents[2] / "crds"
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for file in sorted(crds.glob("*.yaml")):
        digest.update(file.read_bytes())
    folder = cache_root() / "schemas" / f"{KUBERNETES_VERSION}-{digest.hexdigest()[:12]}"
    if folder.exists():
        return folder
    if not build:
        return None
    foreign = operator_crds("servicemonitors", "prometheusrules")
    with ControlPlane.start() as plane:
        given = [f"--filename={path}" for path in (crds, *foreign)]
        plane.kubectl("apply", "--server-side", *given)
        openapi = wait_for("all kinds have schemas", lambda: _served(plane, given), 60)
    staging = folder.with_name(f"{folder.name}.part")
    staging.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas(openapi):
        (staging / name).write_text(json.dumps(schema))
    staging.rename(folder)
    return folder


def schemas(openapi: Json) -> Iterator[tuple[str, Json]]:
    """The name of the file and the schema of each kind in an API server's /openapi/v2."""
    definitions = {name: _strict(name, body) for name, body in openapi["definitions"].items()}
    for name, body in openapi["definitions"].items():
        for kind in body.get(_GVK, ()):
            used = _reachable(definitions, name)
            schema = definitions[name] | {"definitions": {key: definitions[key] for key in used}}
            # kubeconform's group of the core API is its version.
            parts = (kind["kind"], kind["group"] or kind["version"], kind["version"])
            yield f"{'-'.join(parts).lower()}.json", schema


def _served(plane: ControlPlane, given: list[str]) -> Json:
    """The OpenAPI document, once it has the kinds of these CRDs; empty until then."""
    told = plane.kubectl("create", *given, "--dry-run=client", "--output=json").stdout
    decoder, wanted = json.JSONDecoder(), set()
    while told.strip():
        crd, end = decoder.raw_decode(told.lstrip())
        told = told.lstrip()[end:]
        wanted.add(crd["spec"]["names"]["kind"])
    openapi: Json = plane.api().get("/openapi/v2")
    kinds = {k["kind"] for body in openapi["definitions"].values() for k in body.get(_GVK, ())}
    return openapi if wanted <= kinds else {}


def _strict(name: str, body: Any) -> Any:
    """A definition, or a part of one, that allows no unknown fields."""
    if isinstance(body, list):
        return [_strict("", item) for item in body]
    if not isinstance(body, dict):
        return body
    last = name.rpartition(".")[2]
    if last in _OPEN:
        return {}
    if last in ("IntOrString", "Quantity") or body.get("x-kubernetes-int-or-string"):
        return _EITHER
    kept = {key: value for key, value in body.items() if key not in ("description", "default")}
    made = {key: _strict("", value) for key, value in kept.items() if not key.startswith("x-")}
    if "properties" in body:
        # A field can have the name of a keyword.
        made["properties"] = {key: _strict("", field) for key, field in body["properties"].items()}
        if not body.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    return made


def _reachable(definitions: Json, name: str) -> set[str]:
    """The names of the definitions to which one refers, also indirectly."""
    found: set[str] = set()
    left = [definitions[name]]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            reference = part.get("$ref")
            if (
                isinstance(reference, str)
                and (other := reference.removeprefix(_PREFIX)) not in found
            ):
                found.add(other)
                left.append(definitions[other])
            left += part.values()
    return found
