"""``kubectl immutable get``: the state of services, and of each instance of one."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from immutable_operator.cli.action import NOT_ANSWERED
from immutable_operator.cli.ancestry import PODS, living
from immutable_operator.cli.arguments import Say, add_login
from immutable_operator.cli.login import find_login
from immutable_operator.cli.objects import Json, condition
from immutable_operator.cli.owner import Owner, Place, not_installed, with_client, with_owner
from immutable_operator.cli.problem import CannotRun
from immutable_operator.cli.table import age, aligned, visible
from immutable_operator.domain.lineage import Entry
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import Forbidden, NotFound
from immutable_operator.kube.times import moment
from immutable_operator.wire.owner import SERVICE, SERVICES

__all__ = ["add", "head", "instances", "pod_state", "run", "services", "stale", "state"]

LIST = ("NAME", "STATUS", "REVISION", "READY", "CURRENT", "STALE", "SINCE", "MESSAGE")
ONE = ("SLOT", "POD", "REV", "AGE", "STATE", "BECAUSE", "REPLACES")
TERMINATING = "Terminating"
POLL_SECONDS = 1.0
# Back to the first line and column, and clear what is below.
REDRAW = "\x1b[H\x1b[2J"
# The text at a time, in seconds since the epoch.
Render = Callable[[float], str]
Read = Callable[[], Awaitable[Render]]


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "get",
        help="show services, or one service with each of its pods",
        description="Without a name: the services of a namespace. With a name: its state and since"
        " when, what it waits for, and for each pod slot, revision, age, state, why it was created"
        " and which pod it replaces.",
        epilog="Exit codes: 0 shown, 2 cannot run.",
    )
    add = command.add_argument
    add("name", metavar="NAME", nargs="?", default="", help="name of the ImmutableService [all]")
    add("--all-namespaces", "-A", action="store_true", help="services of all namespaces")
    add("--watch", "-w", action="store_true", help="show it again after each change, until Ctrl-C")
    add_login(command, "namespace of the service [the context's]")
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Print the state and return the exit code."""
    login = find_login(given.kubeconfig, given.context)
    namespace = given.namespace or login.namespace()
    if given.name:

        async def one(owner: Owner) -> int:
            return await _repeat(lambda: _one(owner), given.watch, say, show)

        return await with_owner(Place(login, given.name, namespace), one, say)

    async def all_(client: KubeClient) -> int:
        where = "" if given.all_namespaces else namespace
        return await _repeat(lambda: _all(client, where), given.watch, say, show)

    return await with_client(login, all_, say)


async def _repeat(read: Read, watch: bool, say: Say, show: Say) -> int:
    """Print what ``read`` returns; with ``watch`` again whenever more changes than the ages."""
    told, troubled = "", ""
    while True:
        try:
            rendered = await read()
        except NOT_ANSWERED as error:
            if not watch or not told:
                raise
            if str(error) != troubled:
                troubled = str(error)
                say(f"waiting for the API server: {error}")
        else:
            redraws, text = watch and sys.stdout.isatty(), rendered(0.0)
            if redraws:
                show(f"{REDRAW}{rendered(time.time())}")
            elif text != told:
                show(rendered(time.time()))
            told, troubled = text, ""
        if not watch:
            return 0
        await asyncio.sleep(POLL_SECONDS)


async def _all(client: KubeClient, namespace: str) -> Render:
    try:
        page = await client.list(SERVICES.collection(namespace), resource=SERVICES.resource)
    except NotFound as error:
        raise CannotRun(not_installed(SERVICE)) from error
    items: list[Json] = msgspec.json.decode(page)["items"]
    if not items:
        where = f"in namespace {namespace}" if namespace else "in any namespace"
        return lambda now: f"there is no ImmutableService {where}"
    return lambda now: "\n".join(aligned(services(items, now, wide=not namespace)))


def services(items: Sequence[Json], now: float, *, wide: bool = False) -> list[tuple[str, ...]]:
    """Return the head and a row for each service; ``wide``: with its namespace."""
    rows = [(("NAMESPACE",) if wide else ()) + LIST]
    for item in items:
        meta, status = item["metadata"], item.get("status") or {}
        word, found = state(item)
        wanted = status.get("desiredReplicas", 0)
        cells = (
            *((meta["namespace"],) if wide else ()),
            meta["name"],
            word,
            str(status.get("currentRevision") or ""),
            f"{status.get('readyReplicas', 0)}/{wanted}",
            str(status.get("currentReplicas", 0)),
            str(status.get("staleReplicas", 0)),
            _ago(found.get("lastTransitionTime"), now),
            " ".join(str(found.get("message") or "").split()),
        )
        rows.append(tuple(visible(cell) or "-" for cell in cells))
    return rows


def state(item: Json) -> tuple[str, Json]:
    """Return the state in a word, and the condition that says so."""
    for kind in ("Ready", "Stalled", "Reconciling"):
        found = condition(item, kind)
        if found.get("status") == "True":
            return str(kind if kind == "Ready" else found["reason"]), found
    found = condition(item, "Ready")
    return str(found.get("reason") or "Unknown"), found


async def _one(owner: Owner) -> Render:
    try:
        owner = await owner.again()
    except NotFound:
        gone = f"{owner.kind.word} {owner.name} was deleted"
        return lambda now: gone
    records = await owner.records()
    try:
        page = await owner.client.list(
            PODS.collection(owner.namespace),
            resource=PODS.resource,
            labelSelector=f"{owner.kind.label}={owner.name}",
        )
    except Forbidden as error:
        denied = f"its pods cannot be listed: {error.message}; ask for the role view"
        return lambda now: "\n".join([*head(owner, records, now), denied])
    pods: list[Json] = msgspec.json.decode(page)["items"]

    def render(now: float) -> str:
        table = aligned(instances(owner, records, pods, now))
        return "\n".join([*head(owner, records, now), *(["", *table] if pods else [])])

    return render


def head(owner: Owner, records: Sequence[Json], now: float) -> list[str]:
    """Return what is said above the table: state, revision, counts, and what it waits for."""
    status = owner.status
    word, found = state(owner.body)
    by_id = {str(r["spec"]["revision"]): r for r in records}
    current = by_id.get(str(status.get("currentRevision")))
    since = _ago(found.get("lastTransitionTime"), now)
    message = found.get("message") or "the operator has not processed it yet"
    lines = [f"{owner.kind.word} {owner.name}: {word} since {since}: {message}"]
    if current is not None:
        spec, verdict = current["spec"], current.get("status") or {}
        before = by_id.get(str(verdict.get("takesOverFrom") or ""))
        replaced = f", takes over from revision {before['spec']['number']}" if before else ""
        lines.append(
            f"revision {spec['number']} ({spec['revision']}){replaced}: {spec['reason']}, by"
            f" {spec['by']}, {_ago(current['metadata']['creationTimestamp'], now)} ago"
        )
    counts = ("desired", "current", "ready", "available", "stale", "quarantined")
    numbers = [(name, status.get(f"{name}Replicas", 0)) for name in counts]
    lines.append(", ".join(f"{n} {name}" for name, n in numbers if n or name != "quarantined"))
    for blocker in status.get("blockers") or ():
        since = _ago(blocker["since"], now)
        lines.append(f"waits since {since}: {blocker['reason']}: {blocker['message']}")
    return [visible(" ".join(line.split())) for line in lines]


def instances(
    owner: Owner, records: Sequence[Json], pods: Sequence[Json], now: float
) -> list[tuple[str, ...]]:
    """Return the head and a row for each pod, by slot."""
    rows: list[tuple[str, ...]] = [ONE]
    numbers = {str(r["spec"]["revision"]): r["spec"]["number"] for r in records}
    for pod in _sorted(pods):
        [entry] = living([pod])
        number = numbers.get(entry.revision)
        word, because = pod_state(pod), stale(owner, entry)
        cells = (
            str(entry.slot),
            entry.name,
            f"{number} ({entry.revision})" if number else entry.revision,
            age(now - entry.born),
            f"{word}, {because}" if because and word != TERMINATING else word,
            entry.because,
            entry.replaces,
        )
        rows.append(tuple(visible(cell) or "-" for cell in cells))
    return rows


def stale(owner: Owner, entry: Entry) -> str:
    """Return in a word why an instance is to be replaced; "" if it is not."""
    for deviation in owner.status.get("deviations") or ():
        if deviation["instance"] == entry.name:
            return str(deviation["reason"])
    current = owner.status.get("currentRevision")
    return "Outdated" if current and entry.revision != current else ""


def _sorted(pods: Sequence[Json]) -> list[Json]:
    def key(pod: Json) -> tuple[int, float, str]:
        entry: Entry = living([pod])[0]
        return entry.slot, entry.born, entry.name

    return sorted(pods, key=key)


def pod_state(pod: Json) -> str:
    """Return the state of a pod in a few words, as far as possible as kubectl does."""
    status = pod.get("status") or {}
    if "deletionTimestamp" in pod["metadata"]:
        return TERMINATING
    for told in status.get("containerStatuses") or ():
        waits = ((told.get("state") or {}).get("waiting") or {}).get("reason")
        if waits:
            return str(waits)
    if condition(pod, "Ready").get("status") == "True":
        return "Ready"
    if condition(pod, "PodScheduled").get("status") == "False":
        return "Unschedulable"
    phase = str(status.get("phase") or "Unknown")
    return "NotReady" if phase == "Running" else phase


def _ago(text: Any, now: float) -> str:
    return age(now - moment(text)) if text else "?"
