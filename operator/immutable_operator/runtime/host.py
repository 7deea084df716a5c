"""The kopf host: watches our custom resources without writing to them.

It uses only ``on.event`` handlers that return nothing and touch no patch, null storages, no posting
and no peering: each of these would write to the user's object. kopf does not report objects that
vanish while it lists again, so `sweep` lists them from time to time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf
import msgspec
from kubernetes.aio.client import Configuration

from immutable_operator.api.names import GROUP, VERSION
from immutable_operator.kube.client import JSON, METADATA_LIST, KubeClient
from immutable_operator.kube.errors import Unreachable
from immutable_operator.kube.messages import Page, Unreadable, read
from immutable_operator.kube.reader import Reader
from immutable_operator.kube.reading import READ_ERRORS, Identity, version_of
from immutable_operator.kube.store import Owners
from immutable_operator.wire.owner import OwnerKind, OwnerRecord

__all__ = ["OwnerReader", "run_kopf", "sweep"]

LOGIN_SECONDS = 600
IDENTITY: Any = "immutable-operator"  # never shown: peering is off
PAGE = 500
# How long a watch may bring nothing of what is missing before all is listed, and between looks.
NO_PROGRESS_SECONDS = 1.0
PROGRESS_SECONDS = 0.05


@dataclass(frozen=True)
class OwnerReader:
    """Reads owners of one kind. ``home`` is the namespace of those whose kind has none."""

    kind: OwnerKind
    reader: Reader[OwnerRecord]
    home: str

    @classmethod
    def of(
        cls, kind: OwnerKind, count: Callable[[str], None] = lambda _: None, home: str = ""
    ) -> OwnerReader:
        """Return a reader; ``count`` is called for each unreadable version of an owner."""

        def decode(raw: bytes | msgspec.Raw) -> OwnerRecord:
            return OwnerRecord.of(msgspec.json.decode(raw), kind, home)

        return cls(kind, Reader(kind.path.resource, decode, count), home)

    def owns(self, owner: OwnerRecord) -> bool:
        """Return whether an owner is of this kind."""
        return owner.kind is self.kind


class _NoDiffBase(kopf.DiffBaseStorage):
    """Stores nothing, so that no ``last-handled-configuration`` is written or copied."""

    def build(
        self, *, body: kopf.Body, extra_fields: Any = None, ignored_fields: Any = None
    ) -> Any:
        return {}

    def fetch(self, *, body: kopf.Body) -> Any:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """Stores nothing: event handlers have no progress."""

    def fetch(self, *, key: Any, body: kopf.Body) -> Any:
        return None

    def store(self, *, key: Any, record: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        return None

    def purge(self, *, key: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        return None

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence

    def flush(self) -> None:
        return None


async def run_kopf(
    login: Callable[[], Awaitable[Configuration]],
    owners: Owners[OwnerRecord],
    ready: asyncio.Event,
    stop: asyncio.Event,
    readers: Iterable[OwnerReader],
) -> None:
    """Feed ``owners`` from kopf's watches until ``stop`` is set or a signal ends kopf."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def connect(**_: object) -> kopf.ConnectionInfo:
        return connection(await login())

    for one in readers:
        _observe(registry, owners, one)

    logging.getLogger("kopf").setLevel(logging.WARNING)
    await kopf.operator(
        registry=registry,
        settings=_settings(),
        clusterwide=True,
        standalone=True,
        # Otherwise kopf looks up the user name, and an arbitrary uid in a container has none.
        identity=IDENTITY,
        ready_flag=ready,
        stop_flag=stop,
    )


def _observe(
    registry: kopf.OperatorRegistry, owners: Owners[OwnerRecord], reader: OwnerReader
) -> None:
    @kopf.on.event(GROUP, VERSION, reader.kind.path.resource, registry=registry)
    async def observe(body: kopf.Body, type: str | None, **_: object) -> None:  # noqa: A002
        if type == "DELETED":
            owners.remove(body["metadata"]["uid"])
            return
        try:
            record = OwnerRecord.of(dict(body), reader.kind, reader.home)
        except READ_ERRORS as error:
            # The last known state stays; kopf continues with the next event.
            meta = body.get("metadata")
            reader.reader.tell(Identity.of(msgspec.json.encode({"metadata": meta})), error)
        else:
            owners.upsert(record)


def connection(configuration: Configuration) -> kopf.ConnectionInfo:
    """Return the connection and login of our own client for kopf; it expires in ten minutes."""
    # The loader sets "bearer <token>" in a pod, and "Bearer <token>" from a kubeconfig.
    key: str = configuration.api_key.get("BearerToken", "")
    token = key.rpartition(" ")[2].strip()
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme="Bearer" if token else None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        expiration=datetime.now(UTC) + timedelta(seconds=LOGIN_SECONDS),
    )


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.persistence.finalizer = f"{GROUP}/never-used"
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = _NoProgress()
    settings.queueing.idle_timeout = 0.05
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = PAGE
    settings.networking.request_timeout = 30
    # More 5xx errors than this end the process (kopf 1.45): outlast an API server's rollout.
    settings.networking.error_backoffs = (1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89)
    settings.process.ultimate_exiting_timeout = 20
    return settings


async def sweep(client: KubeClient, owners: Owners[OwnerRecord], of: OwnerReader) -> int:
    """Make the store equal to the API server's owners of a kind; return how many it lacked.

    First only versions are compared: most often nothing is missing, or the watch is just bringing
    it. An owner that cannot be read keeps its last known state. Raises `ApiError`, also for a
    response that is no list.
    """
    if await _is_shown(client, owners, of):
        return 0
    records: list[OwnerRecord] = []
    unread: set[str] = set()
    version = 0
    async for raws, at in _pages(client, of, JSON):
        version = at
        for raw in raws:
            record = of.reader.read(raw)
            if record is None:
                unread.add(Identity.of(raw).uid)
            else:
                records.append(record)
    return owners.sweep(records, version, unread, of.owns)


async def _is_shown(client: KubeClient, owners: Owners[OwnerRecord], of: OwnerReader) -> bool:
    """Return whether the watch shows all owners of a list of their metadata.

    As long as fewer and fewer are missing, the watch is waited for.
    """
    listed: dict[str, int] = {}
    version = 0
    async for raws, at in _pages(client, of, METADATA_LIST):
        version = at
        for which in map(Identity.of, raws):
            with contextlib.suppress(ValueError):
                listed[which.uid] = version_of(which.version)
    missing = owners.missing(listed, version, of.owns)
    until = time.monotonic() + NO_PROGRESS_SECONDS
    while missing and time.monotonic() < until:
        await asyncio.sleep(PROGRESS_SECONDS)
        before, missing = missing, owners.missing(listed, version, of.owns)
        if missing < before:
            until = time.monotonic() + NO_PROGRESS_SECONDS
    return not missing


async def _pages(
    client: KubeClient, of: OwnerReader, accept: str
) -> AsyncIterator[tuple[list[msgspec.Raw], int]]:
    """Yield the pages of a list of all owners of a kind, each with the version of the list."""
    path = of.kind.path
    token, version = "", 0
    while True:
        query: dict[str, Any] = {"limit": PAGE, **({"continue": token} if token else {})}
        body = await client.list(path.all(), resource=path.resource, accept=accept, **query)
        try:
            page = read(body, Page)
            version = version or page.version
        except Unreadable as error:
            raise Unreachable(
                0, "Unreadable", f"the response is not a list of {path.resource}: {error}"
            ) from error
        yield page.items or [], version
        before, token = token, page.successor
        if not token:
            return
        if token == before:
            raise Unreachable(0, "Unreadable", f"the list of {path.resource} never ends")
        await asyncio.sleep(0)
