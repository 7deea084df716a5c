"""One mapping of what the API server (or the way to it) answers to exceptions of our own."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "ApiError",
    "Conflict",
    "Forbidden",
    "Gone",
    "Invalid",
    "NotFound",
    "ServerTrouble",
    "TooManyRequests",
    "Unauthorized",
    "Unreachable",
    "error_from",
]


class ApiError(Exception):
    """A request that did not succeed.

    ``status`` is the HTTP status (0 when there was no answer), ``reason`` the machine-readable
    reason of the Status object, ``message`` its sentence, ``causes`` the types of its causes.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        causes: tuple[str, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else message)
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes
        self.retry_after = retry_after


class NotFound(ApiError):
    """404: the object, its namespace or the resource does not exist."""


class Conflict(ApiError):
    """409: it exists already (reason AlreadyExists), or a precondition failed (Conflict)."""


class Gone(ApiError):
    """410: the resource version is too old; list again."""


class Invalid(ApiError):
    """400 or 422: the object is not acceptable."""


class Forbidden(ApiError):
    """403: by RBAC, quota, admission or a terminating namespace; ``message`` says which."""


class Unauthorized(ApiError):
    """401: the credentials are not accepted (any more)."""


class TooManyRequests(ApiError):
    """429: overload, or an eviction that a PodDisruptionBudget does not allow."""


class ServerTrouble(ApiError):
    """5xx: the API server, etcd or a webhook is in trouble."""


class Unreachable(ApiError):
    """No answer: connection refused or reset, TLS failure, timeout."""


_KINDS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


def error_from(status: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """The exception for an answer; a body that is no Status object is quoted in short."""
    try:
        decoded: Any = msgspec.json.decode(body)
    except msgspec.DecodeError:
        decoded = {}
    if not isinstance(decoded, dict):
        decoded = {}
    text = body[:200].decode(errors="replace").strip() or "no further explanation"
    details = decoded.get("details") or {}
    causes = [c for c in details.get("causes") or () if isinstance(c, dict)]
    message = str(decoded.get("message") or text)
    for cause in causes:
        # An eviction's message says only that a budget forbids it; the cause says which.
        if cause.get("reason") == "DisruptionBudget" and cause.get("message"):
            message = str(cause["message"])
    kind = _KINDS.get(status, ServerTrouble if status >= 500 else ApiError)
    seconds = str(retry_after or details.get("retryAfterSeconds") or "")
    return kind(
        status,
        str(decoded.get("reason") or ""),
        message,
        causes=tuple(str(c.get("reason", "")) for c in causes),
        retry_after=float(seconds) if seconds.isdigit() else None,
    )
