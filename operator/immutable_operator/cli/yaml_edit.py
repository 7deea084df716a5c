"""Changes a YAML text so that it says something else, and leaves the rest of it as it is.

Comments, order and quotes are kept wherever the document is written in block style. The result is
read again and compared: where the text cannot be edited, the document is written anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from immutable_operator.cli.kubernetes_yaml import Document, dumped, loaded
from immutable_operator.cli.objects import Json

__all__ = ["Edit", "applied", "rewritten"]


@dataclass(frozen=True, order=True)
class Edit:
    """Characters ``start`` to ``end`` of a text are replaced by ``text``."""

    start: int
    end: int
    text: str


def applied(text: str, edits: list[Edit]) -> str:
    """Return the text with all changes, which do not overlap."""
    # An insertion comes before a replacement that starts at the same place.
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def rewritten(text: str, document: Document, body: Json) -> Edit:
    """Return the change after which the document says ``body``."""
    start, end = _extent(text, document.node)
    try:
        edits = list(_Editing(text).mapping(document.node, document.body, body))
        inside = [Edit(e.start - start, e.end - start, e.text) for e in edits]
        new = applied(text[start:end], inside)
        if loaded(new) == body:
            return Edit(start, end, new)
    except (_CannotEdit, yaml.YAMLError, ValueError):
        pass
    return Edit(start, end, _anew(text[start:end], body))


def _anew(old: str, body: Json) -> str:
    if old.lstrip().startswith("{"):
        try:
            json.loads(old)
        except ValueError:
            pass
        else:
            return json.dumps(body, indent=2, ensure_ascii=False) + ("\n" * old.endswith("\n"))
    return dumped(body)


class _CannotEdit(Exception):
    """The text is not in block style at the place of a change."""


def _extent(text: str, node: yaml.Node) -> tuple[int, int]:
    start = node.start_mark.index
    line = text.rfind("\n", 0, start) + 1
    return (line if not text[line:start].strip() else start), _line_end(text, _end(node))


def _end(node: yaml.Node) -> int:
    """Return where the last character of a node is; the marks of a block collection are later."""
    if isinstance(node, yaml.ScalarNode) or getattr(node, "flow_style", False):
        return int(node.end_mark.index)
    if isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    else:
        parts = list(node.value)
    return max((_end(part) for part in parts), default=int(node.end_mark.index))


def _line_end(text: str, place: int) -> int:
    """Return the beginning of the next line; ``place`` itself if a line begins there."""
    if place and text[place - 1] == "\n":
        return place
    found = text.find("\n", place)
    return len(text) if found < 0 else found + 1


@dataclass(frozen=True)
class _Editing:
    text: str

    def mapping(self, node: yaml.Node, old: Json, new: Json) -> Iterator[Edit]:
        """Yield what turns ``old``, which is written at ``node``, into ``new``.

        Raises `_CannotEdit`.
        """
        if not isinstance(node, yaml.MappingNode) or (node.flow_style and list(old) != list(new)):
            raise _CannotEdit
        pairs = {key.value: (key, value) for key, value in node.value}
        if set(pairs) != set(old):
            raise _CannotEdit  # merged or duplicate keys, or keys that are no text
        for name, (key, value) in pairs.items():
            if name not in new:
                yield self._removed(key, value)
            elif new[name] != old[name]:
                yield from self._changed((key, value), old[name], new[name])
        if not node.flow_style:
            yield from self._added(pairs, new)

    def _changed(self, pair: tuple[Any, Any], old: Any, new: Any) -> Iterator[Edit]:
        key, value = pair
        if value.start_mark.index < key.end_mark.index:
            raise _CannotEdit  # an alias
        if isinstance(old, dict) and isinstance(new, dict) and new:
            try:
                yield from list(self.mapping(value, old, new))
            except _CannotEdit:
                yield self._replaced(key, value, new)
        elif isinstance(old, dict | list) or isinstance(new, dict | list):
            yield self._replaced(key, value, new)
        else:
            scalar = dumped({"x": new}).removeprefix("x: ").rstrip("\n")
            if "\n" in scalar:
                raise _CannotEdit
            yield Edit(value.start_mark.index, value.end_mark.index, scalar)

    def _replaced(self, key: yaml.Node, value: yaml.Node, new: Any) -> Edit:
        return Edit(key.start_mark.index, _end(value), self._written({key.value: new}, key))

    def _removed(self, key: yaml.Node, value: yaml.Node) -> Edit:
        """Return the removal of whole lines, with the comments directly above the key."""
        start = self._line_of(key)
        while start:
            above = self.text.rfind("\n", 0, start - 1) + 1
            line = self.text[above:start]
            if not line.startswith(" " * key.start_mark.column + "#"):
                break
            start = above
        return Edit(start, _line_end(self.text, max(_end(value), key.end_mark.index)), "")

    def _added(self, pairs: Mapping[str, Any], new: Json) -> Iterator[Edit]:
        """Yield insertions, each after the key that precedes it in ``new``."""
        first = next(iter(pairs.values()))[0]
        place = self._line_of(first)
        waiting: Json = {}
        for name, what in new.items():
            if name in pairs:
                if waiting:
                    yield self._inserted(place, waiting, first)
                key, value = pairs[name]
                place, waiting = _line_end(self.text, max(_end(value), key.end_mark.index)), {}
            else:
                waiting[name] = what
        if waiting:
            yield self._inserted(place, waiting, first)

    def _inserted(self, place: int, what: Json, beside: yaml.Node) -> Edit:
        newline = "" if not place or self.text[place - 1] == "\n" else "\n"
        indent = " " * beside.start_mark.column
        return Edit(place, place, f"{newline}{indent}{self._written(what, beside)}\n")

    def _written(self, what: Json, beside: yaml.Node) -> str:
        """Return a mapping in block style with the indentation of a key, without the first one."""
        indent = " " * beside.start_mark.column
        lines = dumped(what).rstrip("\n").split("\n")
        return "\n".join([lines[0], *(indent + line if line else line for line in lines[1:])])

    def _line_of(self, key: yaml.Node) -> int:
        """Return where the line of a key begins. Raises `_CannotEdit` if it has more before it."""
        start = self.text.rfind("\n", 0, key.start_mark.index) + 1
        if self.text[start : key.start_mark.index].strip():
            raise _CannotEdit
        return start
