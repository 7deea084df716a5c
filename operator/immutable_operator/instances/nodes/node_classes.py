"""Reads NodeClasses before machines are started with them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from immutable_operator.domain.model import Cause, Move
from immutable_operator.instances.driver import Refused
from immutable_operator.instances.refused import refused
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Forbidden, NotFound
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reading import READ_ERRORS
from immutable_operator.wire.node_class import class_problem

__all__ = ["NodeClasses"]


class _Version(msgspec.Struct, rename="camel", frozen=True):
    group_version: str


class _Group(msgspec.Struct, rename="camel", frozen=True):
    preferred_version: _Version


class _Resource(msgspec.Struct, frozen=True):
    name: str
    kind: str


class _Resources(msgspec.Struct, frozen=True):
    resources: list[_Resource] = []


class NodeClasses:
    """The node classes of a cluster. Each is read anew, since it may change at any time."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._paths: dict[tuple[str, str], ApiPath] = {}

    async def check(self, ref: tuple[str, str, str], image: Mapping[str, str]) -> None:
        """Check a reference (group, kind, name). Raises `Refused` with what is wrong."""
        group, kind, name = ref
        try:
            path = await self._path(group, kind)
            body = await self._client.get(path.item("", name), resource=path.resource)
            problem = class_problem(body, group, kind, name, image)
        except NotFound as error:
            self._paths.pop((group, kind), None)
            text = f"{kind} {name} not found; create it, or name another one in nodeClassRef"
            raise Refused(Cause.CONFIG, text) from error
        except Forbidden as error:
            text = f"{error.message}; add this kind to nodes.karpenter.nodeClasses of the chart"
            raise Refused(Cause.FORBIDDEN, text) from error
        except ApiError as error:
            raise refused(Move.CREATE, error) from error
        except READ_ERRORS as error:
            raise Refused(Cause.CONFIG, f"{kind} {name} cannot be read: {error}") from error
        if problem is not None:
            raise Refused(Cause.CONFIG, problem)

    async def _path(self, group: str, kind: str) -> ApiPath:
        """Return the path of a kind. Raises `Refused` if the API server does not have it."""
        known = self._paths.get((group, kind))
        if known is not None:
            return known
        try:
            answer = await self._client.get(f"/apis/{group}", resource="discovery")
            version = msgspec.json.decode(answer, type=_Group).preferred_version.group_version
            answer = await self._client.get(f"/apis/{version}", resource="discovery")
            served = msgspec.json.decode(answer, type=_Resources).resources
        except NotFound:
            served, version = [], ""
        for resource in served:
            if resource.kind == kind and "/" not in resource.name:
                self._paths[group, kind] = ApiPath(f"apis/{version}", resource.name)
                return self._paths[group, kind]
        text = (
            f"{kind} ({group}) is not installed; install it, or name another kind in nodeClassRef"
        )
        raise Refused(Cause.CONFIG, text)
