"""``kubectl immutable history``: the recorded revisions, and what became of each."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from immutable_operator.api.names import API_VERSION, LABEL_REVISION, REVISION_KIND
from immutable_operator.cli.arguments import Say, add_output, add_owner, place
from immutable_operator.cli.asked import Asked, read_asked
from immutable_operator.cli.contents import Contents
from immutable_operator.cli.objects import Json, condition, is_there
from immutable_operator.cli.owner import Owner, with_owner
from immutable_operator.cli.records import identity, outcome, phase
from immutable_operator.cli.table import age, aligned, visible
from immutable_operator.cli.written import written
from immutable_operator.kube.errors import Forbidden
from immutable_operator.kube.paths import NODES, PODS
from immutable_operator.kube.times import moment

__all__ = ["Marks", "add", "run", "table"]

HEADS = ("NUMBER", "REVISION", "PHASE", "RUNS", "ASKED", "REASON", "IMAGE", "BY", "AGE", "OUTCOME")
WIDE = ("STARTED", "COMPLETED", "FAILED", "CONFIG")
UNKNOWN = "?"


@dataclass(frozen=True)
class Marks:
    """What is so now. ``running`` is the number of instances by id, None if it is not known;
    ``current`` is then the id of the revision that the operator works towards.

    ``asked`` is the id of the revision that the spec asks for.
    """

    running: Mapping[str, int] | None = field(default_factory=dict)
    current: str = ""
    asked: str = ""


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "history",
        description="Lists the revisions on record. RUNS is the number of instances of a revision,"
        " ASKED marks the one that the spec asks for, REASON is why it was recorded, BY is the tool"
        " that wrote it, OUTCOME is the result of its rollout.",
        epilog="Exit codes: 0 listed, 2 cannot run.",
    )
    add_owner(command)
    add_output(command, "wide", "json", "yaml", "name")
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Print the revisions and return the exit code."""

    async def work(owner: Owner) -> int:
        records = await owner.records()
        if given.output in ("table", "wide"):
            await _table(owner, records, given.output == "wide", (say, show))
        else:
            show(written(_typed(records), given.output))
        return 0

    return await with_owner(place(given), work, say)


async def _table(
    owner: Owner, records: Sequence[Json], wide: bool, streams: tuple[Say, Say]
) -> None:
    say, show = streams
    asked = await read_asked(owner, records, Contents(owner.client, owner.namespace))
    if records:
        running, current = await _running(owner), str(owner.status.get("currentRevision") or "")
        marks = Marks(running, current, identity(asked.record) if asked.record else "")
        show("\n".join(aligned(table(records, marks, time.time(), wide=wide))))
    else:
        say(f"no revision of {owner.kind.word} {owner.name} is on record yet")
    if asked.record is None:
        say(f"what the spec asks for is not on record: {_why(owner, asked)}")


def _why(owner: Owner, asked: Asked) -> str:
    """Return why the revision that the spec asks for is not recorded."""
    told = condition(owner.body, "Ready").get("message")
    observed = owner.status.get("observedGeneration") == owner.body["metadata"]["generation"]
    why = asked.problem or (str(told) if told and observed else "")
    return why or "the operator has not processed it yet"


async def _running(owner: Owner) -> Mapping[str, int] | None:
    """Return the number of instances by revision, or None if the user may not list them."""
    path = PODS.collection(owner.namespace) if owner.kind.is_namespaced else NODES.all()
    resource = "pods" if owner.kind.is_namespaced else "nodes"
    try:
        items = await owner.items(path, resource, labelSelector=f"{owner.kind.label}={owner.name}")
    except Forbidden:
        return None
    labels = ((i["metadata"].get("labels") or {}) for i in items if is_there(i))
    return Counter(str(found.get(LABEL_REVISION)) for found in labels)


def table(
    records: Sequence[Json], marks: Marks, now: float, *, wide: bool = False
) -> list[tuple[str, ...]]:
    """Return the head and a row for each record; ``now`` in seconds since the epoch."""
    rows = [HEADS[:-1] + (WIDE if wide else ()) + HEADS[-1:]]
    for record in records:
        spec, id_ = record["spec"], identity(record)
        cells = (
            str(spec["number"]),
            id_,
            phase(record),
            _runs(marks, id_),
            "*" if id_ == marks.asked else "-",
            spec["reason"],
            spec["image"],
            spec["by"],
            _ago(record["metadata"]["creationTimestamp"], now),
        )
        more = _wide(record, now) if wide else ()
        rows.append(tuple(map(_cell, (*cells, *more, outcome(record, records)))))
    return rows


def _runs(marks: Marks, id_: str) -> str:
    if marks.running is not None:
        return str(marks.running.get(id_, 0))
    return UNKNOWN if id_ == marks.current else "-"


def _wide(record: Json, now: float) -> tuple[str, ...]:
    status = record.get("status") or {}
    times = [_ago(status.get(key), now) for key in ("startedAt", "completed", "failedAt")]
    config = (f"{pin.get('kind', 'ConfigMap')}/{pin['name']}" for pin in _pins(record))
    return (*times, ",".join(config))


def _pins(record: Json) -> Sequence[Json]:
    found: Sequence[Json] = record["spec"].get("config") or ()
    return found


def _ago(time_: Any, now: float) -> str:
    return age(now - moment(time_)) if time_ else ""


def _cell(text: str) -> str:
    """Return a cell in one line; an empty one would shift the others for programs."""
    return visible(" ".join(text.split())) or "-"


def _typed(records: Sequence[Json]) -> list[Json]:
    return [{"apiVersion": API_VERSION, "kind": REVISION_KIND, **record} for record in records]
