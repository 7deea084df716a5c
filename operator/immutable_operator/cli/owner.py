"""The service or node pool that a command concerns, and its records.

`with_client` is the one place at which a failure becomes a sentence and an exit code.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from immutable_operator.api.names import FREEZE_PLURAL, LABEL_POOL
from immutable_operator.cli.login import Login
from immutable_operator.cli.objects import Json, controller_of
from immutable_operator.cli.overrides import overrides
from immutable_operator.cli.problem import CANNOT_RUN, CannotRun, LoginError
from immutable_operator.kube.client import METADATA_LIST, KubeClient
from immutable_operator.kube.errors import (
    ApiError,
    Forbidden,
    NotFound,
    Unauthorized,
    Unreachable,
)
from immutable_operator.kube.reading import READ_ERRORS
from immutable_operator.wire.owner import POOL, SERVICE, OwnerKind
from immutable_operator.wire.revision import REVISIONS

if TYPE_CHECKING:
    from kubernetes.aio.client import Configuration

__all__ = [
    "CANNOT_RUN",
    "Owner",
    "Place",
    "denied",
    "not_installed",
    "records_home",
    "with_client",
    "with_owner",
]

# A variable of the environment: show where an answer could not be read.
TRACEBACK = "IMMUTABLE_TRACEBACK"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """The owner that the command line names. ``namespace`` "" means the default one."""

    login: Login
    name: str
    namespace: str = ""
    is_pool: bool = False


@dataclass(frozen=True)
class Owner:
    """A service or pool as it is stored. ``namespace`` is that of its records and actions."""

    client: KubeClient
    kind: OwnerKind
    namespace: str
    name: str
    body: Json

    @property
    def status(self) -> Json:
        return self.body.get("status") or {}

    @property
    def path(self) -> str:
        """URL of the object."""
        return self.kind.path.item(self.namespace if self.kind.is_namespaced else "", self.name)

    async def again(self) -> Owner:
        """Return it as it is stored now. Raises `NotFound` if it was deleted, even if another one
        of this name exists since."""
        answer = await self.client.get(self.path, resource=self.kind.path.resource)
        body = msgspec.json.decode(answer)
        if body["metadata"]["uid"] != self.body["metadata"]["uid"]:
            raise NotFound(404, "NotFound", f"{self.kind.word} {self.name} was deleted")
        return replace(self, body=body)

    async def items(self, path: str, resource: str, **query: str) -> list[Json]:
        """Return the metadata of the objects of a collection."""
        page = await self.client.list(path, resource=resource, accept=METADATA_LIST, **query)
        # The API server writes null for an empty list of metadata.
        return msgspec.json.decode(page).get("items") or []

    async def records(self) -> list[Json]:
        """Return its ImmutableRevisions, oldest first."""
        selector = f"{self.kind.label}={self.name}"
        page = await self.client.list(
            REVISIONS.collection(self.namespace),
            resource=REVISIONS.resource,
            labelSelector=selector,
        )
        uid = self.body["metadata"]["uid"]
        found = [r for r in msgspec.json.decode(page)["items"] if controller_of(r) == uid]
        return sorted(found, key=lambda r: int(r["spec"]["number"]))


async def with_owner(place: Place, work: Callable[[Owner], Awaitable[int]], say: Say) -> int:
    """Run ``work`` with the owner and return its exit code, or say why it cannot run.

    Raises `LoginError`.
    """

    async def found(client: KubeClient) -> int:
        return await work(await _found(client, place))

    return await with_client(place.login, found, say)


async def with_client(login: Login, work: Callable[[KubeClient], Awaitable[int]], say: Say) -> int:
    """Run ``work`` with a client and return its exit code, or say why it cannot run.

    Raises `LoginError`.
    """
    client = KubeClient(await _configuration(login), timeout=overrides().timeout)
    try:
        return await work(client)
    except CannotRun as error:
        say(f"error: {error}")
    except Forbidden as error:
        say(f"error: {denied(error)}")
    except Unauthorized as error:
        say(f"error: the API server does not accept your credentials: {error}; log in again")
    except Unreachable as error:
        advice = "choose another cluster with --kubeconfig or --context"
        say(f"error: cannot reach the API server: {error}; {advice}")
    except BrokenPipeError:
        raise
    except (ApiError, OSError) as error:
        say(f"error: {error}")
    except READ_ERRORS as error:
        say(unreadable(error))
    finally:
        await client.close()
    return CANNOT_RUN


def unreadable(error: Exception) -> str:
    """Return what is wrong if an answer does not have the expected form.

    The operator is of another release, or something else than an API server answers.
    """
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    return (
        f"error: an answer of the API server cannot be read ({error!r}); compare the versions:"
        f" kubectl immutable version; if they are the same, report this with the output of"
        f" {TRACEBACK}=1"
    )


async def _configuration(login: Login) -> Configuration:
    try:
        return await login.configuration()
    except LoginError:
        raise
    except Exception as error:  # a credential plug-in can fail in any way
        advice = "choose another login with --kubeconfig or --context"
        raise LoginError(f"{error}; {advice}") from error


async def _found(client: KubeClient, place: Place) -> Owner:
    kind = POOL if place.is_pool else SERVICE
    namespace = place.namespace or ("" if place.is_pool else place.login.namespace())
    path = kind.path.item("" if place.is_pool else namespace, place.name)
    try:
        body = msgspec.json.decode(await client.get(path, resource=kind.path.resource))
    except NotFound as error:
        raise CannotRun(_missing(error, kind, namespace, place)) from error
    if not namespace:
        namespace = await records_home(client, place.name)
    return Owner(client, kind, namespace, place.name, body)


def _missing(error: NotFound, kind: OwnerKind, namespace: str, place: Place) -> str:
    if not error.name:
        return not_installed(kind)
    if place.is_pool:
        return f"there is no {kind.name} {place.name}; list all with: kubectl get imnp"
    return (
        f"there is no {kind.name} {place.name} in namespace {namespace}; list all with: kubectl"
        " get imsvc -A"
    )


def not_installed(kind: OwnerKind) -> str:
    """Return the sentence that the API server does not know a kind, and what to do."""
    is_pool = kind is POOL
    what = "node pools are not enabled" if is_pool else "the operator is not installed"
    return (
        f"{what}: the API server does not know the kind {kind.name}; install the chart"
        f" {'with nodes.enabled=true ' if is_pool else ''}(see README.md)"
    )


async def records_home(client: KubeClient, pool: str) -> str:
    """Return the namespace of the records of a pool, which is that of the operator."""
    query = {"labelSelector": f"{LABEL_POOL}={pool}"}
    advice = "specify the operator's namespace with --namespace"
    try:
        page = await client.list(
            REVISIONS.all(), resource=REVISIONS.resource, accept=METADATA_LIST, **query
        )
    except Forbidden as error:
        raise CannotRun(
            f"you cannot list the revisions of all namespaces to find those of pool {pool};"
            f" {advice}"
        ) from error
    items: list[dict[str, Any]] = msgspec.json.decode(page).get("items") or []
    found = sorted({str(item["metadata"]["namespace"]) for item in items})
    if len(found) == 1:
        return found[0]
    where = f"there are some in the namespaces {', '.join(found)}" if found else "there are none"
    raise CannotRun(
        f"cannot determine the operator's namespace from the revisions of pool {pool}: {where};"
        f" {advice}"
    )


def denied(error: Forbidden) -> str:
    """Return what is not permitted, and which role to ask for."""
    # The message of a policy includes advice; a role would not help.
    if policy := error.message.partition("denied request: ")[2]:
        return policy
    writes = (" cannot create ", " cannot patch ", " cannot delete ")
    role = "edit" if any(verb in error.message for verb in writes) else "view"
    if FREEZE_PLURAL in error.message and role == "edit":
        role = "immutable-operator-freezes"
    where = "the cluster" if "at the cluster scope" in error.message else "this namespace"
    return f"permission denied: {error.message}; ask for the role {role} in {where}"
