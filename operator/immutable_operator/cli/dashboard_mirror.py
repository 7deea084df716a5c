"""The objects that the dashboard mirrors, and whether the API server answers.

No template and no value of a ConfigMap or Secret is kept: it cannot reach the page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec

from immutable_operator.cli.objects import Json
from immutable_operator.kube.reading import Identity
from immutable_operator.kube.times import moment

__all__ = ["Link", "Mirror", "leaving_since", "slim"]

# The fields of specs that are kept: of services and pools, revisions and lineages, freezes.
SHOWN = frozenset(
    (
        *("replicas", "suspend", "regeneration", "rollout"),
        *("number", "revision", "reason", "by", "image", "service", "pool", "replacements"),
        *("namespaces", "matchLabels", "from", "until", "windows", "freezeRepairs"),
    )
)


class Link:
    """Whether the API server answers, judged by the answers to the watches.

    ``count`` is told verb, resource and status code (or ``error``) of each request.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._codes: dict[str, str] = {}
        self._since: dict[str, float] = {}

    def count(self, verb: str, resource: str, code: str) -> None:
        if self._codes.get(resource) != code:
            self._codes[resource] = code
            self._since[resource] = time.time()
            self._changed()

    @property
    def refused(self) -> list[str]:
        """The resources that the person may not list or watch."""
        return sorted(r for r, code in self._codes.items() if code == "403")

    @property
    def trouble(self) -> tuple[float, str] | None:
        """Since when the API server is not there, and a sentence; None if it answers."""
        bad = {r: c for r, c in self._codes.items() if not c.startswith("2")}
        bad = {r: c for r, c in bad.items() if c not in ("403", "404", "410")}
        if not bad:
            return None
        since = min(self._since[resource] for resource in bad)
        if "401" in bad.values():
            return since, "The API server no longer accepts your credentials. Log in again."
        if set(bad.values()) == {"error"}:
            return since, "The API server does not answer. The dashboard tries again."
        codes = ", ".join(sorted(set(bad.values()) - {"error"}))
        return since, f"The API server answers with an error ({codes}). The dashboard tries again."


class Mirror:
    """The objects of one kind, by namespace and name; ``lost`` gets those that vanish."""

    def __init__(
        self, changed: Callable[[], None], lost: Callable[[Json], None] = lambda item: None
    ) -> None:
        self._changed, self._lost = changed, lost
        self._items: dict[tuple[str, str], Json] = {}

    def __iter__(self) -> Iterator[Json]:
        return iter(self._items.values())

    def get(self, namespace: str, name: str) -> Json | None:
        return self._items.get((namespace, name))

    def replace(self, items: list[Json], version: int) -> None:
        found = {_key(item): item for item in items}
        for key, item in self._items.items():
            if key not in found:
                self._lost(item)
        self._items = found
        self._changed()

    def upsert(self, item: Json, version: int) -> None:
        self._items[_key(item)] = item
        self._changed()

    def remove(self, item: Json, version: int) -> None:
        self._items.pop(_key(item), None)
        self._lost(item)
        self._changed()

    def advance(self, version: int) -> None:
        """Do nothing: no part waits for a version of these."""

    def known(self, which: Identity) -> Json | None:
        return self._items.get((which.namespace, which.name))


def _key(item: Json) -> tuple[str, str]:
    return str(item["metadata"].get("namespace") or ""), str(item["metadata"]["name"])


def slim(raw: bytes | msgspec.Raw) -> Json:
    """Return what the dashboard shows of an object of any kind."""
    body: Json = msgspec.json.decode(raw)
    meta = dict(body["metadata"])
    meta.pop("managedFields", None)
    notes = meta.get("annotations") or {}
    kept = {key: text for key, text in notes.items() if key.startswith("immutable.dev/")}
    spec = {k: v for k, v in (body.get("spec") or {}).items() if k in SHOWN}
    return {
        "metadata": {**meta, "annotations": kept, "labels": meta.get("labels") or {}},
        "spec": spec,
        "status": body.get("status") or {},
    }


def leaving_since(item: Json) -> float | None:
    """Return when the deletion of an object was asked for; None if it is not being deleted.

    ``deletionTimestamp`` is the end of the grace period.
    """
    if not (told := item["metadata"].get("deletionTimestamp")):
        return None
    return moment(told) - float(item["metadata"].get("deletionGracePeriodSeconds") or 0)
