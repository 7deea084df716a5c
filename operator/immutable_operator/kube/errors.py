"""The one mapping of responses of the API server (or a proxy) to our own exceptions."""

from __future__ import annotations

import re
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
    "own_words",
]

# The type of the cause in an eviction's response if a budget forbids the eviction.
DISRUPTION_BUDGET = "DisruptionBudget"
MOST_PAUSE = 300.0
# `pods "web" is forbidden: ` or `pods is forbidden: `: the message of the refusing part follows.
_FORBIDDEN = re.compile(r'[\w./-]+(?: "[^"]*")? is forbidden: ')
# A policy or webhook may answer with any code, reason and details; its name comes first.
_DENIED = re.compile(
    r'admission webhook "[^"]*" denied the request'
    r"|(?:Validating|Mutating)AdmissionPolicy '[^']*' with binding '[^']*' denied request"
)
_UID = "metadata.uid"


class ApiError(Exception):
    """A request that did not succeed.

    ``status`` is the HTTP status (0 without a response), ``reason`` the machine-readable reason of
    the Status object, ``message`` its sentence, ``causes`` the types of its causes, ``kind`` and
    ``name`` the object that its details name (mostly a resource: "pods"). ``denied`` says that a
    policy or webhook refused it, which may choose the status, the reason and the causes.
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
        denied: bool = False,
    ) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else message)
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes
        self.kind = kind
        self.name = name
        self.retry_after = retry_after
        self.denied = denied


class NotFound(ApiError):
    """404: the object, its namespace or the resource does not exist."""


class Conflict(ApiError):
    """409: it exists already (reason AlreadyExists), or a precondition failed (Conflict).

    Also 422 if a patch names another uid than that of the object.
    """


class Gone(ApiError):
    """410: the resource version is too old; list again."""


class Invalid(ApiError):
    """400 or 422: the object is not acceptable."""


class Forbidden(ApiError):
    """403: by RBAC, quota, admission or a terminating namespace; ``message`` says which.

    Also a policy or webhook that answers 401, 404, 409 or 410: that says nothing of the object.
    """


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
    denied = _DENIED.match(own_words(message)) is not None
    for cause in causes if not denied else ():
        # An eviction's message says only that a budget forbids it; the cause names the budget.
        if cause.get("reason") == DISRUPTION_BUDGET and _text(cause.get("message")):
            message = _text(cause.get("message"))
    return _kind(status, denied, causes)(
        status,
        _text(decoded.get("reason")),
        message,
        causes=tuple(_text(cause.get("reason")) for cause in causes),
        kind=_text(details.get("kind")),
        name=_text(details.get("name")),
        retry_after=_seconds(retry_after) or _seconds(details.get("retryAfterSeconds")),
        denied=denied,
    )


def own_words(message: str) -> str:
    """Return what the refusing part itself said, without the name of the object before it."""
    found = _FORBIDDEN.match(message)
    return message[found.end() :] if found else message


def _kind(status: int, denied: bool, causes: list[dict[str, Any]]) -> type[ApiError]:
    kind = _KINDS.get(status, ServerTrouble if status >= 500 else ApiError)
    if denied and kind in (Unauthorized, NotFound, Conflict, Gone):
        return Forbidden
    if status == 422 and not denied and any(cause.get("field") == _UID for cause in causes):
        return Conflict
    return kind


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
