"""The admission objects that carry our guard label, as the API server stores them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from immutable_operator.api.names import LABEL_GUARD
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import Unreachable
from immutable_operator.kube.paths import SELF, ApiPath
from immutable_operator.kube.reading import READ_ERRORS, Identity

__all__ = ["GUARD_PATHS", "GuardRecord", "GuardStore", "decode_guard", "own_name"]

ADMISSION = "apis/admissionregistration.k8s.io/v1"
GUARD_PATHS = tuple(
    ApiPath(ADMISSION, resource)
    for resource in (
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
    )
)


class GuardRecord(msgspec.Struct, frozen=True):
    """One object: which guard it is, its name, and its ``spec`` or ``webhooks``."""

    guard: str
    name: str
    content: Any


def decode_guard(raw: bytes | msgspec.Raw) -> GuardRecord:
    """Decode a policy, a binding or a webhook configuration to its record."""
    body = msgspec.json.decode(raw)
    meta = body["metadata"]
    guard = (meta.get("labels") or {}).get(LABEL_GUARD, "")
    return GuardRecord(guard, meta["name"], body.get("spec") or body.get("webhooks"))


class GuardStore:
    """All objects of one kind with our label, by guard; ``changed`` is called on any change."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._by_name: dict[str, GuardRecord] = {}

    @property
    def contents(self) -> Mapping[str, Any]:
        """``spec`` or ``webhooks`` by guard."""
        return {record.guard: record.content for record in self._by_name.values()}

    def known(self, which: Identity) -> GuardRecord | None:
        return self._by_name.get(which.name)

    def replace(self, items: list[GuardRecord], version: int) -> None:
        self._by_name = {item.name: item for item in items}
        self._changed()

    def upsert(self, item: GuardRecord, version: int) -> None:
        self._by_name[item.name] = item
        self._changed()

    def remove(self, item: GuardRecord, version: int) -> None:
        self._by_name.pop(item.name, None)
        self._changed()

    def advance(self, version: int) -> None:
        """Do nothing: no part waits for a version of these."""


async def own_name(client: KubeClient) -> str:
    """Return the user name of this operator, as policies see it. Raises `ApiError`."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await client.create(SELF.all(), body, resource=SELF.resource)
    try:
        return str(msgspec.json.decode(answer)["status"]["userInfo"]["username"])
    except READ_ERRORS as error:
        raise Unreachable(
            0, "Unreadable", f"the response does not name the operator's user: {error!r}"
        ) from error
