"""What a driver of instances does, and how a write ends: done, refused, or unknown.

The planner does not know which driver carries out its moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from immutable_operator.domain.model import Cause, Create, Move, Quarantine, Retire
from immutable_operator.instances.refused import Refused, refused
from immutable_operator.kube.errors import ApiError, ServerTrouble, Unreachable
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["Driver", "Refused", "Seen", "Unknown", "outcome_of"]

# Return whether the view shows the result of a write by now.
Seen = Callable[[], bool]
Template = Mapping[str, Any]


class Unknown(Exception):
    """A write without a response: it may be done already, be done in a moment, or never."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(str(error))


def outcome_of(move: Move, error: ApiError) -> Refused | Unknown:
    """Return what an error means for the write that caused it.

    An API server that fails after it passed the write to its store answers 5xx; one that fails
    before (a webhook that cannot be reached, a budget that it cannot compute) does so as well, but
    with a cause.
    """
    said = refused(move, error)
    if isinstance(error, Unreachable):
        return Unknown(error)
    before = "failed calling webhook" in error.message
    if isinstance(error, ServerTrouble) and said.cause is Cause.API_SERVER and not before:
        return Unknown(error)
    return said


class Driver(Protocol):
    """Carries out the moves for instances of one kind. Each method returns a check for its result.

    All of them raise `Refused` or `Unknown`, and the client's own `NotLeader`.
    """

    resource: str

    async def create(self, owner: OwnerRecord, template: Template, birth: Create) -> Seen:
        """Create an instance. If it exists already, with this owner, that counts as success."""
        ...

    async def retire(self, owner: OwnerRecord, order: Retire) -> Seen:
        """Retire an instance. If it is gone already, that counts as success."""
        ...

    async def quarantine(self, owner: OwnerRecord, order: Quarantine) -> Seen:
        """Take an instance out of all traffic."""
        ...

    def shows(self, owner: OwnerRecord, move: Create | Retire | Quarantine) -> Seen:
        """Return a check whether a move without a response was carried out after all."""
        ...
