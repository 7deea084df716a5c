"""Why a command cannot run."""

from __future__ import annotations

__all__ = ["CannotRun"]


class CannotRun(Exception):
    """The command cannot run; the message says what is wrong, why, and what to do."""
