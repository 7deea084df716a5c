"""What the API server's refusal of a move means, and how long to wait before the next try.

Told by the Status: its reason, what its details are about, the types of its causes; by its words
only where it has nothing else, and then by how they begin, since the rest may be anybody's.
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
)

__all__ = ["Refused", "cause_of", "pause_after", "refused"]

NAMESPACE_TERMINATING = "NamespaceTerminating"
TOO_LARGE = 413
# Moves whose body comes from what the user wrote.
OF_THE_TEMPLATE = (Move.CREATE, Move.RECORD, Move.SNAPSHOT)

# `pods "web" is forbidden: ` or `pods is forbidden: `: after it come the words of who refused.
_FORBIDDEN = re.compile(r'[\w./-]+(?: "[^"]*")? is forbidden: ')
# A policy or webhook may answer with any code, reason and details; its name comes first.
_ADMISSION = re.compile(
    r'admission webhook "[^"]*" denied the request'
    r"|(?:Validating|Mutating)AdmissionPolicy '[^']*' with binding '[^']*' denied request"
)
_RBAC = re.compile(r'User "[^"]*" cannot ')
_OWNER_RIGHT = re.compile(r"cannot set (?:an ownerRef|blockOwnerDeletion) (?:on|if) ")
_QUOTA = re.compile(r"exceeded quota: |insufficient quota to match these scopes: ")
# What is not there yet, or not counted yet, and comes by somebody else's work.
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


def cause_of(move: Move, error: ApiError) -> Cause:
    """What a refusal of this move means."""
    found = _FORBIDDEN.match(error.message)
    words = error.message[found.end() :] if found else error.message
    if _ADMISSION.match(words):
        return _not_admitted(move)
    if NAMESPACE_TERMINATING in error.causes:
        return Cause.NAMESPACE_TERMINATING
    if move is Move.RETIRE and _is_budget(error):
        return Cause.DISRUPTION_BUDGET
    if isinstance(error, NotFound):
        # Of the move's own object there is news to come; a namespace or a kind is to come itself.
        return Cause.API_SERVER if error.kind not in ("", "namespaces") else Cause.DEPENDENCY
    if isinstance(error, Forbidden):
        return _forbidden(move, words)
    if isinstance(error, Invalid) or error.status == TOO_LARGE:
        return Cause.TEMPLATE if move in OF_THE_TEMPLATE else Cause.ADMISSION
    return Cause.API_SERVER


def _is_budget(error: ApiError) -> bool:
    """Priority and fairness answers 429 as well; it knows nothing of budgets."""
    if DISRUPTION_BUDGET in error.causes or error.kind.startswith("poddisruptionbudget"):
        return isinstance(error, TooManyRequests | Forbidden)
    return error.status in (429, 500) and _BUDGET.match(error.message) is not None


def _forbidden(move: Move, words: str) -> Cause:
    """A 403 is said by RBAC, by the quota, by the life cycle of namespaces, and by admission."""
    told = {
        _RBAC: Cause.FORBIDDEN,
        _LACK: Cause.DEPENDENCY,
        _OWNER_RIGHT: Cause.FORBIDDEN,
        _QUOTA: Cause.QUOTA,
        _TERMINATING: Cause.NAMESPACE_TERMINATING,
    }
    return next((cause for said, cause in told.items() if said.match(words)), _not_admitted(move))


def _not_admitted(move: Move) -> Cause:
    """Whoever refuses a birth refuses what the template says; of other moves, the move."""
    return Cause.TEMPLATE if move is Move.CREATE else Cause.ADMISSION


@dataclass(frozen=True)
class _Pace:
    """How long to wait between tries, and for how many seconds the first pause holds."""

    backoff: Backoff
    eager: float = 0.0


_PACES: dict[Cause, _Pace] = {
    Cause.DISRUPTION_BUDGET: _Pace(Backoff(1.0, 10.0)),
    Cause.QUOTA: _Pace(Backoff(1.0, 30.0)),
    Cause.TEMPLATE: _Pace(Backoff(5.0, 300.0)),
    Cause.ADMISSION: _Pace(Backoff(1.0, 30.0)),
    Cause.DEPENDENCY: _Pace(Backoff(1.0, 30.0), eager=30.0),
    Cause.FORBIDDEN: _Pace(Backoff(5.0, 60.0)),
    Cause.NAME_TAKEN: _Pace(Backoff(60.0, 60.0)),
    Cause.NAMESPACE_TERMINATING: _Pace(Backoff(5.0, 60.0)),
    Cause.API_SERVER: _Pace(Backoff(0.5, 30.0)),
}
_LATER = 0.1  # beyond the eager time: of what was waited so far


class Refused(Exception):
    """A write that is not done: why, in a word and in a sentence.

    ``retry_after`` is how many seconds the API server asks to wait; ``is_invalid`` says that what
    was to be written makes no sense to it, whoever else would allow it.
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
    """What the API server's refusal of a move says."""
    invalid = isinstance(error, Invalid)
    return Refused(cause_of(move, error), error.message, error.retry_after, is_invalid=invalid)


def pause_after(said: Refused, attempts: int, waited: float) -> float:
    """Seconds until the next try, after ``attempts`` tries in ``waited`` seconds.

    What the API server itself asks for is the least. A template that a policy or webhook refuses
    is accepted as soon as they are changed, one that is invalid only when it is changed itself.
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
