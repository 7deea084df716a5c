"""Reads the API server's audit log: the requests of each user, for checks in tests."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

__all__ = ["WRITING_VERBS", "AuditLog", "AuditRecord"]

WRITING_VERBS = frozenset({"create", "update", "patch", "delete", "deletecollection"})

# Bytes of a record without bodies, at most.
LONGEST_LINE = 65536


@dataclass(frozen=True)
class AuditRecord:
    """One answered request.

    ``user`` is the actor after impersonation, ``api_group`` is "" for the core group,
    ``name`` is "" if the request has no object name (list and create),
    ``code`` is the HTTP status, ``received`` is when the API server got the request, in seconds
    since 1970. A watch appears twice: when it starts and when it ends.
    """

    user: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    api_group: str
    uri: str
    stage: str
    received: float

    @property
    def target(self) -> str:
        """``resource`` or ``resource/subresource``."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True)
class AuditLog:
    """The audit log file of a control plane. The API server writes it before it answers
    (``--audit-log-mode=blocking``), so it contains every request that was answered."""

    path: Path

    def mark(self) -> int:
        """The current position; later records come after it, and one that is being written."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            start = log.seek(max(0, end - LONGEST_LINE))
            return start + log.read(end - start).rfind(b"\n") + 1

    def since(self, mark: int = 0) -> Iterator[AuditRecord]:
        """Records after ``mark``, in order, without an incomplete last line."""
        if not self.path.exists():
            return
        with self.path.open("rb") as lines:
            lines.seek(mark)
            for line in lines:
                if line.endswith(b"\n"):
                    yield _record(json.loads(line))

    def writes(
        self, actor_prefix: str = "", mark: int = 0, *, allowed_only: bool = False
    ) -> Counter[tuple[str, str]]:
        """Number of writes of actors with this prefix, by (verb, ``resource/subresource``).

        Refused requests count too, except with ``allowed_only``. Long-running requests (exec,
        attach) count when they have ended.
        """
        return Counter(
            (record.verb, record.target)
            for record in self.since(mark)
            if record.verb in WRITING_VERBS
            and record.stage != "ResponseStarted"
            and record.user.startswith(actor_prefix)
            and (record.code < 400 or not allowed_only)
        )


def _record(event: Mapping[str, Any]) -> AuditRecord:
    target = event.get("objectRef") or {}
    user = event.get("impersonatedUser") or event.get("user") or {}
    return AuditRecord(
        user=user.get("username", ""),
        verb=event.get("verb", ""),
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=(event.get("responseStatus") or {}).get("code", 0),
        api_group=target.get("apiGroup", ""),
        uri=event.get("requestURI", ""),
        stage=event.get("stage", ""),
        received=datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
    )
