"""``kubectl immutable get``: the state of services and pools, and of each instance of one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import msgspec

from immutable_operator.api.names import ANNOTATION_RETIRING, API_VERSION, TAINT_UNVERIFIED
from immutable_operator.cli.ancestry import NODES, PODS, living
from immutable_operator.cli.arguments import Say, add_login, add_output
from immutable_operator.cli.login import find_login
from immutable_operator.cli.objects import Json, annotation, condition
from immutable_operator.cli.owner import (
    CANNOT_RUN,
    Owner,
    Place,
    not_installed,
    with_client,
    with_owner,
)
from immutable_operator.cli.problem import CannotRun
from immutable_operator.cli.release import release_lines
from immutable_operator.cli.table import age, visible
from immutable_operator.cli.traffic import traffic_line
from immutable_operator.cli.watching import Render, Shown, follow
from immutable_operator.cli.written import written
from immutable_operator.domain.lineage import Entry
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import Forbidden, NotFound
from immutable_operator.kube.times import moment
from immutable_operator.wire.owner import POOL, SERVICE, OwnerKind

__all__ = ["add", "head", "instances", "pod_state", "run", "services", "stale", "state"]

LIST = ("NAME", "STATUS", "REVISION", "READY", "CURRENT", "STALE", "SINCE", "MESSAGE")
ONE = ("SLOT", "POD", "REV", "AGE", "STATE", "BECAUSE", "REPLACES")
TERMINATING = "Terminating"
PLURALS = {"service": "pods", "pool": "nodes"}


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "get",
        description="Without a name: the services of a namespace. With a name: the state of the"
        " service and since when it lasts, what it waits for, and for each pod its slot, revision,"
        " age and state, why it was created and which pod it replaces. With --pool: the same for"
        " node pools and their nodes.",
        epilog="Exit codes: 0 shown, 2 cannot run.",
    )
    add = command.add_argument
    add("name", metavar="NAME", nargs="?", default="", help="name of the ImmutableService [all]")
    add("--all-namespaces", "-A", action="store_true", help="services of all namespaces")
    add("--pool", action="store_true", help="node pools: NAME is that of an ImmutableNodePool")
    add(
        "--watch",
        "-w",
        action="store_true",
        help="redraw until Ctrl-C; if the output is not a terminal, print one line for each change",
    )
    add_output(command, "json", "yaml", "name")
    add_login(command, "namespace of the service [the context's]")
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Print the state and return the exit code."""
    if given.watch and given.output != "table":
        say("error: --watch shows a table; leave out --watch or --output")
        return CANNOT_RUN
    login = find_login(given.kubeconfig, given.context)
    namespace = given.namespace or ("" if given.pool else login.namespace())
    if given.name:

        async def one(owner: Owner) -> int:
            if given.output != "table":
                show(written([owner.body, *await _instances(owner)], given.output))
                return 0
            return await follow(lambda: _one(owner), given.watch, say, show)

        return await with_owner(Place(login, given.name, namespace, given.pool), one, say)
    kind = POOL if given.pool else SERVICE

    async def all_(client: KubeClient) -> int:
        where = "" if given.all_namespaces or given.pool else namespace
        if given.output != "table":
            show(written(await _list(client, kind, where), given.output))
            return 0
        return await follow(lambda: _all(client, kind, where), given.watch, say, show)

    return await with_client(login, all_, say)


async def _list(client: KubeClient, kind: OwnerKind, namespace: str) -> list[Json]:
    path = kind.path.collection(namespace) if namespace else kind.path.all()
    try:
        page = await client.list(path, resource=kind.path.resource)
    except NotFound as error:
        raise CannotRun(not_installed(kind)) from error
    found: list[Json] = msgspec.json.decode(page)["items"]
    return [{"apiVersion": API_VERSION, "kind": kind.name, **item} for item in found]


async def _all(client: KubeClient, kind: OwnerKind, namespace: str) -> Render:
    items = await _list(client, kind, namespace)
    if not items:
        where = f" in namespace {namespace}" if namespace else ""
        where = where or (" in any namespace" if kind.is_namespaced else "")
        return lambda now: Shown([f"there is no {kind.name}{where}"])
    wide = kind.is_namespaced and not namespace
    return lambda now: Shown(table=services(items, now, wide=wide), key=int(wide))


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
        return lambda now: Shown([gone])
    records = await owner.records()
    try:
        items = await _instances(owner)
    except Forbidden as error:
        denied = f"its {PLURALS[owner.kind.word]} cannot be listed: {error.message}; ask for the"
        return lambda now: Shown([*head(owner, records, now), f"{denied} role view"])

    def render(now: float) -> Shown:
        table = instances(owner, records, items, now)
        return Shown(head(owner, records, now), table if items else (), key=1)

    return render


async def _instances(owner: Owner) -> list[Json]:
    """Return the pods or nodes of an owner. Raises `ApiError`."""
    is_pod = owner.kind.is_namespaced
    path = PODS.collection(owner.namespace) if is_pod else NODES.all()
    page = await owner.client.list(
        path,
        resource=PLURALS[owner.kind.word],
        labelSelector=f"{owner.kind.label}={owner.name}",
    )
    found: list[Json] = msgspec.json.decode(page)["items"]
    kind = "Pod" if is_pod else "Node"
    return [{"apiVersion": "v1", "kind": kind, **item} for item in found]


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
        lines += release_lines(owner.body, verdict)
    if told := traffic_line(owner.body, records):
        lines.append(f"traffic: {told}")
    counts = ("desired", "current", "ready", "available", "stale", "quarantined")
    numbers = [(name, status.get(f"{name}Replicas", 0)) for name in counts]
    lines.append(", ".join(f"{n} {name}" for name, n in numbers if n or name != "quarantined"))
    for blocker in status.get("blockers") or ():
        since = _ago(blocker["since"], now)
        lines.append(f"waits since {since}: {blocker['reason']}: {blocker['message']}")
    return [visible(" ".join(line.split())) for line in lines]


def instances(
    owner: Owner, records: Sequence[Json], items: Sequence[Json], now: float
) -> list[tuple[str, ...]]:
    """Return the head and a row for each pod or node, by slot."""
    is_pod = owner.kind.is_namespaced
    rows: list[tuple[str, ...]] = [ONE if is_pod else (ONE[0], "NODE", *ONE[2:])]
    numbers = {str(r["spec"]["revision"]): r["spec"]["number"] for r in records}
    for item in _sorted(items):
        [entry] = living([item])
        number = numbers.get(entry.revision)
        word, because = (pod_state if is_pod else node_state)(item), stale(owner, entry)
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


def node_state(node: Json) -> str:
    """Return the state of a node of a pool in a word."""
    if "deletionTimestamp" in node["metadata"]:
        return TERMINATING
    if annotation(node, ANNOTATION_RETIRING):
        return "Draining"
    taints = (node.get("spec") or {}).get("taints") or ()
    if any(taint.get("key") == TAINT_UNVERIFIED for taint in taints):
        return "Unverified"
    return "Ready" if condition(node, "Ready").get("status") == "True" else "NotReady"


def _ago(text: Any, now: float) -> str:
    return age(now - moment(text)) if text else "?"
