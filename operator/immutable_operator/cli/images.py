"""Where the images of a YAML text are, and how they read with a digest. Pure.

Images are those of containers and image volumes, wherever a pod template can be, and those of a
Kustomization.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from immutable_operator.cli.kubernetes_yaml import Document
from immutable_operator.cli.problem import CannotRun
from immutable_operator.cli.yaml_edit import Edit
from immutable_operator.registry.tags import Tagged

__all__ = ["Found", "found_images", "pinned"]

LISTS = frozenset(("containers", "initContainers", "ephemeralContainers"))
KUSTOMIZE = "kustomize.config.k8s.io/"
MERGE = "<<"


@dataclass(frozen=True)
class Found:
    """An image in a text: line, where its text begins and ends, the reference to ask for.

    ``is_tag``: the text is the tag of an entry of a Kustomization, with its key.
    """

    line: int
    start: int
    end: int
    image: Tagged
    is_tag: bool = False

    def edit(self, digest: str) -> list[Edit]:
        """Return the changes that add the digest."""
        if self.is_tag:
            return [Edit(self.start, self.end, f"digest: {digest}")]
        after = Edit(self.end, self.end, f"@{digest}")
        return (
            [Edit(self.start, self.start, self.image.prefix), after]
            if self.image.prefix
            else [after]
        )


def found_images(text: str, documents: Iterable[Document], where: str) -> list[Found]:
    """Return all images without a digest, in order. Raises `CannotRun` if one is not valid."""
    found: dict[int, Found] = {}
    for document in documents:
        for one in _Search(text, where).of(document):
            found[one.start] = one
    return [found[start] for start in sorted(found)]


def pinned(found: Iterable[Found], digests: Mapping[Tagged, str]) -> list[Edit]:
    """Return the changes of a text that add all digests."""
    return [edit for one in found for edit in one.edit(digests[one.image])]


@dataclass(frozen=True)
class _Search:
    text: str
    where: str

    def of(self, document: Document) -> Iterator[Found]:
        body = document.body
        if isinstance(body, dict) and str(body.get("apiVersion")).startswith(KUSTOMIZE):
            for entry in _items(_fields(document.node).get("images")):
                yield from self._entry(entry)
        yield from self._below(document.node, set())

    def _below(self, node: Any, seen: set[int]) -> Iterator[Found]:
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                yield from self._below(item, seen)
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            if key.value in LISTS:
                for item in _items(value):
                    yield from self._image(_fields(item).get("image"))
            if key.value == "volumes":
                for item in _items(value):
                    yield from self._image(_fields(_fields(item).get("image")).get("reference"))
            yield from self._below(value, seen)

    def _image(self, node: Any) -> Iterator[Found]:
        if not isinstance(node, yaml.ScalarNode) or not node.value or "@" in node.value:
            return
        image = self._read(node.value, node)
        start = self._place(node)
        yield Found(node.start_mark.line + 1, start, start + len(node.value), image)

    def _entry(self, node: Any) -> Iterator[Found]:
        """Find the tag of an entry of a Kustomization, if it has no digest."""
        fields = _fields(node)
        tag, name = fields.get("newTag"), fields.get("newName") or fields.get("name")
        if "digest" in fields or not isinstance(tag, yaml.ScalarNode) or name is None:
            return
        key = next(key for key, value in node.value if key.value == "newTag")
        image = self._read(f"{name.value}:{tag.value}", tag)
        yield Found(
            tag.start_mark.line + 1, key.start_mark.index, tag.end_mark.index, image, is_tag=True
        )

    def _read(self, reference: str, node: yaml.Node) -> Tagged:
        if (image := Tagged.of(reference)) is None:
            raise CannotRun(
                f"{self.where}, line {node.start_mark.line + 1}: image {reference!r} is not valid;"
                " write registry/name:tag"
            )
        return image

    def _place(self, node: yaml.ScalarNode) -> int:
        """Return where the value of a scalar begins, after an anchor, a tag and quotes."""
        start, end = node.start_mark.index, node.end_mark.index
        inside = self.text[start:end].rfind(node.value)
        if inside < 0:
            raise CannotRun(
                f"{self.where}, line {node.start_mark.line + 1}: the image is written with escapes;"
                " write it as plain text"
            )
        return int(start + inside)


def _items(node: Any) -> list[Any]:
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _fields(node: Any) -> dict[str, Any]:
    """Return the values of a mapping by key, those that are merged into it too."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    merged: dict[str, Any] = {}
    own = {}
    for key, value in node.value:
        if key.value == MERGE:
            for source in [value, *_items(value)]:
                merged = _fields(source) | merged
        else:
            own[key.value] = value
    return merged | own
