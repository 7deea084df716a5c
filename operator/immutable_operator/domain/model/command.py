"""People's commands, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Outcome", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """An action of a person that is not finished: replace what is older than ``created``.

    ``instance`` None means all. ``phase`` is what was written of it last, "" before that.
    """

    name: str
    uid: str
    created: float
    actor: str
    instance: str | None = None
    override_freeze: bool = False
    phase: str = ""
    message: str = ""
    started: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to be written of a request."""

    name: str
    uid: str
    phase: str
    message: str
