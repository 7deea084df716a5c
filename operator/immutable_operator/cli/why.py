"""``kubectl immutable why``: in sentences why a service or an instance is as it is."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from immutable_operator.cli.ancestry import Ancestry, Known, owner_of, read_ancestry
from immutable_operator.cli.arguments import Say, add_output, add_owner, place
from immutable_operator.cli.objects import Json, condition
from immutable_operator.cli.owner import Owner, with_owner
from immutable_operator.cli.records import named, outcome, phase
from immutable_operator.cli.table import age, visible
from immutable_operator.cli.written import as_text
from immutable_operator.kube.times import moment, second

__all__ = ["add", "advice", "of_instance", "of_owner", "run"]

CONDITIONS = ("Ready", "Reconciling", "Stalled")
# Conditions that explain more if they have this status.
MORE = {
    "Available": "False",
    "Guarded": "False",
    "Regenerating": "True",
    "CannotMeetMaxAge": "True",
    "NotStateless": "True",
    "AdmissionChanged": "True",
    "RegenerationUnreadable": "True",
}
Ago = Callable[[Any], str]


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "why",
        description="Explains in sentences: the state of a service and since when it lasts, which"
        " revision runs and why, what the service waits for, and what to do. For a pod, even if it"
        " is gone: why it was created, which pods came before it, and why they were replaced.",
        epilog="Exit codes: 0 explained, 2 cannot run.",
    )
    add_owner(command, instance=True)
    add_output(command, "json", "yaml")
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Print the explanation and return the exit code."""
    where = place(given)
    name = owner_of(where.name)

    async def work(owner: Owner) -> int:
        records, now = await owner.records(), time.time()
        if name == where.name:
            lines = of_owner(owner, records, now)
        else:
            ancestry = await read_ancestry(owner)
            lines = of_instance(owner, records, ancestry, where.name, now)
        if given.output == "table":
            show("\n".join(visible(line) for line in lines))
        else:
            about = {owner.kind.word: owner.name, "namespace": owner.namespace}
            show(as_text({**about, "name": where.name, "sentences": lines}, given.output))
        return 0

    return await with_owner(replace(where, name=name), work, say)


def of_owner(owner: Owner, records: Sequence[Json], now: float) -> list[str]:
    """Return the sentences about a service or pool; ``now`` in seconds since the epoch."""
    status, ago = owner.status, _ago(now)
    if not status.get("conditions"):
        return [
            f"The operator has not processed {_title(owner)} yet. Check that it runs: kubectl"
            " immutable check"
        ]
    lines = [*_state(owner, ago), *_runs(owner, records, ago)]
    waits = [_blocker(b, ago) for b in status.get("blockers") or ()]
    if waits:
        lines += ["It waits for:", *waits]
    deviations = status.get("deviations") or ()
    lines += [f"{d['instance']} is {d['reason']}: {d['message']}" for d in deviations]
    for kind, value in MORE.items():
        found = condition(owner.body, kind)
        if found.get("status") == value:
            lines.append(f"{kind} is {value} since {ago(found)}: {_sentence(found['message'])}")
    if live := owner.status.get("liveSecrets"):
        lines.append(
            f"Read live, and not part of the revision: Secret {', '.join(live)}. To pin it, name"
            " the namespace in pinning.secrets.namespaces of the chart."
        )
    return [*lines, *advice(owner, records, bool(waits))]


def _title(owner: Owner) -> str:
    where = f" in namespace {owner.namespace}" if owner.kind.is_namespaced else ""
    return f"{owner.kind.word} {owner.name}{where}"


def _state(owner: Owner, ago: Ago) -> list[str]:
    true = [c for kind in CONDITIONS if (c := condition(owner.body, kind)).get("status") == "True"]
    found = true[0] if true else condition(owner.body, "Ready")
    state = found["type"] if true else "not Ready"
    lines = [
        f"{_title(owner)} is {state} since {ago(found)} ({found['reason']}):"
        f" {_sentence(found['message'])}"
    ]
    meta = owner.body["metadata"]
    if owner.status.get("observedGeneration") != meta.get("generation"):
        lines.append(
            "The operator has not processed the latest change of its spec yet; if this lasts,"
            " check that it runs: kubectl immutable check"
        )
    return lines


def _runs(owner: Owner, records: Sequence[Json], ago: Ago) -> list[str]:
    """Say which revision is rolled out, what recorded it, and the outcome of the newest one."""
    by_id = {str(r["spec"]["revision"]): r for r in records}
    current = by_id.get(str(owner.status.get("currentRevision")))
    if current is None:
        return []
    status, spec = owner.status, current["spec"]
    have, wanted = status.get("currentReplicas", 0), status.get("desiredReplicas", 0)
    told = outcome(current, records)
    lines = [
        f"{have} of {wanted} instances are of {named(current)}, recorded {ago(current)} ago"
        f" ({spec['reason']}, by {spec['by']}); it is {phase(current)}"
        f"{': ' if told else ''}{_sentence(told)}"
    ]
    newest = records[-1]
    if newest is not current:
        told = _sentence(outcome(newest, records))
        lines.append(f"{named(newest)} is {phase(newest)}{': ' if told else '.'}{told}")
    return [*lines, *_checks(newest)]


def _checks(record: Json) -> list[str]:
    """Say what became of the checks of a revision, with the last result of each."""
    found = (record.get("status") or {}).get("checks") or ()
    if not found:
        return []
    return [f"Checks of {named(record)}:", *(f"- {_check(check)}" for check in found)]


def _check(check: Json) -> str:
    last = (check.get("results") or [{}])[-1].get("message", "")
    counts = f"{check.get('passed', 0)} of {check.get('measured', 0)} measurements passed"
    return f"{check['name']} is {check['phase']} ({counts}){': ' if last else '.'}{_sentence(last)}"


def _blocker(blocker: Json, ago: Ago) -> str:
    what = f" ({blocker['object']})" if blocker.get("object") else ""
    since = ago(blocker["since"])
    return f"- {blocker['reason']}{what} since {since}: {_sentence(blocker['message'])}"


def advice(owner: Owner, records: Sequence[Json], waits: bool) -> list[str]:
    """Say the one thing to do, where the messages above do not."""
    name, reason = owner.name, condition(owner.body, "Stalled").get("reason")
    failed = [r for r in records if phase(r) == "Failed"]
    if owner.body["spec"].get("suspend"):
        return [f"What to do: kubectl immutable resume {name} ends the suspension."]
    if failed and reason == "RolledBack":
        last = failed[-1]
        rejected = bool((last.get("status") or {}).get("rejectedBy"))
        verb = "resume" if rejected else "retry"
        cause = "to end the undo" if rejected else "when the cause is removed"
        return [
            f"What to do: kubectl immutable diff {name} shows what differs; apply another template,"
            f" or {cause}: kubectl immutable {verb} {name}"
        ]
    if condition(owner.body, "Ready").get("status") == "True" and not waits:
        return ["There is nothing to do."]
    if condition(owner.body, "Reconciling").get("status") == "True" and not waits:
        return [f"The operator is working on it; to follow it: kubectl immutable get {name} -w"]
    return []


def of_instance(
    owner: Owner, records: Sequence[Json], ancestry: Ancestry, name: str, now: float
) -> list[str]:
    """Return the sentences about an instance and its predecessors. Raises `CannotRun`."""
    known, ago = ancestry.find(name), _ago(now)
    lines = [_identity(owner, records, known), *_birth(known, ago)]
    lines += _end(known, ancestry, ago) if known.exists is False else _future(owner, known, ago)
    before = ancestry.predecessor(known)
    seen = {known.entry.uid}
    while before is not None and before.entry.uid not in seen:
        seen.add(before.entry.uid)
        lines += [f"Before it: {before.name}.", *_birth(before, ago), *_end(before, ancestry, ago)]
        known, before = before, ancestry.predecessor(before)
    if known.entry.replaces:
        lines.append(f"Before it: {known.entry.replaces}, of which nothing is on record.")
    return lines


def _identity(owner: Owner, records: Sequence[Json], known: Known) -> str:
    entry = known.entry
    by_id = {str(r["spec"]["revision"]): named(r) for r in records}
    revision = by_id.get(entry.revision, f"revision {entry.revision}, which is not on record")
    is_ = {True: "is", False: "was", None: "is or was"}[known.exists]
    return f"{entry.name} {is_} an instance of {_title(owner)}: slot {entry.slot}, {revision}."


def _birth(known: Known, ago: Ago) -> list[str]:
    entry = known.entry
    by = f"; asked for by {entry.by}" if entry.by else ""
    return [f"It was created {_when(entry.born, ago)}{_reason(entry.because)}{by}."]


def _reason(because: str) -> str:
    """Return the reason of a birth or retirement, ``Outdated: ...``, as the end of a sentence."""
    return f", reason {because}" if because else ""


def _end(known: Known, ancestry: Ancestry, ago: Ago) -> list[str]:
    entry = known.entry
    if entry.retired is not None:
        because = _reason(entry.retired_because)
        lines = [f"It was retired {_when(entry.retired, ago)}{because}."]
    elif known.exists is False:
        lines = ["It is gone; its retirement is not on record yet."]
    else:
        return []
    successors = ancestry.successors(known)
    if successors:
        return [*lines, f"Its successor is {successors[-1].name}."]
    return [*lines, "It has no successor on record."]


def _future(owner: Owner, known: Known, ago: Ago) -> list[str]:
    """Say what is to become of an instance that exists."""
    status, entry = owner.status, known.entry
    lines = [
        f"It is {d['reason']}: {_sentence(d['message'])}"
        for d in status.get("deviations") or ()
        if d["instance"] == known.name
    ]
    current = status.get("currentRevision")
    if entry.retired is not None:
        lines.append("It is being deleted.")
    elif current and entry.revision != current:
        lines.append(f"It is to be replaced, because its revision is not {current}.")
    elif not lines:
        lines.append("It is of the current revision.")
    waits = [_blocker(b, ago) for b in status.get("blockers") or ()]
    return [*lines, f"{owner.kind.word} {owner.name} waits for:", *waits] if waits else lines


def _when(at: float, ago: Ago) -> str:
    text = second(at)
    return f"{ago(text)} ago ({text})"


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def _ago(now: float) -> Ago:
    def ago(what: Any) -> str:
        """Return how long ago a time was, a condition last changed, or an object was created."""
        if isinstance(what, dict):
            meta = what.get("metadata") or {}
            what = what.get("lastTransitionTime") or meta.get("creationTimestamp")
        try:
            return age(now - moment(what))
        except ValueError:
            return "an unknown time"

    return ago
