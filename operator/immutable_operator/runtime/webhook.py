"""The break-glass webhook of one replica: every replica serves, the leader renews certificates."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from kubernetes.aio.client import Configuration

from immutable_operator.admission.certificates import Pair
from immutable_operator.admission.endpoint import Endpoint, load_certificate, new_context
from immutable_operator.admission.marking import Marker
from immutable_operator.admission.rotation import (
    Keys,
    RotationTimes,
    read_keys,
    rotate,
    write_keys,
)
from immutable_operator.api.names import FIELD_MANAGER
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Conflict, NotFound
from immutable_operator.kube.lease import NotLeader
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reading import READ_ERRORS
from immutable_operator.runtime.metrics import Metrics

__all__ = ["Webhook", "WebhookOptions"]

log = structlog.get_logger()
SECRETS = ApiPath("api/v1", "secrets")
CONFIGURATIONS = "validatingwebhookconfigurations"
CONFIGURATION_PATH = f"/apis/admissionregistration.k8s.io/v1/{CONFIGURATIONS}"
HOOK = "break-glass.immutable.dev"
REQUEST_SECONDS = 5.0


@dataclass(frozen=True)
class WebhookOptions:
    """Where to serve, and the objects of the chart that belong to it.

    ``service``, ``secret`` and ``configuration`` are names; ``names`` are additional DNS names and
    IP addresses of the certificate; ``poll`` is the interval in seconds for reading the Secret.
    """

    listen: str
    service: str
    secret: str
    configuration: str
    names: tuple[str, ...] = ()
    times: RotationTimes = field(default_factory=RotationTimes)
    poll: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.poll * 2 <= self.times.settle.total_seconds():
            raise ValueError(
                f"polling every {self.poll:g} s is too slow for a settle time of"
                f" {self.times.settle}; set an interval above 0 and of at most half of it"
            )


class Webhook:
    """The webhook of this replica.

    Parameters
    ----------
    configuration
        Connection and login, for a client of its own: not fenced, since a standby serves too.
    namespace
        The namespace of the Service and the Secret.
    """

    def __init__(
        self,
        options: WebhookOptions,
        configuration: Configuration,
        namespace: str,
        metrics: Metrics,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._options = options
        self._clock = clock
        self._metrics = metrics
        self._client = KubeClient(
            configuration, timeout=REQUEST_SECONDS, count=metrics.count_request
        )
        self._endpoint = Endpoint(Marker(self._client, clock).mark, metrics.count_review)
        self._context = new_context()
        self._secret = SECRETS.item(namespace, options.secret)
        self._configuration = f"{CONFIGURATION_PATH}/{options.configuration}"
        self._names = (f"{options.service}.{namespace}.svc", *options.names)
        self._served: Pair | None = None
        self._trouble = ""

    @property
    def serving(self) -> bool:
        return self._served is not None

    async def run(self) -> None:
        """Serve as soon as there is a certificate; switch to a new one soon after it is stored."""
        try:
            while True:
                try:
                    await self._load()
                except (ApiError, *READ_ERRORS) as error:
                    self._tell("the Secret of the webhook cannot be read", error)
                # The leader creates the first certificate within seconds.
                await asyncio.sleep(
                    self._options.poll if self._served else min(1.0, self._options.poll)
                )
        finally:
            await self._endpoint.stop()
            await self._client.close()

    async def renew(self, client: KubeClient) -> None:
        """Do the leader's part, with its fenced client: create certificates, publish their CAs."""
        while True:
            try:
                await self._rotate(client)
            except (Conflict, NotLeader):
                pass  # another replica leads, or did so a moment ago: try again
            except (ApiError, *READ_ERRORS) as error:
                self._tell("the certificates of the webhook cannot be renewed", error)
            await asyncio.sleep(self._options.poll)

    async def _load(self) -> None:
        body = await self._client.get(self._secret, resource=SECRETS.resource)
        pair = read_keys(_texts(msgspec.json.decode(body))).serving
        if pair is None or pair == self._served:
            return
        load_certificate(self._context, pair.certificate, pair.key)
        if self._served is None:
            port = await self._endpoint.start(self._options.listen, self._context)
            log.info("webhook listening", port=port)
        self._served = pair
        self._metrics.certificate_expires.set(pair.expires.timestamp())
        log.info("certificate served", serial=f"{pair.serial:x}", expires=str(pair.expires))

    async def _rotate(self, client: KubeClient) -> None:
        """Do one step: store keys first, publish their CAs afterwards."""
        secret = msgspec.json.decode(await client.get(self._secret, resource=SECRETS.resource))
        try:
            body = await client.get(self._configuration, resource=CONFIGURATIONS)
        except NotFound:
            return  # no API server calls the webhook; the Secret stays as it is until one does
        published = _bundle(msgspec.json.decode(body))
        before = read_keys(_texts(secret))
        now = self._clock()
        keys = rotate(before, published, now, self._options.times, self._names)
        if keys != before:
            await client.update(self._secret, _with(secret, keys), resource=SECRETS.resource)
        if keys.bundle != published:
            hook = {"name": HOOK, "clientConfig": {"caBundle": _encode(keys.bundle)}}
            await client.patch(
                self._configuration,
                {"webhooks": [hook]},
                resource=CONFIGURATIONS,
                manager=FIELD_MANAGER,
                strategic=True,
            )
            log.info("certificate authorities published", count=keys.bundle.count("BEGIN"))
        self._trouble = ""

    def _tell(self, what: str, error: Exception) -> None:
        """Log each error once, not at every poll."""
        if str(error) != self._trouble:
            self._trouble = str(error)
            log.warning(what, error=str(error))


def _bundle(configuration: dict[str, Any]) -> str:
    for hook in configuration.get("webhooks") or ():
        if hook["name"] == HOOK:
            return _decode(hook["clientConfig"].get("caBundle") or "")
    return ""


def _texts(secret: dict[str, Any]) -> dict[str, str]:
    return {key: _decode(value) for key, value in (secret.get("data") or {}).items()}


def _with(secret: dict[str, Any], keys: Keys) -> dict[str, Any]:
    """Return the Secret with new data; its resourceVersion prevents overwriting others' changes."""
    return {**secret, "data": {key: _encode(text) for key, text in write_keys(keys).items()}}


def _decode(text: str) -> str:
    return base64.b64decode(text).decode(errors="replace")


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
