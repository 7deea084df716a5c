"""What the API server stores of a pod template in a Deployment, to compare two templates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from tests.cluster.manifests import deployment, named
from tests.cluster.template_shapes import document
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json

__all__ = ["Deployments", "printed"]


class Deployments:
    """Answers what the API server makes of a template in a Deployment, once for each."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._known: dict[str, Json] = {}

    def stored(self, templates: Mapping[str, Json]) -> dict[str, Json]:
        """Give what is stored of templates, by their names: with defaults, canonical quantities."""
        texts = {name: document(named(deployment(t), "d")) for name, t in templates.items()}
        if unknown := sorted(set(texts.values()) - set(self._known)):
            done = self._plane.kubectl(
                *("create", "--dry-run=server", "-o", "json", "-f", "-"), stdin="".join(unknown)
            )
            for text, body in zip(unknown, printed(done.stdout), strict=True):
                self._known[text] = body["spec"]["template"]
        return {name: self._known[text] for name, text in texts.items()}


def printed(text: str) -> Iterator[Json]:
    """Read the objects that kubectl printed one after the other."""
    decoder, place = json.JSONDecoder(), 0
    while place < len(text):
        body, place = decoder.raw_decode(text, place)
        yield body
        place += len(text[place:]) - len(text[place:].lstrip())
