"""Compares two templates field by field: what differs in effect, shown as it is written.

Both are compared in the canonical form that identifies a revision, so that another spelling of the
same pods is no difference. Items of a list are paired by what identifies them (the name of a
container, the path of a mount).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import yaml

from immutable_operator.cli.change import Change

__all__ = ["compared", "lines_of"]

Step = str | tuple[str, Any]
Path = tuple[Step, ...]
Form = Callable[[Any], Any]
# What identifies an item of a list, the most specific first.
KEYS = ("mountPath", "devicePath", "name", "containerPort", "key", "topologyKey", "ip")


class _Nothing:
    """Instead of a field that is not there; null is a value."""


NOTHING = _Nothing()


def compared(root: str, old: Any, new: Any, canonical: Form = lambda value: value) -> list[Change]:
    """Return the differences below a field named ``root``, in the order of the fields."""
    return [
        Change(
            _spelled(root, path), lines_of(_written(old, path, a)), lines_of(_written(new, path, b))
        )
        for path, a, b in _walked(canonical(old), canonical(new), ())
    ]


def _walked(old: Any, new: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            yield from _walked(old.get(key, NOTHING), new.get(key, NOTHING), (*path, str(key)))
    elif isinstance(old, list) and isinstance(new, list) and (key := _key(old, new)):
        yield from _paired(old, new, key, path)
    elif old != new:
        yield path, old, new


def _paired(
    old: list[Any], new: list[Any], key: str, path: Path
) -> Iterator[tuple[Path, Any, Any]]:
    before, after = ({item[key]: item for item in items} for items in (old, new))
    for name in dict.fromkeys((*before, *after)):
        step = (*path, (key, name))
        yield from _walked(before.get(name, NOTHING), after.get(name, NOTHING), step)
    kept = [name for name in before if name in after]
    moved = [name for name in after if name in before]
    if kept != moved:
        yield (*path, ("order", "")), kept, moved


def _key(old: list[Any], new: list[Any]) -> str | None:
    """Return the field that identifies the items of both lists, if there is one."""
    return next((key for key in KEYS if _identifies(key, old) and _identifies(key, new)), None)


def _identifies(key: str, items: list[Any]) -> bool:
    found = [item.get(key) for item in items if isinstance(item, Mapping)]
    plain = all(isinstance(name, str | int) for name in found)
    return plain and len(found) == len(items) == len({*map(str, found)})


def _written(given: Any, path: Path, otherwise: Any) -> Any:
    """Return the value as it is written, or ``otherwise`` if it follows from something else."""
    for step in path:
        if isinstance(step, str):
            given = given.get(step, NOTHING) if isinstance(given, Mapping) else NOTHING
        else:
            items = given if isinstance(given, list) else []
            found = (i for i in items if isinstance(i, Mapping) and i.get(step[0]) == step[1])
            given = next(found, NOTHING)
    return otherwise if given is NOTHING else given


def _spelled(root: str, path: Path) -> str:
    text = root
    for step in path:
        if isinstance(step, tuple):
            key, name = step
            if key == "order":
                text += " (order)"
            else:
                text += f"[{name}]" if key == "name" else f"[{key}={name}]"
        else:
            text += f".{step}" if step.replace("-", "").isalnum() else f"['{step}']"
    return text


def lines_of(value: Any) -> list[str]:
    """Return the lines in which a value is shown; none for `NOTHING`."""
    if value is NOTHING:
        return []
    if isinstance(value, str):
        # Quotes only where it would look like something else: "true", "1", "".
        plain = bool(value.strip()) and isinstance(_loaded(value), str)
        return value.split("\n") if plain else [msgspec.json.encode(value).decode()]
    if isinstance(value, Mapping | list) and value:
        text = yaml.safe_dump(value, sort_keys=False, width=10_000, allow_unicode=True)
        return str(text).splitlines()
    return [msgspec.json.encode(value).decode()]


def _loaded(text: str) -> Any:
    """Return what a short text is in YAML; any other text is a text."""
    if len(text) > 40 or not text.replace(".", "").replace("-", "").isalnum():
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
