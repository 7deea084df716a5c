"""Writes that the API server refuses, sent with the operator's own client."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from immutable_operator.api.names import API_VERSION, FIELD_MANAGER
from immutable_operator.domain.model import Cause, Move
from immutable_operator.instances.driver import outcome_of
from immutable_operator.instances.refused import Refused, pause_after
from immutable_operator.kube.client import KubeClient, load_configuration
from immutable_operator.kube.errors import ApiError
from tests.cluster.guards import OWNED
from tests.cluster.operator_process import ACCOUNT, USER
from tests.cluster.operator_process import NAMESPACE as SYSTEM
from tests.cluster.services import pin
from tests.controlplane import ControlPlane
from tests.controlplane.api import ApiError as BedError
from tests.controlplane.api import Json
from tests.waiting import wait_for

__all__ = [
    *("CONFIG_MAP", "GROUP", "NODES", "Bed", "Write"),
    *("config_map", "deletion", "evict", "in_namespace", "items", "metadata", "pod", "record"),
    *("stale", "verdict"),
    *("assert_read", "endings", "refusal", "until_denied"),
]

NODES = "/api/v1/nodes"
GROUP = f"apis/{API_VERSION}"
CONFIG_MAP: Json = {"apiVersion": "v1", "kind": "ConfigMap"}
# Seconds until the second try. A policy may be lifted at any time, an invalid template stays so.
FIRST_PAUSE = {
    Cause.DISRUPTION_BUDGET: 1.0,
    Cause.QUOTA: 1.0,
    Cause.ADMISSION: 1.0,
    Cause.DEPENDENCY: 1.0,
    Cause.TEMPLATE: 1.0,
    Cause.FORBIDDEN: 5.0,
    Cause.NAMESPACE_TERMINATING: 5.0,
    Cause.API_SERVER: 0.5,
}
INVALID_PAUSE = 5.0


@dataclass(frozen=True)
class Write:
    """A write as a method of the client: create, delete, patch, apply or update."""

    verb: str
    path: str
    body: Json = field(default_factory=dict)


def in_namespace(namespace: str, resource: str, group: str = "api/v1") -> str:
    return f"/{group}/namespaces/{namespace}/{resource}"


def items(namespace: str, name: str = "") -> str:
    """The path of pods, or of one pod."""
    return in_namespace(namespace, f"pods/{name}" if name else "pods")


def pod(name: str = "w", **spec: Any) -> Json:
    container = {"name": "web", "image": pin("web")}
    meta = {"name": name, "labels": {"app": name}}
    whole = {"terminationGracePeriodSeconds": 0, "containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": whole}


@dataclass(frozen=True)
class Bed:
    """A namespace with a pod, a ConfigMap and a record; the last one is the operator's."""

    plane: ControlPlane
    namespace: str
    operator: Path

    @classmethod
    def made(cls, plane: ControlPlane, namespace: str) -> Bed:
        bed = cls(plane, namespace, plane.service_account_kubeconfig(SYSTEM, ACCOUNT))
        api = plane.api()
        api.request("POST", bed.pods, pod())
        api.request("POST", bed.config_maps, config_map("c"))
        replace(api, impersonated=USER).request("POST", bed.records, record())
        return bed

    @property
    def pods(self) -> str:
        return items(self.namespace)

    @property
    def pod(self) -> str:
        return items(self.namespace, "w")

    @property
    def config_maps(self) -> str:
        return in_namespace(self.namespace, "configmaps")

    @property
    def records(self) -> str:
        return in_namespace(self.namespace, "immutablerevisions", GROUP)


def record(size: int = 0) -> Json:
    """A record; with a size its template has that many bytes more."""
    body = copy.deepcopy(OWNED)
    body["metadata"] = {"name": "probe-im00000000"}
    body["spec"]["template"]["spec"]["containers"][0]["args"] = ["x" * size]
    return body


def metadata(**meta: object) -> Json:
    return {"metadata": {"annotations": {"a": "b"}, **meta}}


def config_map(name: str, **more: object) -> Json:
    return {**CONFIG_MAP, "metadata": {"name": name}, **more}


def deletion(path: str, **preconditions: str) -> Write:
    return Write("delete", path, {"preconditions": preconditions})


def stale(**meta: str) -> Json:
    return {**CONFIG_MAP, "metadata": {"name": "c", **meta}, "data": {"a": "b"}}


def verdict(bed: Bed, **meta: str) -> Write:
    body = {
        "apiVersion": API_VERSION,
        "kind": "ImmutableRevision",
        "metadata": {"name": "probe-im00000000", **meta},
        "status": {"phase": "Good"},
    }
    return Write("apply", f"{bed.records}/probe-im00000000/status", body)


def evict(namespace: str, name: str, **preconditions: str) -> Write:
    body: Json = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
        "deleteOptions": {"preconditions": preconditions},
    }
    return Write("create", f"{items(namespace, name)}/eviction", body)


def endings(login: Path, writes: Sequence[Write]) -> list[bytes | ApiError]:
    """How writes end that are sent at once: the answers, and the errors."""

    async def send(client: KubeClient, write: Write) -> bytes | ApiError:
        managed = {"manager": FIELD_MANAGER} if write.verb in ("patch", "apply") else {}
        try:
            call = getattr(client, write.verb)
            answer: bytes = await call(write.path, write.body, resource="any", **managed)
        except ApiError as error:
            return error
        return answer

    async def send_all() -> list[bytes | ApiError]:
        client = KubeClient(await load_configuration(login))
        try:
            return await asyncio.gather(*(send(client, write) for write in writes))
        finally:
            await client.close()

    return asyncio.run(send_all())


def refusal(login: Path, write: Write) -> ApiError:
    """The error with which a write ends; a write that is accepted fails the test."""
    [ended] = endings(login, [write])
    if isinstance(ended, ApiError):
        return ended
    return pytest.fail(f"accepted: {write.verb} {write.path}: {ended[:300]!r}")


def until_denied(plane: ControlPlane, path: str, body: Json, words: str) -> None:
    """Until the creation of an object is refused with these words: nothing is created."""

    def is_denied() -> bool:
        try:
            plane.api().request("POST", f"{path}?dryRun=All", body)
        except BedError as error:
            return words in str(error)
        return False

    wait_for(f"creations are refused: {words}", is_denied)


def assert_read(error: ApiError, move: Move, cause: Cause, *, invalid: bool = False) -> None:
    """The cause of a real refusal, that it is one for certain, and when it is tried again."""
    said = outcome_of(move, error)
    assert isinstance(said, Refused), f"nobody knows whether it was done: {error!r}"
    assert (said.cause, said.is_invalid) == (cause, invalid), f"{move}: {error!r}"
    lasting = invalid and cause is Cause.TEMPLATE
    assert pause_after(said, 1, 0.0) == (INVALID_PAUSE if lasting else FIRST_PAUSE[cause])
