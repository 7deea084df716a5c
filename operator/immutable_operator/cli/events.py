"""``kubectl immutable events``: what happened to a service and to its pods, oldest first."""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from immutable_operator.api.names import INSTANCE_NAME
from immutable_operator.cli.ancestry import owner_of
from immutable_operator.cli.arguments import Say, add_login, add_output
from immutable_operator.cli.login import find_login
from immutable_operator.cli.objects import Json
from immutable_operator.cli.owner import CANNOT_RUN, with_client
from immutable_operator.cli.table import age, aligned, visible
from immutable_operator.cli.written import written
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.times import moment

__all__ = ["add", "concerning", "rows", "run"]

EVENTS = ApiPath("api/v1", "events")
HEADS = ("LAST SEEN", "TYPE", "REASON", "OBJECT", "COUNT", "MESSAGE")
OURS = ("ImmutableService", "ImmutableNodePool")
POLL_SECONDS = 2.0


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "events",
        description="Lists the events of a service or node pool and of its pods, including pods"
        " that are gone, oldest first. The API server keeps events for an hour by default; lineage"
        " and history go back further.",
        epilog="Exit codes: 0 listed, 2 cannot run.",
    )
    named = "name of a service, a node pool or a pod [all of the namespace]"
    command.add_argument("name", metavar="NAME|POD", nargs="?", default="", help=named)
    command.add_argument(
        "--watch", "-w", action="store_true", help="continue with new events until Ctrl-C"
    )
    add_output(command, "json", "yaml", "name")
    add_login(command, "namespace of the service [the context's]; of pools: the operator's")
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """List the events and return the exit code."""
    if given.watch and given.output != "table":
        say("error: --watch shows a table; leave out --watch or --output")
        return CANNOT_RUN
    login = find_login(given.kubeconfig, given.context)
    namespace = given.namespace or login.namespace()

    async def work(client: KubeClient) -> int:
        found = concerning(await _read(client, namespace), given.name)
        if given.output != "table":
            typed = [{"apiVersion": "v1", "kind": "Event", **event} for event in found]
            show(written(typed, given.output))
            return 0
        if found:
            show("\n".join(aligned([HEADS, *rows(found, time.time())])))
        elif not given.watch:
            of = f" of {given.name}" if given.name else ""
            say(f"there are no events{of} in namespace {namespace}; the API server keeps them for")
            say("an hour by default; lineage and history go back further")
        seen = {_version(e) for e in found}
        while given.watch:
            await asyncio.sleep(POLL_SECONDS)
            fresh = concerning(await _read(client, namespace), given.name)
            fresh = [e for e in fresh if _version(e) not in seen]
            seen |= {_version(e) for e in fresh}
            for row in rows(fresh, time.time()):
                show("   ".join(row))
        return 0

    return await with_client(login, work, say)


async def _read(client: KubeClient, namespace: str) -> list[Json]:
    page = await client.list(EVENTS.collection(namespace), resource=EVENTS.resource)
    items: list[Json] = msgspec.json.decode(page)["items"]
    return items


def _version(event: Json) -> tuple[str, str]:
    return event["metadata"]["uid"], event["metadata"]["resourceVersion"]


def concerning(events: Iterable[Json], name: str) -> list[Json]:
    """Return the events of an owner and its instances, or of one instance, oldest first.

    Without a name: those of all owners and instances.
    """
    return sorted((e for e in events if _concerns(e["involvedObject"], name)), key=_seen)


def _concerns(concerned: Json, name: str) -> bool:
    kind, found = concerned.get("kind", ""), str(concerned.get("name", ""))
    is_instance = kind in ("Pod", "Node") and re.search(INSTANCE_NAME, found) is not None
    if not name:
        return kind in OURS or is_instance
    if owner_of(name) != name:
        return found == name
    return (kind in OURS and found == name) or (is_instance and owner_of(found) == name)


def _seen(event: Json) -> float:
    """Return when it was last seen: fields that clients leave empty differ."""
    series = event.get("series") or {}
    for text in (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    ):
        if text:
            return moment(text)
    return 0.0


def rows(events: Iterable[Json], now: float) -> list[tuple[str, ...]]:
    """Return a row for each event; ``now`` in seconds since the epoch."""
    found = []
    for event in events:
        concerned = event["involvedObject"]
        cells = (
            age(now - _seen(event)),
            str(event.get("type") or ""),
            str(event.get("reason") or ""),
            f"{str(concerned.get('kind', '')).lower()}/{concerned.get('name', '')}",
            str((event.get("series") or {}).get("count") or event.get("count") or 1),
            " ".join(str(event.get("message") or "").split()),
        )
        found.append(tuple(visible(cell) or "-" for cell in cells))
    return found
