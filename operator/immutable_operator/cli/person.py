"""The one who runs the command: requests as kubectl would send them, under the same login."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import yaml

from immutable_operator.kube.client import KubeClient, load_configuration
from immutable_operator.kube.paths import ApiPath

__all__ = ["JSON_PATCH", "MERGE", "STRATEGIC", "Login", "Person", "Request"]

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
SELF = ApiPath("apis/authentication.k8s.io/v1", "selfsubjectreviews")


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


@dataclass(frozen=True)
class Login:
    """How to reach the cluster: a kubeconfig (None: this pod's service account), a context."""

    kubeconfig: Path | None
    context: str | None

    def namespace(self) -> str:
        """The namespace that kubectl would use without being told one."""
        if self.kubeconfig is None or not self.kubeconfig.exists():
            return "default"
        config = yaml.safe_load(self.kubeconfig.read_text(encoding="utf-8")) or {}
        wanted = self.context or config.get("current-context")
        found = [c for c in config.get("contexts") or () if c.get("name") == wanted]
        return str(found[0]["context"].get("namespace") or "default") if found else "default"

    async def person(self, *, user: str = "", groups: Sequence[str] = ()) -> Person:
        """The person who logs in, or whom they impersonate. Raises where the login is unusable."""
        configuration = await load_configuration(self.kubeconfig, self.context)
        if user:
            # The client's own headers hold one value each, and there are several groups.
            names = [("Impersonate-User", user), *(("Impersonate-Group", g) for g in groups)]
            configuration.client_session_kwargs = {
                "trust_env": False,
                "headers": names,
            }
        return Person(configuration)


class Person(KubeClient):
    """A client for single requests of any kind; every failure is an `ApiError`."""

    @property
    def server(self) -> str:
        """URL of the API server."""
        return str(self._api.configuration.host)

    async def send(self, request: Request, timeout: float = 15.0) -> bytes:
        """Send it; gives the body of the answer."""
        return await self._request(
            request.method,
            request.path,
            verb=request.method.lower(),
            resource="",
            body=request.body,
            content=request.kind if request.method == "PATCH" else "application/json",
            timeout=aiohttp.ClientTimeout(total=timeout),
        )

    async def read(self, path: str) -> dict[str, Any]:
        """An object or a list of objects."""
        answer: dict[str, Any] = msgspec.json.decode(await self.send(Request("GET", path)))
        return answer

    async def self_review(self) -> tuple[str, tuple[str, ...]]:
        """Name and groups under which the API server knows this person."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = msgspec.json.decode(await self.send(Request("POST", SELF.all(), body)))
        user = answer["status"]["userInfo"]
        return user["username"], tuple(user.get("groups") or ())
