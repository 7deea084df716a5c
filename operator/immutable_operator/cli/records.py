"""Records of revisions as users name and read them. Nothing here asks the API server."""

from __future__ import annotations

import re
from collections.abc import Sequence

from immutable_operator.cli.objects import Json
from immutable_operator.cli.problem import CannotRun

__all__ = ["find_good", "find_record", "identity", "is_good", "named", "outcome", "phase"]

ID = re.compile(r"(?:.*-im)?([0-9a-f]{8})")


def identity(record: Json) -> str:
    """Return the id of a record: 8 hex digits."""
    return str(record["spec"]["revision"])


def named(record: Json) -> str:
    """Return its number and its id, for people."""
    return f"revision {record['spec']['number']} ({identity(record)})"


def phase(record: Json) -> str:
    return str(_status(record).get("phase") or "Pending")


def _status(record: Json) -> Json:
    return record.get("status") or {}


def _listed(records: Sequence[Json]) -> str:
    return ", ".join(f"{r['spec']['number']} ({identity(r)})" for r in records) or "none"


def find_record(records: Sequence[Json], text: str) -> Json:
    """Return the record with a number, an id or a name. Raises `CannotRun`."""
    # An id can consist of digits only.
    if wanted := ID.fullmatch(text.lower()):
        for record in records:
            if identity(record) == wanted[1]:
                return record
    if text.isascii() and text.isdigit():
        for record in records:
            if record["spec"]["number"] == int(text):
                return record
    raise CannotRun(f"revision {text} is not on record; on record are: {_listed(records)}")


def find_good(records: Sequence[Json], text: str) -> Json:
    """Return the record like `find_record`, if its rollout completed and it has not failed since.

    Raises `CannotRun`.
    """
    record = find_record(records, text)
    if record in (good := [r for r in records if is_good(r)]):
        return record
    others = _listed(good)
    raise CannotRun(f"{named(record)} is {phase(record)}; specify one of the good ones: {others}")


def is_good(record: Json) -> bool:
    """Whether its rollout completed, and it has not failed since."""
    return bool(_status(record).get("completed")) and phase(record) != "Failed"


def outcome(record: Json, records: Sequence[Json]) -> str:
    """Return what became of a revision, in a sentence; "" if there is nothing to say."""
    status = _status(record)
    if phase(record) != "Failed":
        return str(status.get("message") or status.get("replaced") or "")
    told = str(status.get("message") or "")
    if not status.get("rejectedBy"):
        told = ": ".join(filter(None, (str(status.get("reason") or ""), told)))
    fallback = str(status.get("fallback") or "")
    back = next((named(r) for r in records if identity(r) == fallback), fallback)
    return "; ".join(filter(None, (told, f"went back to {back}" if back else "")))
