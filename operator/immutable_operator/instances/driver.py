"""What a driver of instances does, and how a write of one ends: done, refused, or unknown.

The planner never learns which driver carries its moves out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from immutable_operator.domain.model import Cause, Create, Move, Quarantine, Retire
from immutable_operator.instances.refused import Refused, refused
from immutable_operator.kube.errors import ApiError, ServerTrouble, Unreachable
from immutable_operator.wire.service import ServiceRecord

__all__ = ["Driver", "Refused", "Seen", "Unknown", "outcome_of"]

# Whether the view shows by now what a write did.
Seen = Callable[[], bool]
Template = Mapping[str, Any]


class Unknown(Exception):
    """A write whose answer is lost: it may be done, or be done in a moment, or never."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(str(error))


def outcome_of(move: Move, error: ApiError) -> Refused | Unknown:
    """What an error means for the write that met it.

    An API server that fails after it passed the write on to its store says 5xx; one that fails
    before (a webhook that cannot be reached, a budget that it cannot compute) says that as well,
    but with a cause.
    """
    said = refused(move, error)
    if isinstance(error, Unreachable):
        return Unknown(error)
    before = "failed calling webhook" in error.message
    if isinstance(error, ServerTrouble) and said.cause is Cause.API_SERVER and not before:
        return Unknown(error)
    return said


class Driver(Protocol):
    """Carries out the moves for instances of one kind. Each returns what tells that it is seen.

    All of them raise `Refused` or `Unknown`, and the client's own `NotLeader`.
    """

    resource: str

    async def create(self, service: ServiceRecord, template: Template, birth: Create) -> Seen:
        """Give birth to an instance. One that is there already, with its owner, is as good."""
        ...

    async def retire(self, service: ServiceRecord, order: Retire) -> Seen:
        """Have an instance go. One that is gone already is as good."""
        ...

    async def quarantine(self, service: ServiceRecord, order: Quarantine) -> Seen:
        """Take an instance out of all traffic."""
        ...

    def shows(self, service: ServiceRecord, move: Create | Retire | Quarantine) -> Seen:
        """What tells that a move whose answer is lost was carried out after all."""
        ...
