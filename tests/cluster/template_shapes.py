"""Two hundred pod templates in the shapes that public charts render, made of template_shapes.yaml.

Each is a workload with three features, written in one of several styles. The result is always the
same.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.controlplane.api import Json
from tests.unit.service_specs import PIN

__all__ = ["CONFIG_MAPS", "COUNT", "Shape", "document", "shapes"]

COUNT = 200
FEATURES = 3
CONFIG_MAPS = ("settings", "scripts")
"""The ConfigMaps that the templates read."""
FILE = Path(__file__).with_name("template_shapes.yaml")
# Of two of these the first one stays whole: a probe or hook has one handler.
WHOLE = frozenset(("livenessProbe", "readinessProbe", "startupProbe", "postStart", "preStop"))
NOTHING: tuple[object, ...] = (None, {}, [], "")


@dataclass(frozen=True)
class Shape:
    """A pod template.

    ``beside`` is what a tool writes into the object beside the spec; ``runs`` is False where the
    test bed lacks something that the pod needs to become Ready.
    """

    name: str
    template: Json
    beside: Json
    runs: bool


def shapes() -> list[Shape]:
    """Make all of them; each workload, feature and style is in several."""
    parts: Mapping[str, Mapping[str, Json]] = yaml.safe_load(
        FILE.read_text(encoding="utf-8").replace("IMAGE", PIN)
    )
    workloads, features, styles = (
        list(parts[kind].items()) for kind in ("workloads", "features", "styles")
    )
    found = []
    for number in range(COUNT):
        # A larger step in each round, so that no three features meet again.
        step = len(features) // FEATURES + number // len(features)
        found.append(
            _combined(
                [
                    workloads[number % len(workloads)],
                    *(features[(number + n * step) % len(features)] for n in range(FEATURES)),
                    styles[(number + number // len(workloads)) % len(styles)],
                ]
            )
        )
    return found


def document(body: Mapping[str, Any]) -> str:
    """Write an object as YAML for kubectl, in which the text ``~1e3`` is the number 1e3."""
    return "---\n" + re.sub(r'"~([0-9.eE+-]+)"', r"\1", json.dumps(body)) + "\n"


def _combined(parts: list[tuple[str, Json]]) -> Shape:
    workload = copy.deepcopy(parts[0][1])
    template: Json = {"metadata": workload.get("metadata", {}), "spec": workload["spec"]}
    beside: Json = {}
    container = template["spec"]["containers"][0]
    for _, written in parts[1:]:
        part = _of_container(written, container["name"])
        replaced = part.get("override", {})
        for place, own in (("spec", template["spec"]), ("container", container)):
            for key in replaced.get(place, ()):
                own.pop(key, None)
        _add(template["metadata"], part.get("metadata", {}))
        _add(template["spec"], part.get("spec", {}))
        _add(container, part.get("container", {}))
        _add(beside, part.get("beside", {}))
    runs = all(part.get("runs", True) for _, part in parts)
    return Shape("; ".join(name for name, _ in parts), template, beside, runs)


def _of_container(part: Json, name: str) -> Json:
    own: Json = json.loads(json.dumps(part).replace("CONTAINER", name))
    return own


def _add(base: Json, part: Json) -> None:
    """Add what is not there yet. Lists of objects are joined; else the first value stays."""
    for key, value in part.items():
        there = base.get(key)
        if key not in base or (there in NOTHING and value not in NOTHING):
            base[key] = value
        elif isinstance(there, dict) and isinstance(value, dict) and key not in WHOLE:
            _add(there, value)
        elif isinstance(there, list) and isinstance(value, list) and isinstance(there[:1], list):
            there.extend(item for item in value if isinstance(item, dict))
