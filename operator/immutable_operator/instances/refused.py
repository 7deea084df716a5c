"""What the API server's refusal of a move means, and how long to wait before the next try.

The Status object decides: its reason, its details and the types of its causes. The message is used
only if nothing else distinguishes the case, and then only its beginning, since any component may
have written the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from immutable_operator.domain.model import Backoff, Cause, Move
from immutable_operator.kube.errors import (
    DISRUPTION_BUDGET,
    ApiError,
    Forbidden,
    Invalid,
    NotFound,
    TooManyRequests,
    own_words,
)

__all__ = ["Refused", "cause_of", "pause_after", "refused"]

NAMESPACE_TERMINATING = "NamespaceTerminating"
TOO_LARGE = 413
# Moves whose body is taken from the user's template.
OF_THE_TEMPLATE = (Move.CREATE, Move.RECORD, Move.SNAPSHOT)

_RBAC = re.compile(r'User "[^"]*" cannot ')
_OWNER_RIGHT = re.compile(r"cannot set (?:an ownerRef|blockOwnerDeletion) (?:on|if) ")
_QUOTA = re.compile(r"exceeded quota: |insufficient quota to match these scopes: ")
# Something that does not exist yet, or is not counted yet, and that others provide.
_LACK = re.compile(
    r'error looking up service account .*: serviceaccount "[^"]*" not found'
    r"|no API token found for service account "
    r"|no PriorityClass with name .* was found"
    r'|pod rejected: RuntimeClass "[^"]*" not found'
    r"|status unknown for quota: "
    r"|cannot set blockOwnerDeletion in this case because cannot find RESTMapping "
    r"|cannot find RESTMapping "
)
_TERMINATING = re.compile(r"unable to create new content in namespace .* being terminated")
_BUDGET = re.compile(
    r"Cannot evict pod as it would violate the pod's disruption budget"
    r"|This pod has more than one PodDisruptionBudget"
)
# Of etcd and of the client with which the API server calls it; such a Status has no reason.
_STORED = re.compile(
    r"etcdserver: request is too large"
    r"|rpc error: code = ResourceExhausted desc = trying to send message larger than max "
)


def cause_of(move: Move, error: ApiError) -> Cause:
    """Return what a refusal of this move means."""
    if error.denied:
        return _not_admitted(move)
    if NAMESPACE_TERMINATING in error.causes:
        return Cause.NAMESPACE_TERMINATING
    if move in (Move.RETIRE, Move.EVICT) and _is_budget(error):
        return Cause.DISRUPTION_BUDGET
    if isinstance(error, NotFound):
        # The watch will show that the object is gone; a missing namespace or kind is awaited.
        return Cause.API_SERVER if error.kind not in ("", "namespaces") else Cause.DEPENDENCY
    if isinstance(error, Forbidden):
        return _forbidden(move, own_words(error.message))
    if isinstance(error, Invalid) or _is_too_large(error):
        return Cause.TEMPLATE if move in OF_THE_TEMPLATE else Cause.ADMISSION
    return Cause.API_SERVER


def _is_budget(error: ApiError) -> bool:
    """Return whether a budget refused it; priority and fairness also answers 429."""
    if DISRUPTION_BUDGET in error.causes or error.kind.startswith("poddisruptionbudget"):
        return isinstance(error, TooManyRequests | Forbidden)
    return error.status in (429, 500) and _BUDGET.match(error.message) is not None


def _is_too_large(error: ApiError) -> bool:
    """Return whether an object is too large for the API server (3 MiB) or for etcd (1.5 MiB)."""
    return error.status == TOO_LARGE or (
        error.status == 500 and _STORED.match(error.message) is not None
    )


def _forbidden(move: Move, words: str) -> Cause:
    """Return the cause of a 403: from RBAC, a quota, the life cycle of namespaces, or admission."""
    told = {
        _RBAC: Cause.FORBIDDEN,
        _LACK: Cause.DEPENDENCY,
        _OWNER_RIGHT: Cause.FORBIDDEN,
        _QUOTA: Cause.QUOTA,
        _TERMINATING: Cause.NAMESPACE_TERMINATING,
    }
    return next((cause for said, cause in told.items() if said.match(words)), _not_admitted(move))


def _not_admitted(move: Move) -> Cause:
    """Return the cause of a denied admission: for a birth the template, otherwise the move."""
    return Cause.TEMPLATE if move is Move.CREATE else Cause.ADMISSION


@dataclass(frozen=True)
class _Pace:
    """How long to wait between tries, and for how many seconds the first pause applies."""

    backoff: Backoff
    eager: float = 0.0


_PACES: dict[Cause, _Pace] = {
    Cause.DISRUPTION_BUDGET: _Pace(Backoff(1.0, 10.0)),
    Cause.QUOTA: _Pace(Backoff(1.0, 30.0)),
    Cause.TEMPLATE: _Pace(Backoff(5.0, 300.0)),
    Cause.ADMISSION: _Pace(Backoff(1.0, 30.0)),
    Cause.DEPENDENCY: _Pace(Backoff(1.0, 30.0), eager=30.0),
    Cause.CONFIG: _Pace(Backoff(1.0, 30.0), eager=30.0),
    Cause.CHANGED: _Pace(Backoff(5.0, 60.0)),
    Cause.FORBIDDEN: _Pace(Backoff(5.0, 60.0)),
    Cause.NAME_TAKEN: _Pace(Backoff(60.0, 60.0)),
    Cause.NAMESPACE_TERMINATING: _Pace(Backoff(5.0, 60.0)),
    Cause.API_SERVER: _Pace(Backoff(0.5, 30.0)),
}
_LATER = 0.1  # after the eager time: share of the time waited so far


class Refused(Exception):
    """A write that is not done: why, in a word and in a sentence.

    ``retry_after`` is how many seconds the API server asks to wait; ``is_invalid`` says that the
    API server considers the object invalid, independent of any policy.
    """

    def __init__(
        self,
        cause: Cause,
        message: str,
        retry_after: float | None = None,
        *,
        is_invalid: bool = False,
    ) -> None:
        super().__init__(message)
        self.cause = cause
        self.message = message
        self.retry_after = retry_after
        self.is_invalid = is_invalid


def refused(move: Move, error: ApiError) -> Refused:
    """Return the API server's refusal of a move."""
    invalid = (isinstance(error, Invalid) or _is_too_large(error)) and not error.denied
    return Refused(cause_of(move, error), error.message, error.retry_after, is_invalid=invalid)


def pause_after(said: Refused, attempts: int, waited: float) -> float:
    """Return seconds until the next try, after ``attempts`` tries in ``waited`` seconds.

    A pause that the API server asks for is the minimum. A template that a policy or webhook refuses
    is accepted as soon as they change, an invalid one only after it changes itself.
    """
    by_policy = said.cause is Cause.TEMPLATE and not said.is_invalid
    pace = _PACES[Cause.ADMISSION if by_policy else said.cause]
    if not pace.eager:
        pause = pace.backoff.after(attempts)
    elif waited < pace.eager:
        pause = pace.backoff.first
    else:
        pause = min(pace.backoff.most, waited * _LATER)
    return max(pause, said.retry_after or 0.0)
