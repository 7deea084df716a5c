"""What a row of the table is: the request, who else may refuse it, how its healing is seen."""

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
"""End of a name that no instance has: all letters are those of base 32, but for the last."""


class Heals(Enum):
    """How it is seen that the operator healed what was let through."""

    NEVER = auto()
    """Nothing that it could see."""
    SUCCESSOR = auto()
    """The instance is replaced because it is tainted or drifted."""
    REBIRTH = auto()
    """The instance is gone, as asked for, and there are enough others."""
    BORN = auto()
    """The gated instance has a successor, which waits as it does: it goes when that is ready."""
    RETIRED = auto()
    """What was created is gone."""
    STATUS = auto()
    """The status of the service is true again."""
    RECORD = auto()
    """The revision is on record again."""
    ALL = auto()
    """Every instance is replaced because it drifted."""


@dataclass(frozen=True)
class Target:
    """What is tried on: the service, one of its instances and its revision, as stored.

    ``known`` are the uids of all its instances, before.
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
        """Path of something of the core API in the namespace."""
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

    ``own_words`` is how the API server itself refuses it, as a regular expression; ``connects``
    says that any answer but a refusal means that the node or the pod was asked; ``creates`` is
    what is there afterwards if nobody refuses; ``dry_because`` is why it is only tried dry;
    ``as_member`` sends it as a member of the break-glass group; ``gated`` tries it on an instance
    behind a scheduling gate.
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
    """A change of an instance that the operator finds out by itself."""
    return Path(row, what, HEALED, ask, Heals.SUCCESSOR, own_words)


def only(row: str, what: str, ask: Ask, own_words: str | None = None) -> Path:
    """A change that only the API server can prevent."""
    return Path(row, what, PREVENTED, ask, own_words=own_words)
