"""People's commands, and their outcomes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Outcome", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """A person's action that is not finished: replace the instances older than ``created``.

    ``instance`` None means all. ``phase`` is the phase that was last written to its status, ""
    before the first write.
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
    """What is to be written to the status of a request."""

    name: str
    uid: str
    phase: str
    message: str
