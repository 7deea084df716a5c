"""Why a command cannot run, and the exit codes that all commands have in common."""

from __future__ import annotations

import traceback
from collections.abc import Callable

__all__ = ["BROKEN_PIPE", "CANNOT_RUN", "INTERRUPTED", "CannotRun", "LoginError", "bug"]

CANNOT_RUN, INTERRUPTED, BROKEN_PIPE = 2, 130, 141


class CannotRun(Exception):
    """The command cannot run; the message says what is wrong, why, and what to do."""


class LoginError(Exception):
    """The cluster cannot be found; the message says what is missing and what to do."""


def bug(error: Exception, say: Callable[[str], None]) -> int:
    """Report an error that no command should have; return the exit code."""
    traceback.print_exception(error)
    say(f"error: this command has a bug: {error!r}; report it with the lines above")
    return CANNOT_RUN
