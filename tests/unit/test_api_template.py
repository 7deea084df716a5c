"""What a pod template becomes before a pod is born with it."""

from collections.abc import Iterator
from typing import Any

import pytest

from immutable_operator.api.structural import wanted_template
from immutable_operator.api.template import IGNORED, born_with

Schema = dict[str, Any]
EMPTY: dict[str, Any] = {"object": {}, "integer": 0, "string": ""}


def lists_with_nulls(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema, str]]:
    """Find each list whose items may be null: its path, the schema of its holder, its own name."""
    for key, field in schema.get("properties", {}).items():
        below = f"{path}.{key}".lstrip(".")
        if "nullable" in field.get("items", ()) and below.removeprefix("metadata.") not in IGNORED:
            yield below, schema, key
        yield from lists_with_nulls(field, below)
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            yield from lists_with_nulls(schema[inner], f"{path}[]")


LISTS = {path: (holder, key) for path, holder, key in lists_with_nulls(wanted_template())}


@pytest.mark.parametrize("path", LISTS)
def test_item_that_is_null_is_an_empty_one_of_its_kind(path: str) -> None:
    holder, key = LISTS[path]
    beside = dict.fromkeys(holder.get("required", ()), "x")
    item = EMPTY[holder["properties"][key]["items"]["type"]]
    assert born_with({**beside, key: [None, None]}) == {**beside, key: [item, item]}


def test_items_may_be_null_where_nothing_is_required_of_them() -> None:
    assert "spec.containers[].args" in LISTS
    assert "spec.imagePullSecrets" in LISTS
    assert "spec.containers" not in LISTS
    assert "spec.containers[].env" not in LISTS
