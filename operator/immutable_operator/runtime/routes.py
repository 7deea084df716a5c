"""Writes of the operator's Services."""

from __future__ import annotations

import contextlib

from immutable_operator.api.names import FIELD_MANAGER
from immutable_operator.domain.model import Cause, DeleteRoute, Move, SetRoute
from immutable_operator.domain.routing import digest_of, name_taken
from immutable_operator.instances.driver import Refused, Seen, outcome_of
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Conflict, NotFound
from immutable_operator.kube.reading import written_version
from immutable_operator.kube.store import Children
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.route import ROUTES, RouteRecord, route_body, route_change, route_key

__all__ = ["RouteWriter"]


class RouteWriter:
    """Writes Services; each write returns a check for its result. ``routes`` is by namespace and
    name.
    """

    resource = ROUTES.resource

    def __init__(self, client: KubeClient, routes: Children[RouteRecord]) -> None:
        self._client, self._routes = client, routes

    async def write(self, service: OwnerRecord, move: SetRoute | DeleteRoute) -> Seen:
        """Carry out one move. Raises `Refused` or `Unknown`."""
        try:
            if isinstance(move, DeleteRoute):
                return await self._delete(service, move)
            answer = await self._set(service, move)
        except ApiError as error:
            raise outcome_of(Move.ROUTE, error) from error
        version, shows = written_version(answer), self.shows(service, move)
        return lambda: self._routes.version >= version or shows()

    def _own(self, service: OwnerRecord, name: str) -> RouteRecord | None:
        known = self._routes.of(route_key(service.namespace, name))
        return next((record for record in known if record.service == service.uid), None)

    async def _set(self, service: OwnerRecord, move: SetRoute) -> bytes:
        """Create a Service, or change it if it is known: never one that another client created."""
        known = self._own(service, move.name)
        if known is None:
            path, body = ROUTES.collection(service.namespace), route_body(service, move)
            try:
                return await self._client.create(path, body, resource=self.resource)
            except Conflict as error:
                raise Refused(Cause.NAME_TAKEN, name_taken(move.name)) from error
        path, change = ROUTES.item(service.namespace, move.name), route_change(service, move, known)
        return await self._client.patch(path, change, resource=self.resource, manager=FIELD_MANAGER)

    async def _delete(self, service: OwnerRecord, move: DeleteRoute) -> Seen:
        path = ROUTES.item(service.namespace, move.name)
        body = {"preconditions": {"uid": move.uid}}
        with contextlib.suppress(NotFound):
            await self._client.delete(path, body, resource=self.resource)
        return self.shows(service, move)

    def shows(self, service: OwnerRecord, move: SetRoute | DeleteRoute) -> Seen:
        """Return a check whether a move without a response was carried out after all."""
        if isinstance(move, DeleteRoute):
            return lambda: self._is_gone(move.uid)
        return lambda: self._is_set(service, move)

    def _is_gone(self, uid: str) -> bool:
        """Return whether a Service is gone, or is going when its finalizers are."""
        known = self._routes.get(uid)
        return known is None or known.content is None or known.content.is_leaving

    def _is_set(self, service: OwnerRecord, move: SetRoute) -> bool:
        known = self._own(service, move.name)
        return (
            known is not None
            and known.content is not None
            and (known.content.digest == digest_of(move))
        )
