"""What the operator asked of the API server, as the API server wrote it down."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from tests.cluster.operator_process import USER
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.audit import WRITING_VERBS
from tests.waiting import wait_for

__all__ = ["OperatorRequests", "Request", "until_quiet"]

CREDENTIAL = "authentication.kubernetes.io/credential-id"
DECISION = "authorization.k8s.io/decision"
# Longer than the operator puts off the lineage, and a status in which only counts moved.
QUIET_SECONDS = 12.0


@dataclass(frozen=True)
class Request:
    """One request of an operator process.

    ``credential`` tells which process it was, ``allowed`` is the verdict of RBAC (an admission
    plugin may refuse later, with the same code 403), ``code`` is the HTTP status, ``received``
    is when the API server got it, by its own clock, in seconds since 1970.
    """

    verb: str
    api_group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    allowed: bool
    credential: str
    received: float

    @classmethod
    def of(cls, event: Json) -> Request:
        target = event.get("objectRef") or {}
        return cls(
            verb=event["verb"],
            api_group=target.get("apiGroup", ""),
            resource=target.get("resource", ""),
            subresource=target.get("subresource", ""),
            namespace=target.get("namespace", ""),
            name=target.get("name", ""),
            code=event.get("responseStatus", {}).get("code", 0),
            allowed=event.get("annotations", {}).get(DECISION) != "forbid",
            credential="".join(event["user"].get("extra", {}).get(CREDENTIAL, ())),
            received=datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
        )

    @property
    def target(self) -> str:
        """``resource`` or ``resource/subresource``."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True)
class OperatorRequests:
    """The operator's requests after ``mark``; in one namespace only, where one is given.

    The lease is left out of every count of writes, unless asked for: it is renewed by the
    clock, whatever the operator does or leaves undone.
    """

    plane: ControlPlane
    mark: int = 0
    namespace: str | None = None

    @classmethod
    def from_now(cls, plane: ControlPlane, namespace: str | None = None) -> OperatorRequests:
        return cls(plane, plane.audit().mark(), namespace)

    def __iter__(self) -> Iterator[Request]:
        """All requests, reads too, in order."""
        with self.plane.audit().path.open("rb") as lines:
            lines.seek(self.mark)
            for line in lines:
                if not line.endswith(b"\n") or USER.encode() not in line:
                    continue
                event = json.loads(line)
                if event["user"]["username"] == USER:
                    request = Request.of(event)
                    if self.namespace in (None, request.namespace):
                        yield request

    def writes(self, credential: str | None = None, lease: bool = False) -> list[Request]:
        """The writes, refused ones too; only those of one process, by its credential."""
        return [
            r
            for r in self
            if r.verb in WRITING_VERBS
            and (lease or r.resource != "leases")
            and credential in (None, r.credential)
        ]

    def tally(self) -> Counter[str]:
        """``create pods`` and the like, with how often; refused ones too."""
        return Counter(f"{r.verb} {r.target}" for r in self.writes())

    def count(self, what: str) -> int:
        return self.tally()[what]

    def codes(self, what: str) -> Counter[int]:
        """The answers to ``create pods`` and the like."""
        return Counter(r.code for r in self.writes() if f"{r.verb} {r.target}" == what)


def until_quiet(asked: OperatorRequests) -> None:
    """Until the operator has written nothing for a while."""
    last, since = -1, time.monotonic()

    def quiet() -> bool:
        nonlocal last, since
        count = len(asked.writes())
        if count != last:
            last, since = count, time.monotonic()
        return time.monotonic() - since > QUIET_SECONDS

    wait_for("the operator is quiet", quiet, 60, asked.tally)
