"""Objects as kubectl prints them: ``-o json``, ``-o yaml`` and ``-o name``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import yaml

from immutable_operator.cli.objects import Json

__all__ = ["as_text", "written"]


def written(items: Sequence[Json], output: str) -> str:
    """Return objects as a List, or their names; ``output`` is json, yaml or name."""
    if output == "name":
        return "\n".join(map(_name, items))
    # They say which manager wrote which field; kubectl hides them, too.
    shown = [
        {**i, "metadata": {k: v for k, v in i["metadata"].items() if k != "managedFields"}}
        for i in items
    ]
    return as_text({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": shown}, output)


def as_text(data: Any, output: str) -> str:
    """Return any data as JSON or YAML."""
    if output == "yaml":
        return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True)).rstrip()
    return msgspec.json.format(msgspec.json.encode(data), indent=2).decode()


def _name(item: Json) -> str:
    """Return the kind with its group, and the name, as kubectl accepts it."""
    group, _, _ = str(item.get("apiVersion") or "v1").rpartition("/")
    kind = str(item.get("kind") or "pod").lower()
    return (
        f"{kind}.{group}/{item['metadata']['name']}"
        if group
        else f"{kind}/{item['metadata']['name']}"
    )
