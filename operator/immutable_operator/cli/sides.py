"""The two sides of a migration in the cluster: the Deployment and the service, and what scales."""

from __future__ import annotations

import json
import time
from collections import deque
from dataclasses import dataclass, field

import msgspec

from immutable_operator.api.names import ANNOTATION_MIGRATION
from immutable_operator.cli.action import PLUGIN
from immutable_operator.cli.migration import DEPLOYMENT_TARGET, SERVICE_TARGET, Count
from immutable_operator.cli.objects import Json, annotation
from immutable_operator.cli.problem import CannotRun
from immutable_operator.cli.version import DEPLOYMENTS
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import NotFound
from immutable_operator.kube.paths import ApiPath
from immutable_operator.wire.owner import SERVICE

__all__ = ["AUTOSCALERS", "Side", "autoscaler_of", "deployment", "service"]

AUTOSCALERS = ApiPath("apis/autoscaling/v2", "horizontalpodautoscalers")
# A pod counts as available if it was so in all reports of this time: endpoints are known later.
SETTLE_SECONDS = 3.0


@dataclass
class Side:
    """A Deployment or an ImmutableService of this name."""

    client: KubeClient
    path: ApiPath
    target: Json
    namespace: str
    name: str
    _available: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def kind(self) -> str:
        return str(self.target["kind"])

    async def read(self) -> Json | None:
        """Return it as it is stored; None if there is none. Raises `ApiError`."""
        item = self.path.item(self.namespace, self.name)
        try:
            return _decoded(await self.client.get(item, resource=self.path.resource))
        except NotFound as error:
            if not error.name:
                raise
            return None

    async def there(self) -> Json:
        """Return it as it is stored. Raises `CannotRun` if there is none."""
        if (body := await self.read()) is None:
            raise CannotRun(f"{self.kind} {self.name} is gone; it was deleted by another user")
        return body

    def count(self, body: Json) -> Count:
        """Count its pods, by the last status, which may be older than the spec."""
        status, wanted = body.get("status") or {}, body["spec"].get("replicas")
        there = int(status.get("replicas") or 0)
        return Count(there if wanted is None else int(wanted), there, self._settled(status))

    def _settled(self, status: Json) -> int:
        now, seen = time.monotonic(), self._available
        seen.append((now, int(status.get("availableReplicas") or 0)))
        # The last report before the time is kept: it says how many there were at its beginning.
        while len(seen) > 1 and seen[1][0] <= now - SETTLE_SECONDS:
            seen.popleft()
        is_long_enough = seen[0][0] <= now - SETTLE_SECONDS
        return min(count for _, count in seen) if is_long_enough else 0

    async def create(self, body: Json) -> Json:
        collection = self.path.collection(self.namespace)
        resource = self.path.resource
        return _decoded(
            await self.client.create(collection, body, resource=resource, manager=PLUGIN)
        )

    async def scale(self, replicas: int) -> None:
        await self.patch({"spec": {"replicas": replicas}})

    async def mark(self, words: Json | None) -> None:
        """Set its annotation of a migration, or remove it."""
        text = None if words is None else json.dumps(words, sort_keys=True)
        await self.patch({"metadata": {"annotations": {ANNOTATION_MIGRATION: text}}})

    async def patch(self, body: Json, *, strategic: bool = False) -> Json:
        item, resource = self.path.item(self.namespace, self.name), self.path.resource
        done = await self.client.patch(
            item, body, resource=resource, manager=PLUGIN, strategic=strategic
        )
        return _decoded(done)

    async def delete(self, uid: str) -> None:
        item = self.path.item(self.namespace, self.name)
        body = {"preconditions": {"uid": uid}}
        await self.client.delete(item, body, resource=self.path.resource)

    @staticmethod
    def marks(body: Json | None) -> Json:
        """Return what its annotation of a migration says; {} if it has none."""
        if body is None or not (text := annotation(body, ANNOTATION_MIGRATION)):
            return {}
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            name = body["metadata"]["name"]
            raise CannotRun(
                f"the annotation {ANNOTATION_MIGRATION} of {name} is not JSON; remove it, and run"
                " the command again"
            )
        return found


def deployment(client: KubeClient, namespace: str, name: str) -> Side:
    return Side(client, DEPLOYMENTS, DEPLOYMENT_TARGET, namespace, name)


def service(client: KubeClient, namespace: str, name: str) -> Side:
    return Side(client, SERVICE.path, SERVICE_TARGET, namespace, name)


async def autoscaler_of(client: KubeClient, namespace: str, name: str) -> Json | None:
    """Return the HorizontalPodAutoscaler of one of the two sides; None if there is none."""
    page = await client.list(AUTOSCALERS.collection(namespace), resource=AUTOSCALERS.resource)
    for item in msgspec.json.decode(page)["items"]:
        found = item["spec"]["scaleTargetRef"]
        kinds = (DEPLOYMENT_TARGET["kind"], SERVICE_TARGET["kind"])
        if found.get("name") == name and found.get("kind") in kinds:
            scaler: Json = item
            return scaler
    return None


def _decoded(answer: bytes) -> Json:
    body: Json = msgspec.json.decode(answer)
    return body
