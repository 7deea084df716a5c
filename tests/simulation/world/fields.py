"""Who holds which field of an object: managedFields, as coarse as the operator reads them."""

from __future__ import annotations

from typing import Any

from tests.simulation.world.storage import Obj

__all__ = ["applied_status", "held_by", "taken_over"]

Entries = list[dict[str, Any]]


def _fields(entry: dict[str, Any], root: str) -> set[str]:
    return set(entry["fieldsV1"].get(root) or {})


def held_by(entries: Entries, manager: str, operation: str, subresource: str) -> set[str]:
    """The fields below spec or status that a manager holds."""
    root = "f:status" if subresource else "f:spec"
    for entry in entries:
        if (entry["manager"], entry["operation"]) == (manager, operation) and entry.get(
            "subresource", ""
        ) == subresource:
            return _fields(entry, root)
    return set()


def taken_over(
    obj: Obj, who: tuple[str, str, str], fields: set[str], now: str, *, exact: bool = False
) -> Entries:
    """The entries after ``who`` (manager, operation, subresource) wrote ``fields`` (``f:x``).

    ``exact``: it holds these and no others any more, as after an apply.
    """
    manager, operation, subresource = who
    root = "f:status" if subresource else "f:spec"
    result: Entries = []
    own: set[str] = set()
    for entry in obj["metadata"].get("managedFields") or ():
        if entry.get("subresource", "") != subresource:
            result.append(entry)
            continue
        held = _fields(entry, root)
        if (entry["manager"], entry["operation"]) == (manager, operation):
            own = held
        elif left := held - fields:
            result.append({**entry, "fieldsV1": {root: {name: {} for name in sorted(left)}}})
    own = fields if exact else own | fields
    if own:
        mine = {
            "manager": manager,
            "operation": operation,
            "time": now,
            "fieldsV1": {root: {name: {} for name in sorted(own)}},
        }
        result.append(mine | ({"subresource": subresource} if subresource else {}))
    return result


def applied_status(obj: Obj, wanted: Obj, manager: str, now: str) -> Obj:
    """The object after a forced server-side apply of its status."""
    entries: Entries = obj["metadata"].get("managedFields") or []
    before: Obj = obj.get("status") or {}
    names = {f"f:{key}" for key in wanted}
    dropped = held_by(entries, manager, "Apply", "status") - names
    kept = set[str]().union(
        *(
            _fields(e, "f:status")
            for e in entries
            if e.get("subresource") == "status"
            and (e["manager"], e["operation"]) != (manager, "Apply")
        )
    )
    status = {k: v for k, v in before.items() if f"f:{k}" not in dropped - kept}
    status |= wanted
    if "conditions" in wanted:
        ours = {c["type"] for c in wanted["conditions"]}
        others = [c for c in before.get("conditions") or () if c["type"] not in ours]
        status["conditions"] = [*wanted["conditions"], *(others if "f:conditions" in kept else ())]
    new = taken_over(obj, (manager, "Apply", "status"), names, now, exact=True)
    same = [e["fieldsV1"] for e in new] == [e["fieldsV1"] for e in entries]
    meta = {**obj["metadata"], "managedFields": entries if same else new}
    return {**obj, "metadata": meta, "status": status}
