"""One lane a slot: the bars of the instances, and the periods that are shaded behind them. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil, floor, inf

from immutable_operator.cli.ancestry import Ancestry, Known, ancestry_of
from immutable_operator.cli.dashboard_mirror import leaving_since
from immutable_operator.cli.dashboard_world import Belongings
from immutable_operator.cli.get import pod_state, stale
from immutable_operator.cli.objects import Json, condition, is_there
from immutable_operator.cli.owner import Owner
from immutable_operator.cli.traffic import shares
from immutable_operator.domain.calendar.windows import Window, next_close, next_open
from immutable_operator.domain.lineage import Entry
from immutable_operator.kube.times import moment
from immutable_operator.wire.regeneration import read_regeneration

__all__ = ["lanes", "shades"]

# What an instance is in a word, and since when.
State = tuple[str, float | None]
MOST_LANES = 200
MOST_PERIODS = 200
HOUR = 3600.0
AHEAD, BACK = 7 * 24 * HOUR, 30 * 24 * HOUR


def lanes(owner: Owner, has: Belongings, now: float) -> tuple[list[Json], int]:
    """Return a lane for each slot, and the number of lanes that were left out.

    The lanes in which something happened are kept first.
    """
    states = {i["metadata"]["uid"]: (_state(owner, i), _since(i)) for i in has.items or ()}
    ancestry = ancestry_of(owner, _with_departed(has), has.items)
    numbers = {str(r["spec"]["revision"]): int(r["spec"]["number"]) for r in has.records}
    traffic = shares(owner.body, has.records)
    by_slot: dict[int, list[Json]] = defaultdict(list)
    for known in ancestry.instances:
        bar = _bar(owner, ancestry, known, states, now)
        bar["number"] = numbers.get(known.entry.revision)
        bar["traffic"] = traffic.get(known.entry.revision) if bar["lives"] else None
        by_slot[known.entry.slot].append(bar)

    def rank(slot: int) -> tuple[bool, int]:
        bars = by_slot[slot]
        return len(bars) == 1 and bars[0]["state"] == "Ready" and not bars[0]["stale"], slot

    kept = sorted(sorted(by_slot, key=rank)[:MOST_LANES])
    return [{"slot": slot, "bars": by_slot[slot]} for slot in kept], len(by_slot) - len(kept)


def _with_departed(has: Belongings) -> list[Entry]:
    """Join the record with what this process saw: it is written only when a rollout has ended."""
    seen = {entry.uid: entry for entry in has.departed}
    recorded = [
        replace(entry, retired=seen[entry.uid].retired)
        if entry.retired is None and entry.uid in seen
        else entry
        for entry in has.recorded
    ]
    on_record = {entry.uid for entry in recorded}
    return recorded + [entry for uid, entry in seen.items() if uid not in on_record]


def _bar(
    owner: Owner, ancestry: Ancestry, known: Known, states: Mapping[str, State], now: float
) -> Json:
    entry, successors = known.entry, ancestry.successors(known)
    lives = bool(known.exists)
    later = successors[-1].entry if successors else None
    word, since = states.get(entry.uid, ("Ready", None))
    return {
        "uid": entry.uid,
        "name": entry.name,
        "revision": entry.revision,
        "born": entry.born,
        "end": None if lives else _end(known, now),
        "lives": lives,
        "state": word if lives else "",
        # Since when it is not ready, or is being deleted.
        "since": since if lives and word != "Ready" else None,
        "stale": stale(owner, entry) if lives else "",
        "because": entry.because,
        "by": entry.by,
        "replaces": entry.replaces,
        # A record that is not written yet does not say it; the birth of the successor does.
        "endedBecause": entry.retired_because or (later.because if later else ""),
        "endedBy": later.by if later else "",
        "successor": later.name if later else "",
    }


def _end(known: Known, now: float) -> float | None:
    """Return when an instance ended; None if that is not known."""
    end = known.entry.retired
    return None if end is None else max(known.entry.born, min(end, now))


def _state(owner: Owner, item: Json) -> str:
    if owner.kind.is_namespaced:
        return pod_state(item)
    if not is_there(item):
        return "Terminating"
    return "Ready" if condition(item, "Ready").get("status") == "True" else "NotReady"


def _since(item: Json) -> float | None:
    """Return when an instance began to be deleted, or when it last became ready or unready."""
    asked, changed = leaving_since(item), condition(item, "Ready").get("lastTransitionTime")
    return asked if asked is not None or not changed else moment(changed)


def shades(owner: Owner, has: Belongings, first: float, now: float) -> list[Json]:
    """Return the periods of freezes and maintenance windows from ``first`` on, for a week."""
    # Whole hours, so that the answer does not change with each second.
    begin = floor(max(first, now - BACK) / HOUR) * HOUR
    end = ceil((now + AHEAD) / HOUR) * HOUR
    found: list[Json] = []
    regeneration, _ = read_regeneration(owner.body["spec"].get("regeneration"))
    for opens, closes in _periods(regeneration.windows, begin, end):
        told = "replacements because of age may start"
        found.append({"kind": "window", "name": "", "reason": told, "from": opens, "to": closes})
    for freeze in (record.content for record in has.freezes):
        least, most = max(begin, freeze.begins or begin), min(end, freeze.ends or inf)
        periods = _periods(freeze.windows, least, most) if freeze.windows else [(least, most)]
        found += [
            {
                "kind": "freeze",
                "name": freeze.name,
                "reason": freeze.reason,
                "from": opens,
                "to": closes,
                "repairs": freeze.repairs,
            }
            for opens, closes in periods
            if opens < closes
        ]
    return found


def _periods(windows: Sequence[Window], begin: float, end: float) -> Iterator[tuple[float, float]]:
    """Yield the open periods between two times; none if there is no window at all."""
    given, at = tuple(windows), begin
    for _ in range(MOST_PERIODS if given else 0):
        opens = next_open(given, at)
        if opens is None or opens >= end:
            return
        closes = next_close(given, opens)
        yield opens, min(end, closes if closes is not None else end)
        if closes is None:
            return
        at = closes


def next_due(owner: Owner) -> float | None:
    """Return when the next replacement because of age or schedule is due."""
    told = owner.status.get("nextRegeneration")
    try:
        return moment(told) if told else None
    except ValueError:
        return None
