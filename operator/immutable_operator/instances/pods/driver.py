"""The driver of pods: creation, eviction, deletion, quarantine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from immutable_operator.api.names import FIELD_MANAGER
from immutable_operator.domain.config.admission import differences
from immutable_operator.domain.families.admitted import WAYS_ON
from immutable_operator.domain.model import (
    Cause,
    Create,
    Instance,
    Move,
    Quarantine,
    Retire,
    changes_in_words,
)
from immutable_operator.instances.driver import InstanceMove, Refused, Seen, Template, outcome_of
from immutable_operator.instances.pods.codec import (
    PODS,
    decode_pod,
    deletion_body,
    eviction_body,
    pod_body,
    quarantine_body,
)
from immutable_operator.instances.pods.form import opened
from immutable_operator.instances.pods.watched import Pods
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Conflict, NotFound
from immutable_operator.kube.reading import READ_ERRORS, metadata_of, written_version
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["PodDriver"]


def _is_born(answer: bytes, service: OwnerRecord, birth: Create) -> bool:
    """Return whether this is the pod that was to be created; False if it cannot be read."""
    try:
        found = decode_pod(answer)
    except READ_ERRORS:
        return False
    return found.owner == service.uid and found.content.revision == birth.revision


def _check_admission(
    service: OwnerRecord, body: Mapping[str, Any], answer: bytes, birth: Create
) -> None:
    """Raise `Refused` if admission changed a new pod in a way that the spec refuses.

    The pod exists by then. The next plan retires it; the refusal paces its successors.
    """
    if birth.admits is None:
        return
    changes = differences(body, opened(decode_pod(answer).form))
    made = service.spec.accepted.others(changes)
    if made and made != birth.admits:
        text = f"admission changed pod {birth.name}: {changes_in_words(made)}; {WAYS_ON}"
        raise Refused(Cause.CHANGED, text)


class PodDriver:
    """Writes pods. ``clock`` returns seconds since the epoch."""

    def __init__(self, client: KubeClient, pods: Pods, clock: Callable[[], float]) -> None:
        self._client = client
        self._pods = pods
        self._clock = clock

    def observe(self, owner: OwnerRecord) -> tuple[Instance, ...]:
        return tuple(pod.content for pod in self._pods.of(owner.uid))

    def gone(self, owner: OwnerRecord) -> Mapping[str, Instance]:
        return self._pods.gone(owner.uid)

    def resource(self, owner: OwnerRecord, move: Create | InstanceMove) -> str:
        return PODS.resource

    async def write(self, owner: OwnerRecord, move: InstanceMove) -> Seen:
        match move:
            case Retire():
                return await self.retire(owner, move)
            case Quarantine():
                return await self.quarantine(owner, move)
            case _:
                raise TypeError(f"no move for pods: {move}")

    async def create(self, service: OwnerRecord, template: Template, birth: Create) -> Seen:
        path = PODS.collection(service.namespace)
        body = pod_body(service, template, birth)
        try:
            answer = await self._client.create(path, body, resource="pods")
        except Conflict as error:
            answer = await self._own(service, birth, error)
        except ApiError as error:
            raise outcome_of(Move.CREATE, error) from error
        _check_admission(service, body, answer, birth)
        return self._until(answer, self.shows(service, birth))

    async def _own(self, service: OwnerRecord, birth: Create, error: Conflict) -> bytes:
        """Return the pod that has the name already, if it is the one that was to be created."""
        path = PODS.item(service.namespace, birth.name)
        try:
            answer = await self._client.get(path, resource="pods")
        except NotFound as gone:
            # It was deleted between the two requests: the name is free for the next try.
            raise Refused(Cause.API_SERVER, gone.message) from gone
        except ApiError as other:
            raise outcome_of(Move.CREATE, other) from other
        if not _is_born(answer, service, birth):
            text = (
                f"pod {birth.name} exists but does not belong to this service; the operator uses"
                " another name; to end this warning, delete that pod"
            )
            raise Refused(Cause.NAME_TAKEN, text) from error
        return answer

    async def retire(self, service: OwnerRecord, order: Retire) -> Seen:
        try:
            if order.by_will or (order.while_unready and not self._is_ready(order.uid)):
                await self._delete(service, order)
            else:
                path = PODS.item(service.namespace, order.name, "eviction")
                body = eviction_body(service, order)
                await self._client.create(path, body, resource="pods/eviction")
        except NotFound:
            pass  # gone already; the view will show it
        except ApiError as error:
            raise outcome_of(Move.RETIRE, error) from error
        return self.shows(service, order)

    def _is_ready(self, uid: str) -> bool:
        """Return whether a pod became ready since the plan was made: then a budget counts it."""
        pod = self._pods.get(uid)
        return pod is not None and pod.content.ready_since is not None

    async def _delete(self, service: OwnerRecord, order: Retire) -> None:
        """Delete a pod in the known version only: if it changed, it is judged again first."""
        pod = self._pods.get(order.uid)
        if pod is None:
            return
        path = PODS.item(service.namespace, order.name)
        body = deletion_body(order.uid, pod.version)
        await self._client.delete(path, body, resource="pods")

    async def quarantine(self, service: OwnerRecord, order: Quarantine) -> Seen:
        path = PODS.item(service.namespace, order.name)
        try:
            found = await self._client.get(path, resource="pods")
            labels = metadata_of(found).get("labels") or {}
            body = quarantine_body(service, labels, order, self._clock())
            answer = await self._client.patch(path, body, resource="pods", manager=FIELD_MANAGER)
        except NotFound:
            return lambda: self._pods.get(order.uid) is None
        except ApiError as error:
            raise outcome_of(Move.QUARANTINE, error) from error
        return self._until(answer, self.shows(service, order))

    def shows(self, service: OwnerRecord, move: Create | InstanceMove) -> Seen:
        match move:
            case Create():
                return lambda: any(p.content.name == move.name for p in self._pods.of(service.uid))
            case Retire():
                return lambda: self._is(move.uid, lambda i: i.terminating)
            case Quarantine():
                return lambda: self._is(move.uid, lambda i: i.quarantined is not None)
            case _:
                raise TypeError(f"no move for pods: {move}")

    def _is(self, uid: str, what: Callable[[Instance], bool]) -> bool:
        """Return whether a pod is gone, or has the intended state."""
        pod = self._pods.get(uid)
        return pod is None or what(pod.content)

    def _until(self, answer: bytes, shows: Seen) -> Seen:
        version = written_version(answer)
        return lambda: self._pods.version >= version or shows()
