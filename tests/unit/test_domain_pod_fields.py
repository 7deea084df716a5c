"""Every field that a pod template can have is known: what its zero says, and what nothing says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from immutable_operator.api.pod_template import load
from immutable_operator.domain.config.canonical import canonical

Json = dict[str, Any]
GOLDEN = json.loads(
    (Path(__file__).parent / "golden" / "pod_fields.json").read_text(encoding="utf-8")
)


def _fields(schema: Json, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each field of a pod template that the CRD knows, and the least that can be said there."""
    for name, field in (schema.get("properties") or {}).items():
        inner = field.get("items", field)
        here = (*path, name)
        match field.get("type"):
            case "array":
                yield here, []
                yield from _fields(inner, (*here, "[]"))
            case "object":
                yield here, {}
                yield from _fields(inner, here)
            case kind:
                yield here, {"string": "", "boolean": False, "integer": 0}.get(str(kind), "0")


def _built(path: tuple[str, ...], last: Any) -> Any:
    for name in reversed(path):
        last = [last] if name == "[]" else {name: last}
    return last


def test_every_field_of_the_crd_is_classified() -> None:
    """New fields of a later Kubernetes version fail here: each is a value or a pointer."""
    says: dict[str, set[str]] = {"zero": set(), "list or map": set(), "no struct": set()}
    known = list(_fields(load()))
    parents = {path[:-1] for path, _ in known}
    for path, least in known:
        if path[-2:-1] == ("metadata",) or "ownerReferences" in path or "managedFields" in path:
            continue  # the API server takes no more than labels and annotations there
        named = ".".join([name for name in path if name != "[]"][-2:])
        counts = canonical(_built(path, least)) != canonical(_built(path[:-1], {}))
        struct = least == {} and path in parents
        if struct and not counts:
            says["no struct"].add(named)
        elif not struct and counts:
            says["list or map" if least in ([], {}) else "zero"].add(named)
    assert says["zero"] == set(GOLDEN["a zero says something"])
    assert says["list or map"] == set()
    assert says["no struct"] == set(GOLDEN["an empty struct says nothing"])
