"""An API server that gives one scripted answer after the other, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web

from immutable_operator.kube.client import KubeClient
from immutable_operator.wire.owner import OwnerRecord
from tests.wire.api import Api, serving

__all__ = ["CUT", "IMAGE", "SERVICE", "Asked", "Script", "refusal", "service"]

T = TypeVar("T")
IMAGE = "registry.example/web@sha256:" + "9f" * 32
CUT = None  # the connection ends after the request, without an answer
Answer = tuple[int, Any, dict[str, str]] | None


@dataclass(frozen=True)
class Asked:
    """One request. ``form`` is the content type of its body."""

    method: str
    path: str
    body: Any
    form: str

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


def refusal(status: int, message: str, *, retry_after: str | None = None, **details: Any) -> Answer:
    body = {"kind": "Status", "message": message, "details": details}
    return status, body, {"Retry-After": retry_after} if retry_after else {}


def service(**spec: Any) -> OwnerRecord:
    template = {"spec": {"containers": [{"name": "web", "image": IMAGE}]}}
    meta = {"name": "web", "namespace": "shop", "uid": "s1", "resourceVersion": "5"}
    return OwnerRecord.of({"metadata": meta, "spec": {"template": template, **spec}})


SERVICE = service()


class Script:
    """Answers in their order; a request beyond the last one is an error of the test."""

    def __init__(self, *answers: Answer | dict[str, Any]) -> None:
        self.asked: list[Asked] = []
        self._answers: list[Answer] = [
            (201, said, {}) if isinstance(said, dict) else said for said in answers
        ]

    @property
    def lines(self) -> list[str]:
        return [asked.line for asked in self.asked]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        body = json.loads(text) if text else None
        self.asked.append(Asked(request.method, request.path, body, request.content_type))
        said = self._answers.pop(0)
        if said is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        status, answer, headers = said
        return web.json_response(answer, status=status, headers=headers)

    def run(self, story: Callable[[KubeClient], Awaitable[T]]) -> T:
        """The end of a story against this API server, in which it has answered all it had."""

        async def run() -> T:
            api = Api()
            api.pages.append(self._answer)
            api.writes = self._answer
            async with serving(api) as client:
                return await story(client)

        try:
            return asyncio.run(run())
        finally:
            assert self._answers == [], "not all of it was asked for"
