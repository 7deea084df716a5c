"""The one mapping of responses of the API server (or a proxy) to our own exceptions."""

from __future__ import annotations

from typing import Any

import msgspec

from immutable_operator.kube.reading import READ_ERRORS, shallow

__all__ = [
    "DISRUPTION_BUDGET",
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

# The type of the cause in an eviction's response if a budget forbids the eviction.
DISRUPTION_BUDGET = "DisruptionBudget"
MOST_PAUSE = 300.0


class ApiError(Exception):
    """A request that did not succeed.

    ``status`` is the HTTP status (0 without a response), ``reason`` the machine-readable reason of
    the Status object, ``message`` its sentence, ``causes`` the types of its causes, ``kind`` and
    ``name`` the object that its details name (mostly a resource: "pods").
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        causes: tuple[str, ...] = (),
        kind: str = "",
        name: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else message)
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes
        self.kind = kind
        self.name = name
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
    """401: the credentials are not (or no longer) accepted."""


class TooManyRequests(ApiError):
    """429: overload, or an eviction that a PodDisruptionBudget does not allow."""


class ServerTrouble(ApiError):
    """5xx: the API server, etcd or a webhook has a problem."""


class Unreachable(ApiError):
    """No response: connection refused or reset, TLS failure, timeout."""


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
    """Return the exception for any response; a body that is no Status object is quoted in short.

    Proxies on the way may respond in any form: fields of the Status that have an unexpected type
    are ignored, the others are read.
    """
    decoded = _decoded(body)
    details = decoded.get("details")
    details = details if isinstance(details, dict) else {}
    causes = details.get("causes")
    causes = [c for c in causes if isinstance(c, dict)] if isinstance(causes, list) else []
    quoted = body[:200].decode(errors="replace").strip() or "no further explanation"
    message = _text(decoded.get("message")) or quoted
    for cause in causes:
        # An eviction's message says only that a budget forbids it; the cause names the budget.
        if cause.get("reason") == DISRUPTION_BUDGET and _text(cause.get("message")):
            message = _text(cause.get("message"))
    kind = _KINDS.get(status, ServerTrouble if status >= 500 else ApiError)
    return kind(
        status,
        _text(decoded.get("reason")),
        message,
        causes=tuple(_text(cause.get("reason")) for cause in causes),
        kind=_text(details.get("kind")),
        name=_text(details.get("name")),
        retry_after=_seconds(retry_after) or _seconds(details.get("retryAfterSeconds")),
    )


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(shallow(body))
    except READ_ERRORS:
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _seconds(value: object) -> float | None:
    """Return the requested pause; None if there is none, for a date, and for an invalid value."""
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    # NaN compares as false.
    return min(seconds, MOST_PAUSE) if seconds >= 0 else None
