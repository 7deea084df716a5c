"""What is stored: objects by resource, and every commit in the order of one resource version.

Objects are dictionaries that nobody changes once they are committed. Listeners hear of a commit
at once; who watches over the API hears of it through a `watching.Stream`, perhaps later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

__all__ = ["Commit", "Key", "Obj", "Storage", "merged"]

Obj = dict[str, Any]
Key = tuple[str, str]
encode = msgspec.json.encode


class Commit:
    """One change: ``before`` is None where something was created, ``after`` where it went."""

    __slots__ = ("_bytes", "after", "at", "before", "resource", "version", "who")

    def __init__(
        self,
        version: int,
        at: float,
        who: str,
        resource: str,
        before: Obj | None,
        after: Obj | None,
    ) -> None:
        self.version, self.at, self.who, self.resource = version, at, who, resource
        self.before, self.after = before, after
        self._bytes: dict[tuple[str, bool], bytes] = {}

    @property
    def obj(self) -> Obj:
        """The object as it is now, or as it was last, with the version of this commit."""
        if self.after is not None:
            return self.after
        assert self.before is not None
        return self.restamped(self.before)

    def restamped(self, obj: Obj) -> Obj:
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}

    @property
    def name(self) -> str:
        name: str = self.obj["metadata"]["name"]
        return name

    def line(self, kind: str, obj: Obj, *, meta_only: bool) -> bytes:
        """This commit as a line of a watch."""
        key = (kind, meta_only)
        if key not in self._bytes:
            told = partial(obj) if meta_only else obj
            self._bytes[key] = encode({"type": kind, "object": told}) + b"\n"
        return self._bytes[key]


def partial(obj: Obj) -> Obj:
    """Only its metadata, as the API server gives it when asked so."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }


class Storage:
    """All objects, and the history of each resource as far back as it is kept."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.version = 1000
        self.compacted = 1000
        self._uids = 0
        self._objects: dict[str, dict[Key, Obj]] = {}
        self.history: dict[str, list[Commit]] = {}
        self.listeners: list[Callable[[Commit], None]] = []

    def new_uid(self) -> str:
        self._uids += 1
        return f"00000000-0000-4000-8000-{self._uids:012x}"

    def get(self, resource: str, key: Key) -> Obj | None:
        return self._objects.get(resource, {}).get(key)

    def all(self, resource: str) -> list[Obj]:
        return list(self._objects.get(resource, {}).values())

    def everything(self) -> Iterator[tuple[str, Obj]]:
        for resource, objects in self._objects.items():
            for obj in list(objects.values()):
                yield resource, obj

    def commit(self, who: str, resource: str, before: Obj | None, after: Obj | None) -> Commit:
        """Store ``after`` in the place of ``before``, whichever of them there is."""
        known = before if before is not None else after
        assert known is not None
        meta = known["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        objects = self._objects.setdefault(resource, {})
        self.version += 1
        if after is None:
            del objects[key]
        else:
            stamp = {**after["metadata"], "resourceVersion": str(self.version)}
            after = {**after, "metadata": stamp}
            objects[key] = after
        commit = Commit(self.version, self._clock(), who, resource, before, after)
        self.history.setdefault(resource, []).append(commit)
        for listener in self.listeners:
            listener(commit)
        return commit

    def compact(self) -> None:
        """Forget the history: whoever watches from before has to list anew."""
        self.compacted = self.version
        self.history.clear()


def merged(old: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386), leaving ``old`` as it is."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
