"""A row of the table: the request, its possible refusals, and how healing is detected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from immutable_operator.cli.objects import Json
from immutable_operator.cli.outcome import Result
from immutable_operator.cli.person import STRATEGIC, Request
from immutable_operator.cli.throwaway import ThrowAway

__all__ = [
    *("FORGED_END", "HEALED", "PREVENTED", "Ask", "Heals", "Path", "Target"),
    *("edit", "only", "patch"),
]

FORGED_END = "aaaa1"
"""End of a name that no instance can have: the last character is not in the base 32 alphabet."""


class Heals(Enum):
    """How the command detects that the operator healed a change."""

    NEVER = auto()
    """The operator cannot detect the change."""
    SUCCESSOR = auto()
    """The instance is replaced because it is tainted or drifted."""
    REBIRTH = auto()
    """The instance was deleted as requested, and there are enough others."""
    BORN = auto()
    """The gated instance has a successor, which is gated as well."""
    RETIRED = auto()
    """The created object was removed."""
    STATUS = auto()
    """The status of the service is correct again."""
    RECORD = auto()
    """The revision was recreated."""
    ALL = auto()
    """Each instance is replaced because it drifted."""


@dataclass(frozen=True)
class Target:
    """The target of an attempt: the service, one of its instances and its revision, as stored.

    ``known`` are the uids of all its instances before the attempt.
    """

    away: ThrowAway
    service: Json
    pod: Json
    revision: Json
    known: frozenset[str]

    @property
    def instance(self) -> str:
        return str(self.pod["metadata"]["name"])

    def core(self, rest: str) -> str:
        """Path of an object of the core API in the namespace."""
        return f"/api/v1/namespaces/{self.away.namespace}/{rest}"

    def of_pod(self, sub: str = "") -> str:
        return self.core(f"pods/{self.instance}") + (f"/{sub}" if sub else "")

    @property
    def image(self) -> str:
        return str(self.pod["spec"]["containers"][0]["image"])


Ask = Callable[[Target], Request]


@dataclass(frozen=True)
class Path:
    """A row.

    ``own_words`` is a regular expression for a refusal by the API server itself; ``connects`` means
    that any answer except a refusal shows that the request reached the node or the pod; ``creates``
    is the object that exists afterwards unless the request is refused; ``dry_because`` is the
    reason for trying it only as a dry run; ``as_member`` sends it as a member of the break-glass
    group; ``gated`` tries it on an instance with a scheduling gate.
    """

    id: str
    what: str
    expected: Result
    ask: Ask
    heals: Heals = Heals.NEVER
    own_words: str | None = None
    connects: bool = False
    creates: Callable[[Target], str] | None = None
    dry_because: str = ""
    as_member: bool = False
    gated: bool = False


PREVENTED, HEALED = Result.PREVENTED, Result.HEALED


def patch(body: Any, sub: str = "", kind: str = STRATEGIC) -> Ask:
    """A patch of the instance with a fixed body."""
    return lambda t: Request("PATCH", t.of_pod(sub), body, kind)


def edit(row: str, what: str, ask: Ask, own_words: str | None = None) -> Path:
    """A change of an instance that the operator detects."""
    return Path(row, what, HEALED, ask, Heals.SUCCESSOR, own_words)


def only(row: str, what: str, ask: Ask, own_words: str | None = None) -> Path:
    """A change that only the API server can prevent."""
    return Path(row, what, PREVENTED, ask, own_words=own_words)
