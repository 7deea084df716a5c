"""What a driver of instances does, and how a write ends: done, refused, or unknown.

The planner does not know which driver carries out its moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from immutable_operator.domain.model import (
    Admit,
    Cause,
    Create,
    End,
    Evict,
    Instance,
    Mark,
    Move,
    Probe,
    Protect,
    Quarantine,
    Retire,
)
from immutable_operator.instances.refused import Refused, refused
from immutable_operator.kube.errors import ApiError, ServerTrouble, Unreachable
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["Driver", "InstanceMove", "Refused", "Seen", "Unknown", "outcome_of"]

# Return whether the view shows the result of a write by now.
Seen = Callable[[], bool]
Template = Mapping[str, Any]
# Every move that concerns an instance that exists, or its owner.
InstanceMove = Retire | Quarantine | Admit | Mark | Probe | Evict | End | Protect


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

    def observe(self, owner: OwnerRecord) -> tuple[Instance, ...]:
        """Return the instances of an owner."""
        ...

    def gone(self, owner: OwnerRecord) -> Mapping[str, Instance]:
        """Return by name instances of an owner that vanished since the last call.

        In their last state, as far as that is known better than by the last observation.
        """
        ...

    def resource(self, owner: OwnerRecord, move: Create | InstanceMove) -> str:
        """Return the collection in which a move becomes visible."""
        ...

    async def create(self, owner: OwnerRecord, template: Template, birth: Create) -> Seen:
        """Create an instance. If it exists already, with this owner, that counts as success."""
        ...

    async def write(self, owner: OwnerRecord, move: InstanceMove) -> Seen:
        """Carry out any other move. If its subject is gone already, that counts as success."""
        ...

    def shows(self, owner: OwnerRecord, move: Create | InstanceMove) -> Seen:
        """Return a check whether a move without a response was carried out after all."""
        ...
