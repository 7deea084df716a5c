"""What the page shows, as JSON: a pure function of the mirrored objects and the time.

All times are seconds since the epoch. No field changes by time alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from immutable_operator.cli.dashboard_lanes import lanes, next_due, shades
from immutable_operator.cli.dashboard_world import Belongings
from immutable_operator.cli.get import state
from immutable_operator.cli.objects import Json, condition
from immutable_operator.cli.owner import Owner
from immutable_operator.cli.records import identity, outcome, phase
from immutable_operator.cli.traffic import shares
from immutable_operator.cli.why import advice
from immutable_operator.kube.times import moment

__all__ = ["one", "overview"]

COUNTS = ("desired", "current", "ready", "available", "stale", "quarantined")
HELD = ("Suspended", "Frozen")
# Conditions that are worth a line, and the status with which they are.
TOLD = {
    "Guarded": "",
    "Available": "False",
    "Regenerating": "True",
    "CannotMeetMaxAge": "True",
    "NotStateless": "True",
    "AdmissionChanged": "True",
    "RegenerationUnreadable": "True",
}


def overview(owners: Iterable[Owner]) -> list[Json]:
    """Return a row for each service and pool."""
    return [_row(owner) for owner in owners]


def _row(owner: Owner) -> Json:
    word, found = state(owner.body)
    return {
        "kind": owner.kind.word,
        "namespace": owner.namespace,
        "name": owner.name,
        "state": word,
        "tone": _tone(owner, word),
        "since": _at(found.get("lastTransitionTime")),
        "message": str(found.get("message") or "The operator has not processed it yet."),
        "revision": str(owner.status.get("currentRevision") or ""),
        "counts": {name: int(owner.status.get(f"{name}Replicas") or 0) for name in COUNTS},
        "waits": len(owner.status.get("blockers") or ()),
        "guarded": condition(owner.body, "Guarded").get("status", "Unknown"),
    }


def _tone(owner: Owner, word: str) -> str:
    """Return in a word how it is: good, bad, held, busy or idle."""
    if condition(owner.body, "Stalled").get("status") == "True":
        return "bad"
    if word in HELD or owner.body["spec"].get("suspend"):
        return "held"
    if condition(owner.body, "Ready").get("status") == "True":
        return "good"
    return "busy" if condition(owner.body, "Reconciling").get("status") == "True" else "idle"


def one(owner: Owner, has: Belongings, now: float) -> Json:
    """Return all that the page shows of one service or pool."""
    rows, left_out = lanes(owner, has, now)
    born = [bar["born"] for lane in rows for bar in lane["bars"]]
    created = _at(owner.body["metadata"].get("creationTimestamp")) or now
    meta, status = owner.body["metadata"], owner.status
    return {
        **_row(owner),
        "created": created,
        "processed": status.get("observedGeneration") == meta.get("generation"),
        "waiting": [_wait(b) for b in status.get("blockers") or ()],
        "deviations": [
            {"name": d["instance"], "reason": d["reason"], "message": d["message"]}
            for d in status.get("deviations") or ()
        ],
        "conditions": _conditions(owner),
        "advice": advice(owner, has.records, bool(status.get("blockers"))),
        "revisions": _revisions(owner, has.records),
        "lanes": rows,
        "lanesLeftOut": left_out,
        "instancesKnown": has.items is not None,
        "shades": shades(owner, has, min(born, default=created), now),
        "due": next_due(owner),
    }


def _wait(blocker: Json) -> Json:
    return {
        "reason": blocker["reason"],
        "object": str(blocker.get("object") or ""),
        "message": blocker["message"],
        "since": _at(blocker.get("since")),
    }


def _conditions(owner: Owner) -> list[Json]:
    found = []
    for kind, wanted in TOLD.items():
        told = condition(owner.body, kind)
        if told and (not wanted or told.get("status") == wanted):
            words = {key: str(told.get(key) or "") for key in ("status", "reason", "message")}
            found.append({"type": kind, **words, "since": _at(told.get("lastTransitionTime"))})
    return found


def _revisions(owner: Owner, records: Sequence[Json]) -> list[Json]:
    """Return the verdicts, the newest revision first."""
    current, traffic = owner.status.get("currentRevision"), shares(owner.body, records)
    return [
        {
            "id": identity(record),
            "number": int(record["spec"]["number"]),
            "phase": phase(record),
            "reason": str(record["spec"].get("reason") or ""),
            "by": str(record["spec"].get("by") or ""),
            "image": str(record["spec"].get("image") or ""),
            "created": _at(record["metadata"].get("creationTimestamp")),
            "outcome": outcome(record, records),
            "runs": identity(record) == current,
            "traffic": traffic.get(identity(record)),
        }
        for record in reversed(records)
    ]


def _at(text: object) -> float | None:
    try:
        return moment(str(text)) if text else None
    except ValueError:
        return None
