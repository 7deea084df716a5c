"""The names that complete a command line: of services, pools, pods, revisions, contexts.

A person waits for them: what the cluster does not answer in `PATIENCE_SECONDS` is left out, and
so is every error. The client is imported before that time begins: from a cold disk that alone can
take as long, and then nothing would ever be offered.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from immutable_operator.api.names import LABEL_POOL, LABEL_SERVICE
from immutable_operator.cli.ancestry import NODES, PODS
from immutable_operator.cli.complete import Asked, Offers
from immutable_operator.cli.login import context_names, find_login
from immutable_operator.cli.objects import Json
from immutable_operator.cli.owner import with_client
from immutable_operator.cli.records import is_good, phase
from immutable_operator.kube.client import JSON, METADATA_LIST, KubeClient
from immutable_operator.kube.paths import ApiPath
from immutable_operator.wire.freeze import FREEZES
from immutable_operator.wire.owner import POOL, SERVICES
from immutable_operator.wire.revision import REVISIONS

__all__ = ["names"]

PATIENCE_SECONDS = 2.0
# What a login and a client import when they are needed.
CLIENT = ("kubernetes.aio.config.kube_config", "immutable_operator.kube.transport")
MOST = 500
NAMESPACES = ApiPath("api/v1", "namespaces")


Find = Callable[[KubeClient, Asked, str], Awaitable[Offers]]


async def names(asked: Asked) -> Offers:
    """Return the names that exist; none after any error."""
    try:
        if asked.kind == "CONTEXT":
            return [(name, "") for name in context_names(asked.given.get("kubeconfig"))]
        find = FREEZE_VERBS.get(asked.verb, FINDERS).get(asked.kind)
        if find is None:
            return []
        login = find_login(asked.given.get("kubeconfig"), asked.given.get("context"))
        namespace = asked.given.get("namespace") or login.namespace()
        found: Offers = []

        async def work(client: KubeClient) -> int:
            found.extend(await find(client, asked, namespace))
            return 0

        for module in CLIENT:
            importlib.import_module(module)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await with_client(login, work, lambda text: None)
        return found
    except Exception:
        # An error message would be written into the line that is being typed.
        return []


async def _owners(client: KubeClient, asked: Asked, namespace: str) -> Offers:
    if asked.is_pool:
        return await _list(client, POOL.path, "")
    return await _list(client, SERVICES, namespace)


async def _instances(client: KubeClient, asked: Asked, namespace: str) -> Offers:
    """The pods of the service before it, else of all services; or the nodes."""
    label = LABEL_POOL if asked.is_pool else LABEL_SERVICE
    owner = asked.given.get("name")
    selector = f"{label}={owner}" if owner else label
    if asked.is_pool:
        return await _list(client, NODES, "", selector)
    return await _list(client, PODS, namespace, selector)


async def _both(client: KubeClient, asked: Asked, namespace: str) -> Offers:
    owners = await _owners(client, asked, namespace)
    return [*owners, *await _instances(client, asked, namespace)]


async def _revisions(client: KubeClient, asked: Asked, namespace: str) -> Offers:
    """The numbers of the revisions of the owner before it, the newest first."""
    owner = asked.given.get("name")
    if not owner:
        return []
    label = LABEL_POOL if asked.is_pool else LABEL_SERVICE
    home = asked.given.get("namespace", "") if asked.is_pool else namespace
    items = await _items(client, REVISIONS, home, f"{label}={owner}", accept=JSON)
    records = sorted(items, key=lambda record: -int(record["spec"]["number"]))
    return [
        (str(r["spec"]["number"]), f"{r['spec']['revision']} {phase(r)}")
        for r in records
        if is_good(r) or asked.verb != "undo"
    ]


async def _freezes(client: KubeClient, asked: Asked, namespace: str) -> Offers:
    return await _list(client, FREEZES, "")


async def _namespaces(client: KubeClient, asked: Asked, namespace: str) -> Offers:
    return await _list(client, NAMESPACES, "")


async def _list(client: KubeClient, path: ApiPath, namespace: str, selector: str = "") -> Offers:
    items = await _items(client, path, namespace, selector)
    return [(str(item["metadata"]["name"]), "") for item in items]


async def _items(
    client: KubeClient, path: ApiPath, namespace: str, selector: str, accept: str = METADATA_LIST
) -> list[Json]:
    query: dict[str, str | int] = {"limit": MOST}
    if selector:
        query["labelSelector"] = selector
    url = path.collection(namespace)
    page = await client.list(url, resource=path.resource, accept=accept, **query)
    return msgspec.json.decode(page).get("items") or []


# By the name of the argument in the usage of a verb.
FINDERS: Mapping[str, Find] = {
    "NAME": _owners,
    "NAME|POD": _both,
    "POD": _instances,
    "INSTANCE": _instances,
    "N": _revisions,
    "M": _revisions,
    "REV": _revisions,
    "NAMESPACE": _namespaces,
}
# Their NAME is that of a freeze; the one to create is new.
FREEZE_VERBS: Mapping[str, Mapping[str, Find]] = {
    "freeze": {"NAMESPACE": _namespaces},
    "unfreeze": {"NAME": _freezes, "NAMESPACE": _namespaces},
}
