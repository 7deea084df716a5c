"""``kubectl immutable version``: of the plug-in, the API server and the operator."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from typing import Any

import msgspec

from immutable_operator.cli.arguments import Say, add_login, add_output
from immutable_operator.cli.login import find_login
from immutable_operator.cli.objects import Json
from immutable_operator.cli.owner import with_client
from immutable_operator.cli.written import as_text
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import Forbidden
from immutable_operator.kube.paths import ApiPath

__all__ = ["DEPLOYMENTS", "OPERATOR", "add", "deployment", "image_of", "plugin_version", "run"]

DEPLOYMENTS = ApiPath("apis/apps/v1", "deployments")
# Unlike the name, values of the chart do not change these.
OPERATOR = "app.kubernetes.io/part-of=immutable-operator,app.kubernetes.io/component=operator"
UNKNOWN = "unknown (you cannot list the Deployments of all namespaces)"


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "version",
        description="Prints the versions of the plug-in, the operator and the API server.",
        epilog="Exit codes: 0 printed, 2 cannot run.",
    )
    command.add_argument(
        "--client",
        action="store_true",
        help="print only the version of the plug-in, without contacting the cluster",
    )
    add_output(command, "json", "yaml")
    add_login(command, "without effect: no namespace is used")
    command.set_defaults(run=run)


def plugin_version() -> str:
    return version("immutable-operator")


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Print the versions and return the exit code."""
    is_table = given.output == "table"
    versions = {"plugin": plugin_version()}
    if is_table:
        # Before the cluster is asked, which may not answer.
        show(f"plug-in:    {versions['plugin']}")
    elif given.client:
        show(as_text(versions, given.output))
    if given.client:
        return 0

    async def work(client: KubeClient) -> int:
        server: Json = msgspec.json.decode(await client.get("/version", resource=""))
        versions["operator"] = await _operator(client)
        versions["apiServer"] = str(server.get("gitVersion"))
        if is_table:
            show(f"operator:   {versions['operator']}")
            show(f"API server: {versions['apiServer']}")
        else:
            show(as_text(versions, given.output))
        return 0

    return await with_client(find_login(given.kubeconfig, given.context), work, say)


async def _operator(client: KubeClient) -> str:
    try:
        found = await deployment(client)
    except Forbidden:
        return UNKNOWN
    if found is None:
        return "unknown (no Deployment has its label)"
    labels = found["metadata"].get("labels") or {}
    return f"{labels.get('app.kubernetes.io/version', 'unknown')} ({image_of(found)})"


async def deployment(client: KubeClient) -> Json | None:
    """Return the operator's Deployment; None if there is none. Raises `ApiError`."""
    page = await client.list(
        DEPLOYMENTS.all(), resource=DEPLOYMENTS.resource, labelSelector=OPERATOR
    )
    items: list[Json] = msgspec.json.decode(page)["items"]
    return items[0] if items else None


def image_of(found: Json) -> str:
    """Return the image of the operator's container."""
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"])
