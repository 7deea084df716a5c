"""The temporary service on which paths are tried, its namespace, and their removal."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from immutable_operator.api.names import (
    ANNOTATION_HEAL_COUNT,
    API_VERSION,
    INSTANCE_NAME,
    REVISION_PLURAL,
)
from immutable_operator.cli.manifest import REPLICAS, manifest
from immutable_operator.cli.objects import Json, annotation, condition, is_ready, wait
from immutable_operator.cli.person import MERGE, Person, Request
from immutable_operator.cli.problem import CannotRun
from immutable_operator.kube.errors import ApiError, Forbidden, NotFound, Unreachable
from immutable_operator.kube.paths import PODS, ApiPath
from immutable_operator.wire.owner import SERVICES

__all__ = ["REVISIONS", "Image", "ThrowAway"]

Say = Callable[[str], None]
NAMESPACES = "/api/v1/namespaces"
REVISIONS = ApiPath(f"apis/{API_VERSION}", REVISION_PLURAL)
CONFIG_MAPS = ApiPath("api/v1", "configmaps")
ACCOUNTS = ApiPath("api/v1", "serviceaccounts")
OPERATOR_SECONDS = 30.0
CLEANUP_SECONDS = 120.0


@dataclass(frozen=True)
class Image:
    """The image of the service; without a command, the default command of the image."""

    name: str
    command: tuple[str, ...] = ()


class ThrowAway:
    """An ImmutableService with two instances.

    Parameters
    ----------
    person
        The user whose credentials create all objects.
    namespace
        Namespace of the service; with ``own`` it is created, and deleted at the end.
    timeout
        Seconds for the instances to become ready.
    """

    def __init__(
        self, person: Person, namespace: str, name: str, *, own: bool, timeout: float, say: Say
    ) -> None:
        self.person = person
        self.namespace = namespace
        self.name = name
        self._own = own
        self._timeout = timeout
        self._say = say
        self._image = ""
        self._round = 0
        self._made: list[str] = []
        self._pending: asyncio.Future[bytes] | None = None

    @property
    def path(self) -> str:
        return SERVICES.item(self.namespace, self.name)

    @property
    def settings(self) -> str:
        """Path of the ConfigMap that the instances read."""
        return CONFIG_MAPS.item(self.namespace, f"{self.name}-settings")

    @property
    def gated_name(self) -> str:
        return f"{self.name}-gated"

    @property
    def remains(self) -> str:
        """The command that removes all remaining objects; "" if nothing was created."""
        if not self._made:
            return ""
        if self._own:
            return f"kubectl delete namespace {self.namespace}"
        return f"kubectl delete -n {self.namespace} imsvc/{self.name} cm/{self.name}-settings"

    async def make(self, image: Image, on_taint: str) -> Json:
        """Create the objects, wait until the service is ready and return it. Raises `CannotRun`."""
        if self._own:
            await self._create(NAMESPACES, {"metadata": {"name": self.namespace}}, "namespaces")
        account = ACCOUNTS.item(self.namespace, "default")
        if await wait(lambda: self.lookup(account), self._timeout if self._own else 0) is None:
            raise CannotRun(
                f"namespace {self.namespace} does not exist or has no service account default,"
                " which pods need; choose another, or check that the controller manager is running"
            )
        await self.create_settings("1")
        self._image = image.name
        document = manifest(self.namespace, self.name, image.name, image.command, on_taint)
        await self._create(SERVICES.collection(self.namespace), document, "immutableservices")
        await self._until_seen()
        return await self.until_ready(patience=0.0)

    async def create_settings(self, text: str) -> None:
        """Create the ConfigMap that the instances read."""
        name = self.settings.rpartition("/")[2]
        body = {"metadata": {"name": name}, "immutable": True, "data": {"VERIFY": text}}
        await self._create(CONFIG_MAPS.collection(self.namespace), body, "configmaps")

    async def _create(self, path: str, body: Json, resource: str) -> None:
        """Create an object, and note it for removal at the end."""
        where = "" if path == NAMESPACES else f" in namespace {self.namespace}"
        made = f"{path}/{body['metadata']['name']}"
        self._made.append(made)
        # An interrupted request can still be processed: `remove` waits for it.
        self._pending = asyncio.ensure_future(self.person.send(Request("POST", path, body)))
        try:
            await asyncio.shield(self._pending)
        except Unreachable as error:
            raise CannotRun(f"cannot create {resource}{where}: {error}") from error
        except ApiError as error:
            self._made.remove(made)
            instead = "ask for the permission" if isinstance(error, Forbidden) else "fix the cause"
            other = ", or specify a namespace in which you have the role admin with --namespace"
            raise CannotRun(
                f"cannot create {resource}{where}: {error.message}; {instead}{other}"
            ) from error

    async def _settle(self) -> None:
        """Wait for a request that was in progress when the command was interrupted."""
        if self._pending is not None and not self._pending.done():
            await asyncio.wait([self._pending], timeout=20.0)

    async def lookup(self, path: str) -> Json | None:
        """An object; None if it does not exist."""
        try:
            return await self.person.read(path)
        except NotFound:
            return None

    async def service(self) -> Json:
        return await self.person.read(self.path)

    async def revisions(self) -> list[Json]:
        items: list[Json] = (await self.person.read(REVISIONS.collection(self.namespace)))["items"]
        return [i for i in items if i["spec"]["service"] == self.name]

    async def revision(self) -> Json:
        """The current revision. Raises `CannotRun`."""

        async def recorded() -> Json | None:
            wanted = (await self.service())["status"].get("currentRevision")
            found = [r for r in await self.revisions() if r["spec"]["revision"] == wanted]
            return found[0] if found else None

        if (found := await wait(recorded, self._timeout)) is None:
            raise CannotRun("the operator has not recorded the revision; see its log")
        return dict(found)

    async def pods(self, service: str = "") -> list[Json]:
        """All pods with the name of an instance, regardless of their labels."""
        items: list[Json] = (await self.person.read(PODS.collection(self.namespace)))["items"]
        wanted = service or self.name
        return [i for i in items if _service_of(i["metadata"]["name"]) == wanted]

    async def gated(self) -> Json:
        """The only instance of a second service, which is never scheduled."""
        document = manifest(self.namespace, self.gated_name, self._image, gated=True)
        await self._create(SERVICES.collection(self.namespace), document, "immutableservices")

        async def born() -> Json | None:
            return next(iter(await self.pods(self.gated_name)), None)

        if (pod := await wait(born, self._timeout)) is None:
            raise CannotRun(f"service {self.gated_name} has no instance; see the operator's log")
        return dict(pod)

    async def ungate(self) -> None:
        """Delete the second service and wait until its pods are gone."""
        await self._delete(SERVICES.item(self.namespace, self.gated_name))

        async def gone() -> bool:
            return not await self.pods(self.gated_name)

        await wait(gone, self._timeout)

    async def _until_seen(self) -> None:
        """Wait until the operator has written the status of the service."""
        self._say("waiting for the operator to process the service")

        async def seen() -> bool:
            status = (await self.service()).get("status") or {}
            return int(status.get("observedGeneration", -1)) >= 0

        within = min(self._timeout, OPERATOR_SECONDS)
        if not await wait(seen, within):
            raise CannotRun(
                f"no operator processed the service within {within:g} s, so nothing would be"
                " healed; start it"
                " (kubectl get pods -A -l app.kubernetes.io/name=immutable-operator)"
            )

    async def until_ready(self, patience: float = 5.0) -> Json:
        """Wait until all instances are ready and current; return the service. Raises `CannotRun`.

        Progress is reported after ``patience`` seconds.
        """
        told, began = "", time.monotonic()

        async def ready() -> Json | None:
            nonlocal told
            body = await self.service()
            status, found = body.get("status") or {}, condition(body, "Ready")
            current = status.get("observedGeneration") == body["metadata"]["generation"]
            if current and found.get("status") == "True":
                return body
            text = f"{status.get('readyReplicas') or 0} of {REPLICAS}"
            if text != told and time.monotonic() - began >= patience:
                self._say(f"waiting for the instances to be ready: {text}")
                told = text
            return None

        if (body := await wait(ready, self._timeout)) is None:
            why = condition(await self.service(), "Ready").get("message", "no reason given")
            raise CannotRun(
                f"the temporary service {self.namespace}/{self.name} was not ready within"
                f" {self._timeout:g} s: {why}; specify an image that the nodes can run (--image) or"
                " a longer time (--timeout)"
            )
        return dict(body)

    async def fresh(self, *, everyone: bool = False) -> Json:
        """A ready instance that did not replace a tainted one; with ``everyone``, all are like
        that.

        Otherwise the operator would pause before it replaces the instance again, by design, and the
        pause would be part of the measured time.
        """
        await self.until_ready()
        found = await self._unspoilt()
        if len(found) >= (REPLICAS if everyone else 1):
            return found[0]
        self._round += 1
        notes = {"verify-round": str(self._round)}
        change = {"spec": {"template": {"metadata": {"annotations": notes}}}}
        await self.person.send(Request("PATCH", self.path, change, MERGE))
        await self.until_ready()
        if found := await self._unspoilt():
            return found[0]
        raise CannotRun("all instances of the service were changed; run the command again")

    async def _unspoilt(self) -> list[Json]:
        return [
            pod
            for pod in await self.pods()
            if is_ready(pod) and not annotation(pod, ANNOTATION_HEAL_COUNT)
        ]

    async def discard(self, path: str) -> None:
        """Delete an object that an attempt changed or created, including its finalizers."""
        for request in (
            Request("PATCH", path, {"metadata": {"finalizers": None}}, MERGE),
            Request("DELETE", path),
        ):
            try:
                await self.person.send(request)
            except ApiError as error:
                if not isinstance(error, NotFound):
                    self._say(f"{path} could not be deleted: {error.message}")

    async def restore_status(self, service: Json) -> None:
        """Restore the counts that an attempt has forged."""
        counts = {"readyReplicas": service["status"]["readyReplicas"]}
        await self.person.send(Request("PATCH", f"{self.path}/status", {"status": counts}, MERGE))

    async def remove(self) -> bool:
        """Delete all objects; False, with a message, if some of them remain."""
        await self._settle()
        if not self._made:
            return True
        where = f"namespace {self.namespace}" if self._own else f"{self.namespace}/{self.name}"
        self._say(f"cleaning up: deleting {where}")
        try:
            for path in reversed(self._made if not self._own else self._made[:1]):
                await self._delete(path)
            gone = await wait(self._is_gone, CLEANUP_SECONDS)
        except ApiError as error:
            self._say(f"cleaning up failed: {error}; clean up with: {self.remains}")
            return False
        if not gone:
            self._say(f"{where} still exists after {CLEANUP_SECONDS:g} s; see: {self.remains}")
            return False
        self._say(f"{where} was deleted")
        return True

    async def _delete(self, path: str) -> None:
        with contextlib.suppress(NotFound):
            await self.person.send(Request("DELETE", path))

    async def _is_gone(self) -> bool:
        if self._own:
            return await self.lookup(f"{NAMESPACES}/{self.namespace}") is None
        return await self.lookup(self.path) is None and not await self.pods()


def _service_of(pod: str) -> str:
    """The service to which a pod belongs by its name; "" if it is not an instance."""
    found = re.search(INSTANCE_NAME, pod)
    return pod[: found.start()] if found else ""
