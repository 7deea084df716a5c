"""Compares what two revisions pin: ConfigMaps key by key; of Secrets no value is ever shown."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from immutable_operator.cli.change import Change
from immutable_operator.cli.contents import Held
from immutable_operator.domain.model import ABSENT, SECRET, ConfigKey

__all__ = ["Pinned", "compared_config", "is_same"]

HIDDEN, OTHER = "a value that is not shown", "another value that is not shown"


@dataclass(frozen=True)
class Pinned:
    """An object as a revision pins it: the name of what holds the content, and the digest.

    The digest is "" if it is not known.
    """

    holder: str
    digest: str = ""

    @property
    def is_there(self) -> bool:
        return self.digest != ABSENT


def is_same(old: Pinned | None, new: Pinned | None) -> bool:
    """Return whether both are known to have the same content, without reading it."""
    if old is None or new is None:
        return old is new
    return bool(old.digest) and old.digest == new.digest


def compared_config(
    key: ConfigKey, old: Pinned | None, new: Pinned | None, held: tuple[Held, Held]
) -> tuple[list[Change], str]:
    """Return the differences of an object, and why its content cannot be compared, or "".

    ``held`` are the contents of both sides; where nothing is pinned, it is not looked at.
    """
    where = " ".join(key)
    before, after = (_state(pinned) for pinned in (old, new))
    found = [] if before == after else [Change(where, [before], [after])]
    sides = [
        content if pinned is not None and pinned.is_there else Held()
        for pinned, content in zip((old, new), held, strict=True)
    ]
    problem = next((content.problem for content in sides if content.problem), "")
    if not problem:
        values = _secret if key[0] == SECRET else _values
        return [*found, *values(where, *sides)], ""
    if not found and old is not None and new is not None:
        found = [Change(where, [_digest(old)], [_digest(new)])]
    return found, f"{where} cannot be compared key by key: {problem}"


def _state(pinned: Pinned | None) -> str:
    if pinned is None:
        return "not part of the revision"
    return "part of the revision" if pinned.is_there else "part of the revision, does not exist"


def _digest(pinned: Pinned) -> str:
    return f"digest {pinned.digest or 'not known'}"


def _values(where: str, old: Held, new: Held) -> Iterator[Change]:
    for name in sorted({*old.texts, *old.binary, *new.texts, *new.binary}):
        before, after = _lines(old, name), _lines(new, name)
        if before == after:
            continue
        if before[-1:] == after[-1:] == [""]:
            # Both end with a line break; if only one does, it is shown as an empty line.
            del before[-1], after[-1]
        yield Change(f"{where}: {name}", before, after)


def _lines(held: Held, name: str) -> list[str]:
    if name in held.binary:
        return [_summary(held.binary[name])]
    return held.texts[name].split("\n") if name in held.texts else []


def _summary(value: str) -> str:
    content = base64.b64decode(value)
    digest = hashlib.sha256(content).hexdigest()[:12]
    return f"binary data, {len(content)} bytes, sha256:{digest}…"


def _secret(where: str, old: Held, new: Held) -> Iterator[Change]:
    before, after = old.binary, new.binary
    for name in sorted({*before, *after}):
        if before.get(name) == after.get(name):
            continue
        a = [HIDDEN] if name in before else []
        b = [OTHER if a else HIDDEN] if name in after else []
        yield Change(f"{where}: {name}", a, b)
