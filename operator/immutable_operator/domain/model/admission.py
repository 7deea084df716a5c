"""What admission made of an instance, compared with what was asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Accepted", "Admission", "Change", "ChangeKind", "OnAdmission", "changes_in_words"]

_SHOWN = 3


class OnAdmission(StrEnum):
    """What happens if admission changed an instance."""

    ALLOW = "Allow"
    REPORT = "Report"
    REFUSE = "Refuse"


class ChangeKind(StrEnum):
    """How a field differs from what was asked for."""

    ADDED = "Added"
    CHANGED = "Changed"
    REMOVED = "Removed"


@dataclass(frozen=True, slots=True)
class Change:
    """One field that admission changed.

    ``path`` is such as ``spec.containers[web].env[HTTP_PROXY]``; ``digest`` is 16 hex digits of the
    value that it has now.
    """

    path: str
    kind: ChangeKind
    digest: str

    def __str__(self) -> str:
        return f"{self.path} {self.kind.lower()}"


Changes = tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Accepted:
    """Changes that are no difference: of these ``containers``, and below these ``paths``."""

    containers: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()

    def others(self, changes: Changes) -> Changes:
        """Return the changes that are not accepted."""
        if not self.containers and not self.paths:
            return changes
        return tuple(c for c in changes if not self._has(c.path))

    def _has(self, path: str) -> bool:
        kind, _, rest = path.removeprefix("spec.").partition("[")
        named = kind in ("containers", "initContainers") and rest.partition("]")[0]
        return named in self.containers or path.startswith(self.paths)


@dataclass(frozen=True, slots=True)
class Admission:
    """What admission made of the instances of a revision, as its record says.

    Instances that were born before ``since`` (seconds since the epoch) are not compared with it,
    because it was recorded when they were there already; None: all are.
    """

    digest: str
    summary: str
    changes: Changes = field(default=())
    since: float | None = None

    @classmethod
    def of(cls, changes: Changes, since: float | None = None) -> Admission:
        text = json.dumps([(c.path, c.kind, c.digest) for c in changes], separators=(",", ":"))
        digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        summary = changes_in_words(changes) if changes else "nothing"
        return cls(digest, summary, changes, since)


def changes_in_words(changes: Iterable[Change]) -> str:
    """Return changes for people: the first ones, and how many more there are."""
    said = [str(change) for change in changes]
    more = len(said) - _SHOWN
    return ", ".join(said[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
