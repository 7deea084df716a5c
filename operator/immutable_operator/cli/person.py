"""The user of the command: sends requests as kubectl does, with the same credentials."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec

from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.paths import SELF

__all__ = ["JSON_PATCH", "MERGE", "STRATEGIC", "Person", "Request"]

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


@dataclass(frozen=True)
class Request:
    """One request: an absolute path, with the query in it. ``kind`` is for a PATCH."""

    method: str
    path: str
    body: Any = None
    kind: str = STRATEGIC

    def dry(self) -> Request:
        """The same, of which nothing is stored."""
        if self.method == "DELETE":
            # With a body, the API server does not look at the query.
            return replace(self, body={**(self.body or {}), "dryRun": ["All"]})
        sign = "&" if "?" in self.path else "?"
        return replace(self, path=f"{self.path}{sign}dryRun=All")


class Person(KubeClient):
    """A client for single requests of any kind; every failure is an `ApiError`."""

    async def send(self, request: Request, timeout: float | None = None) -> bytes:
        """Send the request and return the body of the answer."""
        return await self._request(
            request.method,
            request.path,
            verb=request.method.lower(),
            resource="",
            body=request.body,
            content=request.kind if request.method == "PATCH" else "application/json",
            timeout=timeout,
        )

    async def read(self, path: str) -> dict[str, Any]:
        """An object or a list of objects."""
        answer: dict[str, Any] = msgspec.json.decode(await self.send(Request("GET", path)))
        return answer

    async def self_review(self) -> tuple[str, tuple[str, ...]]:
        """Name and groups of this user in the API server."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = msgspec.json.decode(await self.send(Request("POST", SELF.all(), body)))
        user = answer["status"]["userInfo"]
        return user["username"], tuple(user.get("groups") or ())
