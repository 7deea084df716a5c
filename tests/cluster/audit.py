"""What the operator asked of the API server, as the API server wrote it down."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tests.cluster.operator_process import USER
from tests.controlplane import AuditRecord, ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.audit import WRITING_VERBS

__all__ = ["OperatorRequests"]


@dataclass(frozen=True)
class OperatorRequests:
    """The operator's requests after ``mark``; in one namespace only, where one is given.

    The lease is left out of every count of writes: it is renewed by the clock, whatever
    the operator does or leaves undone.
    """

    plane: ControlPlane
    mark: int
    namespace: str | None = None

    @classmethod
    def from_now(cls, plane: ControlPlane, namespace: str | None = None) -> OperatorRequests:
        return cls(plane, plane.audit().mark(), namespace)

    def writes(self) -> list[AuditRecord]:
        return [
            r
            for r in self.plane.audit().since(self.mark)
            if r.user == USER
            and r.verb in WRITING_VERBS
            and r.resource != "leases"
            and self.namespace in (None, r.namespace)
        ]

    def tally(self) -> Counter[str]:
        """``create pods`` and the like, with how often; refused ones too."""
        return Counter(f"{r.verb} {r.target}" for r in self.writes())

    def count(self, what: str) -> int:
        return self.tally()[what]

    def codes(self, what: str) -> Counter[int]:
        """The answers to ``create pods`` and the like."""
        return Counter(r.code for r in self.writes() if f"{r.verb} {r.target}" == what)

    def events(self) -> Iterator[Json]:
        """All requests as the log has them, reads too: for what `AuditRecord` leaves out."""
        with self.plane.audit().path.open("rb") as lines:
            lines.seek(self.mark)
            for line in lines:
                if line.endswith(b"\n") and USER.encode() in line:
                    event = json.loads(line)
                    if event["user"]["username"] == USER:
                        yield event
