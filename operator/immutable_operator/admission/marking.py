"""Writes the mark of a taint on an instance before it is accessed. The first mark is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec

from immutable_operator.admission.review import Connect, taint
from immutable_operator.api.names import ANNOTATION_TAINTED, FIELD_MANAGER, LABEL_SERVICE
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import Conflict, NotFound
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import PODS

__all__ = ["Marker"]

TRIES = 5


class _Pod(msgspec.Struct):
    metadata: ObjectMeta


class Marker:
    """Marks instances as tainted.

    Parameters
    ----------
    client
        Without leader fencing: every replica answers reviews, and must be able to write the mark.
        The resourceVersion in the write makes sure that the first mark is kept.
    clock
        Returns the current time in UTC.
    """

    def __init__(self, client: KubeClient, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock

    async def mark(self, connect: Connect) -> str:
        """Mark the instance and return the outcome in one word. Raises `ApiError`.

        ``tainted``, ``already-tainted``, ``dry-run``, ``no-instance``, ``not-found``.
        """
        if not connect.instance:
            return "no-instance"
        path = PODS.item(connect.namespace, connect.instance)
        try:
            for _ in range(TRIES - 1):
                try:
                    return await self._try(path, connect)
                except Conflict:
                    # The pod has changed since it was read, possibly by another mark: read it
                    # again.
                    continue
            return await self._try(path, connect)
        except NotFound:
            return "not-found"

    async def _try(self, path: str, connect: Connect) -> str:
        body = await self._client.get(path, resource=PODS.resource)
        pod = msgspec.json.decode(body, type=_Pod).metadata
        if LABEL_SERVICE not in pod.labels:
            return "no-instance"
        if ANNOTATION_TAINTED in pod.annotations:
            return "already-tainted"
        if connect.dry_run:
            return "dry-run"
        change = {
            "uid": pod.uid,
            "resourceVersion": pod.resource_version,
            "annotations": {ANNOTATION_TAINTED: taint(connect, self._clock())},
        }
        await self._client.patch(
            path, {"metadata": change}, resource=PODS.resource, manager=FIELD_MANAGER
        )
        return "tainted"
