"""Conditions about what is allowed or ignored for now, and delays nothing, each with its event."""

from __future__ import annotations

from immutable_operator.domain.desired import kept_state
from immutable_operator.domain.families.admitted import unaccepted_changes
from immutable_operator.domain.model import Announcement, Condition, Status, changes_in_words
from immutable_operator.domain.status.conditions import since
from immutable_operator.domain.turn import Turn

__all__ = ["REGENERATION_UNREADABLE", "noticed", "notices"]

NOT_STATELESS = "NotStateless"
ADMISSION_CHANGED = "AdmissionChanged"
REGENERATION_UNREADABLE = "RegenerationUnreadable"
NOTICES = (NOT_STATELESS, ADMISSION_CHANGED, REGENERATION_UNREADABLE)


def notices(turn: Turn) -> tuple[Condition, ...]:
    """Return a condition for each thing to notice; there is none while all is in order."""
    found = [_not_stateless(turn), _admission_changed(turn), _regeneration_unreadable(turn)]
    return tuple(condition for condition in found if condition is not None)


def _not_stateless(turn: Turn) -> Condition | None:
    """Return that the template that runs would be refused today."""
    kept = kept_state(turn.spec, turn.budget.desired)
    if kept is None or not turn.target.is_asked:
        return None
    text = f"{kept.message}; running instances are kept, but a new template with it is refused"
    return _true(turn, NOT_STATELESS, kept.reason, text)


def _admission_changed(turn: Turn) -> Condition | None:
    """Return that instances of the wanted revision differ from its template."""
    view, wanted = turn.view, turn.wanted
    if wanted is None or (changes := unaccepted_changes(view, wanted)) == ():
        return None
    text = (
        f"admission changed the pods of revision {wanted.number} ({wanted.id}):"
        f" {changes_in_words(changes)}; to prevent this, exempt this namespace from the webhook or"
        " policy that makes the change; to accept it, use immutability.acceptedChanges"
    )
    return _true(turn, ADMISSION_CHANGED, view.spec.admission, text)


def _regeneration_unreadable(turn: Turn) -> Condition | None:
    """Return which parts of the regeneration are ignored; nothing waits for them, so that no other
    condition says it.
    """
    if not (problems := turn.spec.problems):
        return None
    text = (
        f"{'; '.join(problems)}; this part of spec.regeneration is ignored, and a window that"
        " cannot be read never opens; correct the field"
    )
    return _true(turn, REGENERATION_UNREADABLE, "FieldIgnored", text)


def _true(turn: Turn, kind: str, reason: str, message: str) -> Condition:
    return Condition(kind, "True", reason, message, since(turn.view.prior, kind, "True", turn.now))


def noticed(turn: Turn, status: Status) -> list[Announcement]:
    """Return a warning for each such condition that says something new."""
    told = []
    for kind in NOTICES:
        now, before = status.condition(kind), turn.view.prior.condition(kind)
        if now is not None and (before is None or before.message != now.message):
            told.append(Announcement(kind, now.message, f"{now.reason}/{now.message}", True))
    return told
