"""Judging instances by what admission made of them: refused, or different from the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from immutable_operator.domain.model import (
    Admission,
    Instance,
    OnAdmission,
    Revision,
    View,
    changes_in_words,
)
from immutable_operator.domain.model.admission import Changes

__all__ = ["WAYS_ON", "admits", "judged_admission", "recorded_admission", "unaccepted_changes"]

WAYS_ON = (
    "exempt this namespace from the webhook or policy that makes the change, accept the change with"
    " immutability.acceptedChanges, or set immutability.admission: Allow"
)


def judged_admission(view: View) -> View:
    """Return the view with instances that are refused, or that differ from their revision."""
    known, spec = view.evidence.admission, view.spec
    if spec.admission is OnAdmission.ALLOW or not known:
        return view
    norms = {r.id: _norm(view, r) for r in view.revisions}
    instances = tuple(_judged(view, i, norms.get(i.revision)) for i in view.instances)
    return replace(view, instances=instances)


def _judged(view: View, instance: Instance, norm: Admission | None) -> Instance:
    changes = view.evidence.admission.get(instance.uid)
    if changes is None or norm is None:
        return instance
    if norm.since is not None and instance.born < norm.since:
        return instance
    accepted = view.spec.accepted
    made, usual = accepted.others(changes), accepted.others(norm.changes)
    admitted = admits(view, instance.revision)
    if made and admitted is not None and made != admitted:
        # It never counts as available, so it is never needed, and is retired at once.
        text = f"admission changed it: {changes_in_words(made)}"
        return replace(instance, refused=text, ready_since=None)
    if made == usual:
        return instance
    others = f"the other pods of revision {instance.revision}"
    return replace(
        instance, differs=f"admission made it different from {others}: {_against(made, usual)}"
    )


def _against(made: Changes, usual: Changes) -> str:
    """Return how two sets of changes differ, for people."""
    here = [change for change in made if change not in usual]
    known = {change.path for change in made}
    gone = [change for change in usual if change.path not in known]
    words = [changes_in_words(here)] if here else []
    return "; ".join([*words, *([f"without {changes_in_words(gone)}"] if gone else [])])


def admits(view: View, revision: str) -> Changes | None:
    """Return with which changes an instance of a revision is created if any change is refused.

    None: with all. That is so for a revision that was complete before its admission was compared.
    """
    if view.spec.admission is not OnAdmission.REFUSE:
        return None
    record = next((r for r in view.revisions if r.id == revision), None)
    if record is None:
        return ()
    if record.verdict.admission is not None:
        return view.spec.accepted.others(record.verdict.admission.changes)
    return None if record.verdict.completed is not None else ()


def _norm(view: View, revision: Revision) -> Admission | None:
    """Return what instances of a revision are compared with: its record, else the oldest one."""
    verdict = revision.verdict
    if verdict.admission is not None:
        return verdict.admission
    if verdict.completed is not None:
        return None
    changes = _oldest(view, revision)
    return None if changes is None else Admission.of(changes)


def _oldest(view: View, revision: Revision) -> Changes | None:
    known = view.evidence.admission
    own = [i for i in view.instances if i.revision == revision.id and i.uid in known]
    if not own:
        return None
    return known[min(own, key=lambda i: (i.born, i.name)).uid]


def unaccepted_changes(view: View, revision: Revision) -> Changes:
    """Return what admission changes in instances of a revision and the spec does not accept.

    As its record says; until there is one, or if it says that nothing was changed, as the first
    instance that was changed shows.
    """
    if view.spec.admission is OnAdmission.ALLOW:
        return ()
    recorded = revision.verdict.admission
    if recorded and (changes := view.spec.accepted.others(recorded.changes)):
        return changes
    own = [i for i in view.instances if i.revision == revision.id and not i.refused]
    own.sort(key=lambda i: i.name)
    known = (view.evidence.admission.get(i.uid, ()) for i in own)
    return next(filter(None, map(view.spec.accepted.others, known)), ())


def recorded_admission(
    view: View, revision: Revision, now: float, *, anyway: bool
) -> Admission | None:
    """Return what is to be recorded of a revision: what its record says, if that is known.

    ``anyway``: the record is written for another reason; otherwise it is worth a write only if
    admission changed something.
    """
    verdict = revision.verdict
    if verdict.admission is not None or view.spec.admission is OnAdmission.ALLOW:
        return verdict.admission
    changes = _oldest(view, revision)
    if changes is None or not (anyway or changes or _any_changed(view, revision)):
        return None
    if verdict.completed is not None:
        return Admission.of(changes, since=now)
    refuses = view.spec.admission is OnAdmission.REFUSE
    return None if refuses and view.spec.accepted.others(changes) else Admission.of(changes)


def _any_changed(view: View, revision: Revision) -> bool:
    own: Iterable[Instance] = (i for i in view.instances if i.revision == revision.id)
    return any(view.evidence.admission.get(i.uid) for i in own)
