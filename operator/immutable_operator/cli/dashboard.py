"""``kubectl immutable dashboard``: a page in the browser that shows what happens, live."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import webbrowser
from typing import Any

from immutable_operator.cli.arguments import Say, add_login, place
from immutable_operator.cli.login import Login, find_login
from immutable_operator.cli.owner import CANNOT_RUN, Owner, not_installed, with_client, with_owner
from immutable_operator.cli.problem import CannotRun
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import NotFound
from immutable_operator.wire.owner import SERVICE, SERVICES

__all__ = ["TO_STOP", "add", "run"]

MOST_PORT = 65535
TO_STOP = "To stop the dashboard, press Ctrl-C."


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "dashboard",
        description="Serves a page on 127.0.0.1 and opens it in the browser. It shows all services"
        " and pools with their state, and for the selected one: its instances over time and why"
        " they were replaced, freezes and windows, what it waits for, and the outcomes of its"
        " revisions. It runs until Ctrl-C, and only reads, with your permissions.",
        epilog="Exit codes: 130 ended by Ctrl-C, 2 cannot run.",
    )
    add = command.add_argument
    add("name", metavar="NAME", nargs="?", default="", help="show this ImmutableService first")
    add("--pool", action="store_true", help="NAME is the name of an ImmutableNodePool")
    add("--all-namespaces", "-A", action="store_true", help="services of all namespaces")
    add("--port", type=_port, default=0, help="port on 127.0.0.1 [a free one]")
    add("--no-browser", action="store_true", help="only print the address")
    add_login(command, "namespace of the services [the context's]; with --pool: the operator's")
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Serve until it is interrupted."""
    login = find_login(given.kubeconfig, given.context)
    where = "" if given.all_namespaces else given.namespace or login.namespace()

    async def named(owner: Owner) -> int:
        home = "" if given.all_namespaces else owner.namespace
        kind = owner.kind
        path = f"#/{kind.word}/{owner.namespace if kind.is_namespaced else ''}/{owner.name}"
        return await _serve(owner.client, (_context(login), home), path, given, show)

    async def all_(client: KubeClient) -> int:
        await _check(client, where)
        return await _serve(client, (_context(login), where), "", given, show)

    if given.name:
        return await with_owner(place(given), named, say)
    if given.pool:
        say("error: --pool needs the name of a node pool; list all with: kubectl get imnp")
        return CANNOT_RUN
    return await with_client(login, all_, say)


async def _check(client: KubeClient, namespace: str) -> None:
    """Fail with a sentence if the services cannot be listed. Raises `ApiError`, `CannotRun`."""
    try:
        await client.list(SERVICES.collection(namespace), resource=SERVICES.resource, limit=1)
    except NotFound as error:
        raise CannotRun(not_installed(SERVICE)) from error


async def _serve(
    client: KubeClient, where: tuple[str, str], path: str, given: argparse.Namespace, show: Say
) -> int:
    """Serve the page; ``where`` are a context and a namespace."""
    # The server takes long to import, and --help and completion need none.
    from immutable_operator.cli.dashboard_server import Server, Shown
    from immutable_operator.cli.dashboard_world import World

    shown = Shown(*where)
    world = World(client, shown.namespace)
    server = Server(world, shown, given.port)
    await server.start()
    try:
        show(f"dashboard: {server.url(path)}")
        show(f"Do not share this address: it contains a secret. {TO_STOP}")
        if not given.no_browser:
            await asyncio.to_thread(_browse, f"{server.ticket_url}{path}")
        await world.run()
    finally:
        await server.stop()
    return 0


def _browse(url: str) -> None:
    """Open a browser with windows; one in the terminal would take the terminal."""
    desktop = sys.platform in ("darwin", "win32") or any(
        map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME"))
    )
    if desktop:
        webbrowser.open(url)


def _context(login: Login) -> str:
    return login.context or "the service account of this pod"


def _port(text: str) -> int:
    if not 0 <= (port := int(text)) <= MOST_PORT:
        raise ValueError
    return port


_port.__name__ = f"port from 0 to {MOST_PORT}"
