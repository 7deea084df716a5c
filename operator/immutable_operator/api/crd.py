"""Writes the CustomResourceDefinitions from the models, into crds/ and into the chart.

``python -m immutable_operator.api.crd`` writes; with ``--check`` it compares and shows a diff.
"""

import argparse
import difflib
import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from immutable_operator.api import names
from immutable_operator.api.action import ACTION
from immutable_operator.api.check import CHECK
from immutable_operator.api.freeze import FREEZE
from immutable_operator.api.kind import Column, Kind, Version
from immutable_operator.api.lineage import LINEAGE
from immutable_operator.api.nodepool import POOL
from immutable_operator.api.revision import REVISION
from immutable_operator.api.service import SERVICE
from immutable_operator.api.structural import structural

__all__ = ["KINDS", "crd", "main", "render"]

KINDS: Final = (SERVICE, POOL, REVISION, ACTION, FREEZE, CHECK, LINEAGE)
ROOT: Final = Path(__file__).resolve().parents[3]
FOLDERS: Final = ("crds", "charts/immutable-operator/files/crds")
_HEADER = "# Generated from operator/immutable_operator/api: python -m immutable_operator.api.crd\n"


def crd(kind: Kind) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{names.GROUP}",
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": names.GROUP,
            "scope": kind.scope,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short],
                "categories": list(kind.categories),
            },
            "versions": [_version(kind, version) for version in kind.versions],
        },
    }


def _version(kind: Kind, version: Version) -> dict[str, Any]:
    out: dict[str, Any] = {
        "name": version.name,
        "served": True,
        "storage": version.stored,
        "additionalPrinterColumns": [_column(column) for column in version.columns],
        "schema": {"openAPIV3Schema": _schema(kind, version)},
    }
    if version.status:
        out["subresources"] = {"status": {}}
    if version.scale:
        out["subresources"]["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    return out


def _schema(kind: Kind, version: Version) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "apiVersion": {"type": "string", "description": "Version of the API of this object."},
        "kind": {"type": "string", "description": "Kind of this object."},
        "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
        "spec": structural(version.spec),
    }
    if version.status:
        properties["status"] = structural(version.status)
        if version.status_default:
            properties["status"]["default"] = dict(version.status_default)
    schema: dict[str, Any] = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": properties,
    }
    if version.rules:
        schema["x-kubernetes-validations"] = [rule.schema() for rule in version.rules]
    return schema


def _column(column: Column) -> dict[str, Any]:
    out: dict[str, Any] = {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.path,
        "description": column.description,
    }
    return out | {"priority": 1} if column.wide else out


@functools.cache
def render() -> Mapping[str, str]:
    """Return the text of each generated file by its path in the repository."""
    texts = {
        f"{kind.plural}.yaml": _HEADER
        + yaml.safe_dump(crd(kind), sort_keys=False, width=100, allow_unicode=True)
        for kind in KINDS
    }
    return {f"{folder}/{name}": text for folder in FOLDERS for name, text in texts.items()}


def _difference(root: Path, path: str, text: str) -> str:
    file = root / path
    old = file.read_text(encoding="utf-8") if file.exists() else ""
    lines = (old.splitlines(keepends=True), text.splitlines(keepends=True))
    return "".join(difflib.unified_diff(*lines, fromfile=path, tofile=f"{path} (from the models)"))


def main(arguments: list[str] | None = None) -> int:
    """Write the CRDs, or compare them with the committed files."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help="only compare; exit 1 with a diff",
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="root of the repository")
    options = parser.parse_args(arguments)
    differences = 0
    for path, text in render().items():
        if options.check:
            if difference := _difference(options.root, path, text):
                sys.stdout.write(difference)
                differences += 1
        else:
            (options.root / path).parent.mkdir(parents=True, exist_ok=True)
            (options.root / path).write_text(text, encoding="utf-8")
    if differences:
        print("the CRDs differ from the models; run: python -m immutable_operator.api.crd")
    return 1 if differences else 0


if __name__ == "__main__":
    raise SystemExit(main())
