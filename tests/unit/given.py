"""What a plan is given, and what it wants, in the short words of the tables in test_domain_*.

A fleet is drawn as ``"A ##. B +"``: revision A has two available instances and one that is
not ready, revision B has one that is ready but not yet for minReadySeconds. The marks:

    #  available            +  ready, not yet available      .  not ready
    x  ended                -  terminating

Slots count from 0 in each revision, and each instance is older than the next one drawn. A plan
is read back by `moves` as ``"retire A0; create B1"``: revision, slot, and ``'`` for each
incarnation after the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from immutable_operator.domain.config.hashing import revision_hash
from immutable_operator.domain.model import (
    Cause,
    Create,
    CreateRevision,
    DeleteRevision,
    Instance,
    Move,
    Phase,
    Plan,
    Quarantine,
    Refusal,
    Retire,
    Revision,
    SetVerdict,
    Spec,
    Status,
    Trouble,
    TroubleKind,
    Verdict,
    View,
    instance_name,
    revision_id,
    revision_name,
)
from immutable_operator.domain.planner import plan

__all__ = [
    "MIN_READY",
    "NOW",
    "REVISIONS",
    "SERVICE",
    "UID",
    "begun",
    "condition",
    "failed",
    "fleet",
    "moves",
    "name_of",
    "proven",
    "refusal",
    "seen",
    "settled",
    "template",
    "verdict_of",
    "view",
    "with_verdict",
    "written",
]

NOW = 1_800_000_000.0
MIN_READY = 10
SERVICE, UID = "web", "11111111-2222-3333-4444-555555555555"


def template(letter: str) -> dict[str, Any]:
    """The pod template that is revision ``letter``."""
    image = f"registry.example/web@sha256:{letter.lower() * 64}"
    return {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": image}]},
    }


def _revision(letter: str, number: int) -> Revision:
    full = revision_hash(template(letter))
    short = revision_id(full, ())
    return Revision(short, number, full, revision_name(SERVICE, short), f"uid-{letter}")


REVISIONS = {letter: _revision(letter, number) for number, letter in enumerate("ABCDEF", 1)}
_LETTERS = {revision.id: letter for letter, revision in REVISIONS.items()}


def name_of(label: str) -> str:
    """The name of the instance that the tables call ``A0`` or ``B2'``."""
    bare = label.rstrip("'")
    revision = REVISIONS[bare[0]].id
    return instance_name(SERVICE, UID, revision, int(bare[1:]), len(label) - len(bare))


def proven(letter: str, ago: float = 4000.0) -> Revision:
    """A revision that was complete once, as its record says."""
    verdict = Verdict(
        Phase.GOOD,
        reason="Completed",
        started=NOW - ago - 10,
        first_available=NOW - ago - 5,
        completed=NOW - ago,
        number_floor=REVISIONS[letter].number,
    )
    return replace(REVISIONS[letter], verdict=verdict)


def begun(letter: str, wanted: bool = True) -> Revision:
    """A revision that is worked towards, or that another one was wanted instead of."""
    text = "" if wanted else "another one was wanted"
    phase = Phase.PROGRESSING if wanted else Phase.SUPERSEDED
    started = NOW - 100 if wanted else None
    verdict = Verdict(
        phase,
        message=text,
        started=started,
        progressed=started,
        number_floor=REVISIONS[letter].number,
    )
    return replace(REVISIONS[letter], verdict=verdict)


def failed(letter: str, back: str = "A", **more: Any) -> Verdict:
    """The verdict of a revision that began 100 s ago and failed 50 s ago.

    ``back`` is the revision that it went back to; ``more`` are other fields of the verdict.
    """
    known: dict[str, Any] = {
        "reason": "CrashLoop",
        "message": f"{name_of(f'{letter}0')}: it keeps exiting",
        "started": NOW - 100,
        "failed": NOW - 50,
        "fallback": REVISIONS[back].id if back else "",
        "number_floor": REVISIONS[letter].number,
    }
    return Verdict(Phase.FAILED, **(known | more))


def fleet(drawn: str, **changes: dict[str, Any]) -> tuple[Instance, ...]:
    """The instances of a drawing; ``A0={"node": "n1"}`` changes single ones."""
    instances: list[Instance] = []
    words = drawn.split()
    for letter, marks in zip(words[::2], words[1::2], strict=True):
        for slot, mark in enumerate(marks):
            label = f"{letter}{slot}"
            instance = _instance(label, slot, mark, born=NOW - 5000 + len(instances))
            instances.append(replace(instance, **changes.get(label, {})))
    return tuple(instances)


def _instance(label: str, slot: int, mark: str, born: float) -> Instance:
    ready_since = {"#": NOW - 1000, "-": NOW - 1000, "+": NOW}.get(mark)
    return Instance(
        name=name_of(label),
        uid=f"uid-{label}",
        revision=REVISIONS[label[0]].id,
        slot=slot,
        incarnation=0,
        born=born,
        ready_since=ready_since,
        terminating=mark == "-",
        ended=mark == "x",
        node="n1",
        trouble=Trouble(TroubleKind.ENDED, "it ended (Failed)") if mark == "x" else None,
    )


def view(
    drawn: str = "",
    *,
    wanted: str = "A",
    good: str | None = "A",
    recorded: str = "ABC",
    instances: Iterable[Instance] | None = None,
    refusals: Iterable[Refusal] = (),
    prior: Status | None = None,
    generation: int = 1,
    **spec: Any,
) -> View:
    """A service that wants 3 instances of ``wanted``, surge 1, with the drawn fleet.

    ``good`` is the last good revision, as its record says.
    """
    if prior is None:
        good_id = REVISIONS[good].id if good else None
        prior = Status(desired=3, current_revision=good_id, last_good_revision=good_id)
    defaults: dict[str, Any] = {
        "replicas": 3,
        "max_surge": 1,
        "max_unavailable": 0,
        "min_ready_seconds": MIN_READY,
    }
    return View(
        name=SERVICE,
        namespace="shop",
        uid=UID,
        generation=generation,
        spec=Spec(template(wanted), **(defaults | spec)),
        author="kubectl",
        instances=fleet(drawn) if instances is None else tuple(instances),
        revisions=tuple(
            proven(letter) if letter == good else begun(letter, letter == wanted)
            for letter in recorded
        ),
        refusals=tuple(refusals),
        prior=prior,
    )


def refusal(
    move: Move,
    subject: str,
    cause: Cause,
    *,
    wait: float = 5.0,
    message: str = "no",
    attempts: int = 1,
    revision: str | None = None,
    since: float = NOW - 60,
) -> Refusal:
    """A refusal of which ``wait`` seconds remain; ``subject`` and ``revision`` as in tables."""
    name = name_of(subject) if subject[0].isupper() else subject
    of = REVISIONS[revision].id if revision else None
    return Refusal(move, name, cause, message, since, NOW + wait, attempts, of)


def moves(decided: Plan, *, marks: bool = False) -> str:
    """The actions of a plan in the words of the tables, in order; ``marks``: verdicts, too."""
    words: dict[str, list[str]] = {}
    for action in decided.actions:
        match action:
            case Create():
                letter = _LETTERS[action.revision]
                words.setdefault("create", []).append(
                    f"{letter}{action.slot}" + "'" * action.incarnation
                )
            case Quarantine():
                words.setdefault("quarantine", []).append(action.uid.removeprefix("uid-"))
            case Retire():
                words.setdefault("retire", []).append(action.uid.removeprefix("uid-"))
            case CreateRevision():
                words.setdefault("record", []).append(_LETTERS[action.id])
            case SetVerdict():
                if marks:
                    letter = _LETTERS[action.revision.id]
                    words.setdefault("mark", []).append(f"{letter}={action.verdict.phase}")
            case DeleteRevision():
                words.setdefault("forget", []).append(action.uid.removeprefix("uid-"))
    return "; ".join(f"{verb} {' '.join(what)}" for verb, what in words.items())


def condition(status: Status | None) -> str:
    """``Ready Current`` or ``- Suspended``: the condition that is True, and the reason."""
    assert status is not None
    *three, available = status.conditions
    assert [c.type for c in three] == ["Ready", "Reconciling", "Stalled"]
    assert available.type == "Available"
    true = [c.type for c in three if c.status == "True"]
    reasons = {c.reason for c in three}
    assert len(true) <= 1, true
    assert len(reasons) == 1, reasons
    return f"{true[0] if true else '-'} {reasons.pop()}"


def seen(given: View, now: float, **changes: Any) -> View:
    """The same service as the next plan finds it: with the status that this one computed.

    ``changes`` are fields of the view; ``spec`` takes a dict of changed fields.
    """
    status = plan(given, now).status
    spec = changes.pop("spec", {})
    assert given.spec is not None
    return replace(given, prior=status or given.prior, spec=replace(given.spec, **spec), **changes)


def written(given: View, decided: Plan) -> View:
    """The same service after this plan's verdicts and status were written, and nothing else."""
    marks = {a.revision.id: a.verdict for a in decided.actions if isinstance(a, SetVerdict)}
    records = tuple(replace(r, verdict=marks.get(r.id, r.verdict)) for r in given.revisions)
    return replace(given, revisions=records, prior=decided.status or given.prior)


def settled(given: View, now: float, planned: Callable[[View, float], Plan] = plan) -> View:
    """The same service once no verdict is left to write at ``now``, with its status."""
    for _ in range(6):
        decided = planned(given, now)
        given = written(given, decided)
        if not any(isinstance(action, SetVerdict) for action in decided.actions):
            return given
    raise AssertionError(f"verdicts without end: {decided.notes}")


def with_verdict(given: View, letter: str, verdict: Verdict) -> View:
    """The same service with another verdict on the record of a revision."""
    id_ = REVISIONS[letter].id
    records = (replace(r, verdict=verdict) if r.id == id_ else r for r in given.revisions)
    return replace(given, revisions=tuple(records))


def verdict_of(given: View, letter: str) -> Verdict:
    """What the record of a revision says."""
    return next(r.verdict for r in given.revisions if r.id == REVISIONS[letter].id)
