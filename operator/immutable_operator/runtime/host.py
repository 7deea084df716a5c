"""The kopf host: watches our custom resources without writing to them.

It uses only ``on.event`` handlers that return nothing and touch no patch, null storages, no posting
and no peering: each of these would write to the user's object. kopf does not report objects that
vanish while it lists again, so `sweep` lists them from time to time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf
import msgspec
from kubernetes.aio.client import Configuration

from immutable_operator.api.names import GROUP, VERSION
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import Unreachable
from immutable_operator.kube.messages import Page, Unreadable, read
from immutable_operator.kube.reader import Reader
from immutable_operator.kube.reading import READ_ERRORS, Identity
from immutable_operator.kube.store import Owners
from immutable_operator.wire.owner import OwnerKind, OwnerRecord

__all__ = ["OwnerReader", "run_kopf", "sweep"]

LOGIN_SECONDS = 600
IDENTITY: Any = "immutable-operator"  # never shown: peering is off
PAGE = 500


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
    """List all owners of a kind once and make the store equal to the list; return how many it
    lacked.

    An owner that cannot be read keeps its last known state. Raises `ApiError`, also for a response
    that is no list.
    """
    path = of.kind.path
    records: list[OwnerRecord] = []
    unread: set[str] = set()
    token, version = "", 0
    while True:
        query: dict[str, Any] = {"limit": PAGE, **({"continue": token} if token else {})}
        body = await client.list(path.all(), resource=path.resource, **query)
        try:
            page = read(body, Page)
            version = version or page.version
        except Unreadable as error:
            raise Unreachable(
                0, "Unreadable", f"the response is not a list of {path.resource}: {error}"
            ) from error
        for raw in page.items or ():
            record = of.reader.read(raw)
            if record is None:
                unread.add(Identity.of(raw).uid)
            else:
                records.append(record)
        before, token = token, page.successor
        if not token:
            return owners.sweep(records, version, unread, of.owns)
        if token == before:
            raise Unreachable(0, "Unreadable", f"the list of {path.resource} never ends")
        await asyncio.sleep(0)
