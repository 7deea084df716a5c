"""``kubectl immutable freeze`` and ``unfreeze``: hold rollouts and regeneration for a while."""

from __future__ import annotations

import argparse
import re
import time
from typing import Any

import msgspec

from immutable_operator.api.duration import seconds
from immutable_operator.api.names import API_VERSION, FREEZE_KIND
from immutable_operator.cli.action import PLUGIN
from immutable_operator.cli.arguments import Say, add_login
from immutable_operator.cli.login import find_login
from immutable_operator.cli.objects import Json
from immutable_operator.cli.owner import not_installed, with_client
from immutable_operator.cli.problem import CannotRun
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import Conflict, Invalid, NotFound
from immutable_operator.kube.times import moment, second
from immutable_operator.wire.freeze import FREEZES
from immutable_operator.wire.owner import SERVICE

__all__ = ["add", "add_unfreeze", "freeze", "freeze_body", "unfreeze"]

EVERYWHERE = "all"
DURATION = re.compile(r"[1-9][0-9]{0,4}[smhd]")


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "freeze",
        description="Creates an ImmutableFreeze: until it ends, changes of templates are not rolled"
        " out, and pods are not replaced because of their age. Repairs continue, and so does the"
        " return to the last good revision. A freeze selects services by namespace and label; to"
        " freeze a single service, give it a label of its own and use --selector.",
        epilog="Exit codes: 0 created, 2 cannot run.",
    )
    _add_freeze(command, "freeze to create")
    command.add_argument(
        "--reason",
        required=True,
        help="reason, which is shown in the status of each frozen service",
    )
    end = command.add_mutually_exclusive_group(required=True)
    end.add_argument("--for", dest="lasts", type=_duration, help="duration, such as 90m, 4h or 2d")
    end.add_argument(
        "--until", type=_time, help="end as an RFC 3339 time, such as 2026-12-27T06:00:00Z"
    )
    command.add_argument(
        "--selector",
        "-l",
        type=_labels,
        default=None,
        help="only services and pools with these labels: KEY=VALUE[,KEY=VALUE]",
    )
    command.add_argument(
        "--repairs",
        action="store_true",
        help="do not replace pods that were modified in place either",
    )
    command.set_defaults(run=freeze)


def add_unfreeze(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "unfreeze",
        description="Deletes an ImmutableFreeze, so that the rollouts that it delayed start.",
        epilog="Exit codes: 0 ended, 2 cannot run.",
    )
    _add_freeze(command, "freeze to delete")
    command.set_defaults(run=unfreeze)


def _add_freeze(parser: argparse.ArgumentParser, what: str) -> None:
    named = f'name of the {what} [the name of the namespace; with -A "{EVERYWHERE}"]'
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help=named)
    parser.add_argument(
        "--all-namespaces", "-A", action="store_true", help="in all namespaces, and node pools"
    )
    add_login(parser, "namespace to freeze [the context's]")


async def freeze(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Create the freeze and return the exit code."""
    login = find_login(given.kubeconfig, given.context)
    namespace = _namespace(given)
    until = time.time() + given.lasts if given.lasts else given.until
    body = freeze_body(
        given.name or namespace or EVERYWHERE,
        namespace,
        given.selector,
        until=until,
        reason=given.reason,
        repairs=given.repairs,
    )
    name = body["metadata"]["name"]

    async def work(client: KubeClient) -> int:
        try:
            await client.create(FREEZES.all(), body, resource=FREEZES.resource, manager=PLUGIN)
        except NotFound as error:
            raise CannotRun(not_installed(SERVICE)) from error
        except Conflict as error:
            raise CannotRun(
                f"freeze {name} exists already; end it with: kubectl immutable unfreeze {name},"
                " or give this one another name"
            ) from error
        except Invalid as error:
            raise CannotRun(f"the freeze is not valid: {error.message}") from error
        show(f"{FREEZES.resource.removesuffix('s')}.immutable.dev/{name} created")
        where = f"namespace {namespace}" if namespace else "all namespaces, and node pools"
        say(f"{where}: frozen until {second(until)}; to end it: kubectl immutable unfreeze {name}")
        return 0

    return await with_client(login, work, say)


async def unfreeze(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Delete the freeze and return the exit code."""
    login = find_login(given.kubeconfig, given.context)
    name = given.name or _namespace(given) or EVERYWHERE

    async def work(client: KubeClient) -> int:
        try:
            await client.delete(FREEZES.item("", name), {}, resource=FREEZES.resource)
        except NotFound as error:
            if not error.name:
                raise CannotRun(not_installed(SERVICE)) from error
            others = await _listed(client)
            raise CannotRun(f"there is no freeze {name}; there are: {others}") from error
        show(f"{FREEZES.resource.removesuffix('s')}.immutable.dev/{name} deleted")
        return 0

    return await with_client(login, work, say)


def _namespace(given: argparse.Namespace) -> str:
    """Return the namespace to freeze; "" for all."""
    if given.all_namespaces:
        return ""
    return given.namespace or find_login(given.kubeconfig, given.context).namespace()


async def _listed(client: KubeClient) -> str:
    page = await client.list(FREEZES.all(), resource=FREEZES.resource)
    names = [item["metadata"]["name"] for item in msgspec.json.decode(page)["items"]]
    return ", ".join(names) or "none"


def freeze_body(
    name: str,
    namespace: str,
    labels: Json | None,
    *,
    until: float,
    reason: str,
    repairs: bool = False,
) -> Json:
    """Return the ImmutableFreeze; ``until`` in seconds since the epoch, ``namespace`` "": all."""
    selects: Json = {"namespaces": [namespace]} if namespace else {}
    if labels:
        selects["matchLabels"] = labels
    if repairs:
        selects["freezeRepairs"] = True
    return {
        "apiVersion": API_VERSION,
        "kind": FREEZE_KIND,
        "metadata": {"name": name},
        "spec": {**selects, "until": second(until), "reason": reason},
    }


def _duration(text: str) -> float:
    if not DURATION.fullmatch(text):
        raise ValueError
    return seconds(text)


def _time(text: str) -> float:
    return moment(text)


def _labels(text: str) -> Json:
    pairs = [part.split("=", 1) for part in text.split(",")]
    if any(len(pair) != 2 or not pair[0] for pair in pairs):
        raise ValueError
    return {key.strip(): value.strip() for key, value in pairs}


_duration.__name__ = "duration"
_time.__name__ = "RFC 3339 time"
_labels.__name__ = "list of labels"
