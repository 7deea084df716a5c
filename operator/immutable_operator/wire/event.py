"""Events for people, on the object that they are about, each written once.

An event's name is derived from its reason and its subject, so that a repetition (after a restart,
by the next leader, in the next plan) conflicts with the first one: one create, no patches, no
counters.
"""

from __future__ import annotations

import hashlib
from typing import Any

from immutable_operator.api.names import API_VERSION, FIELD_MANAGER
from immutable_operator.domain.model import Announcement
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import Conflict
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.times import stamp
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["announce", "event_body"]

EVENTS = ApiPath("api/v1", "events")
# Where the API server accepts events about objects without a namespace.
DEFAULT = "default"


async def announce(
    client: KubeClient, owner: OwnerRecord, told: Announcement, now: float, by: str
) -> None:
    """Create the event unless it exists already. Raises `ApiError` if it cannot be written."""
    body = event_body(owner, told, now, by)
    try:
        path = EVENTS.collection(body["metadata"]["namespace"])
        await client.create(path, body, resource="events")
    except Conflict:
        return


def event_body(owner: OwnerRecord, told: Announcement, now: float, by: str) -> dict[str, Any]:
    """Return a core/v1 Event; ``now`` in seconds since the epoch, ``by`` names this replica."""
    seed = f"{owner.uid}/{told.reason}/{told.key}".encode()
    at = stamp(now)[:19] + "Z"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{owner.name}.{hashlib.sha256(seed).hexdigest()[:16]}",
            "namespace": owner.namespace if owner.kind.is_namespaced else DEFAULT,
        },
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": owner.kind.name,
            **owner.metadata,
        },
        "reason": told.reason,
        "message": told.message[:1024],
        "type": "Warning" if told.warning else "Normal",
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": by[:128],
        "action": told.reason,
    }
