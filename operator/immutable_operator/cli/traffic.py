"""Which revision gets which share of the traffic, where the operator divides it."""

from __future__ import annotations

from collections.abc import Sequence

from immutable_operator.cli.objects import Json
from immutable_operator.kube.times import moment

__all__ = ["shares", "traffic_line"]

ALL = 100


def shares(body: Json, records: Sequence[Json]) -> dict[str, int]:
    """Return by revision id the percentage of the traffic that its instances get.

    Empty if each instance gets the same share: with Rolling, with a Canary without an HTTPRoute,
    and as long as no revision was promoted.
    """
    spec = body.get("spec") or {}
    strategy = (spec.get("rollout") or {}).get("strategy", "Rolling")
    by_route = strategy == "Canary" and (spec.get("traffic") or {}).get("route")
    if strategy != "BlueGreen" and not by_route:
        return {}
    live = max(records, key=lambda record: _at(record, "promotedAt"), default=None)
    promoted = _at(live, "promotedAt") if live else 0.0
    if live is None or not promoted or any(_last(r) > promoted for r in records if r is not live):
        return {}
    rollout = (body.get("status") or {}).get("rollout") or {}
    found = {str(record["spec"]["revision"]): 0 for record in records}
    owner, new = str(live["spec"]["revision"]), str(rollout.get("revision") or "")
    weight = int(rollout.get("weight") or 0) if by_route and new != owner else 0
    return found | {owner: ALL - weight} | ({new: weight} if weight else {})


def traffic_line(body: Json, records: Sequence[Json]) -> str:
    """Return the shares in words, newest revision first; "" if each pod has the same."""
    numbers = {str(r["spec"]["revision"]): int(r["spec"]["number"]) for r in records}
    found = {id_: share for id_, share in shares(body, records).items() if share}
    told = sorted(found, key=lambda id_: -numbers.get(id_, 0))
    return ", ".join(f"revision {numbers.get(i, i)} {found[i]} %" for i in told)


def _last(record: Json) -> float:
    """Return when a revision was last promoted, or complete."""
    return max(_at(record, "promotedAt"), _at(record, "completed"))


def _at(record: Json, field: str) -> float:
    told = (record.get("status") or {}).get(field)
    try:
        return moment(str(told)) if told else 0.0
    except ValueError:
        return 0.0
