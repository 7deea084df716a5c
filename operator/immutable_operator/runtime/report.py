"""The reported status of an owner, written when it changed or was overwritten."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import structlog

from immutable_operator.api.names import FIELD_MANAGER
from immutable_operator.domain.model import Status
from immutable_operator.domain.status.tell import same_but_for_counts
from immutable_operator.kube.client import KubeClient
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.status import StoredStatus, status_body, stored_status

__all__ = ["Report"]

log = structlog.get_logger()
# Seconds between two writes of a status in which only counts changed; doubled each time, so that
# a long rollout does not write more than a short one.
PAUSE, PAUSE_MOST = 5.0, 40.0


class Report:
    """The status of one owner, as it was last written."""

    def __init__(self) -> None:
        self._written: Status | None = None
        self._stored: StoredStatus | None = None
        self._written_at = float("-inf")
        self._pause = PAUSE

    async def write(self, client: KubeClient, owner: OwnerRecord, status: Status) -> float | None:
        """Write the status if it changed; return when a write that was postponed is due.

        Changes of mere counts are postponed; restoring an overwritten status is not. The time is
        monotonic, in seconds. Raises `NotFound` or `Conflict` if the owner is not the one that
        was observed.
        """
        before = self._written or stored_status(owner)
        forged = self._stored is not None and self._stored.is_overwritten(owner)
        if status == before and not forged:
            if self._written is not None:
                self._written = status  # the caller keeps this one
            return None
        counts_only = not forged and same_but_for_counts(before, status)
        due = self._written_at + self._pause
        if counts_only and time.monotonic() < due:
            return due
        version = max(owner.version, self._stored.version if self._stored else 0)
        self._stored = await _store(client, owner, status_body(owner, status, version))
        if forged:
            log.warning(
                "status was overwritten by another client",
                **{owner.kind.word: owner.name},
                by=owner.strangers,
            )
        self._written, self._written_at = status, time.monotonic()
        self._pause = min(PAUSE_MOST, self._pause * 2) if counts_only else PAUSE
        return None


async def _store(client: KubeClient, owner: OwnerRecord, body: Mapping[str, Any]) -> StoredStatus:
    path = owner.path("status")
    resource = f"{owner.kind.path.resource}/status"
    stored = StoredStatus.of(
        await client.apply(path, body, resource=resource, manager=FIELD_MANAGER), body
    )
    if stored.beside:
        # Fields that others added: an apply does not remove them, so they are patched away.
        metadata = {**body["metadata"], "resourceVersion": str(stored.version)}
        empty = {**body, "metadata": metadata, "status": dict.fromkeys(stored.beside)}
        stored = StoredStatus.of(
            await client.patch(path, empty, resource=resource, manager=FIELD_MANAGER), body
        )
    return stored
