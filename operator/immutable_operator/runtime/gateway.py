"""HTTPRoutes that services name: what is known of them, and writes of their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from immutable_operator.api.names import FIELD_MANAGER
from immutable_operator.domain.model import Cause, HttpRoute, Move, RouteLack, SetWeights
from immutable_operator.instances.driver import Refused, Seen, outcome_of
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError
from immutable_operator.kube.reading import written_version
from immutable_operator.kube.reflector import Source
from immutable_operator.kube.store import Children, Owners
from immutable_operator.wire.http_route import (
    GRANTS,
    HTTP_ROUTES,
    GrantRecord,
    HttpRouteRecord,
    decode_grant,
    decode_http_route,
    http_route_key,
    is_granted,
    lacking,
    observed,
    weights_change,
)
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["Gateway"]


class Gateway:
    """The stores of HTTPRoutes and ReferenceGrants; ``changed`` is called with the uid of a service
    that names one that changed. Without ``enabled`` nothing is watched.
    """

    resource = HTTP_ROUTES.resource

    def __init__(
        self,
        client: KubeClient,
        owners: Owners[OwnerRecord],
        changed: Callable[[str], None],
        *,
        enabled: bool = False,
    ) -> None:
        self._client, self._owners, self._changed = client, owners, changed
        self._enabled, self._served = enabled, False
        self._routes: Children[HttpRouteRecord] = Children(self._route_changed)
        self._grants: Children[GrantRecord] = Children(lambda namespace: self._all_again())

    @property
    def sources(self) -> tuple[Source, ...]:
        """What is to be watched; both definitions are installed by others."""
        if not self._enabled:
            return ()
        return (
            (HTTP_ROUTES, decode_http_route, self._routes, {"served": self._serve}),
            (GRANTS, decode_grant, self._grants, {"served": lambda is_served: None}),
        )

    def look(self, service: OwnerRecord) -> HttpRoute | None:
        """Return the HTTPRoute that a service names; None if it names none."""
        ref = service.spec.http_route
        if ref is None:
            return None
        namespace = ref.namespace or service.namespace
        lack, found = self._lack(service, namespace, ref.name), self._of(namespace, ref.name)
        if found is None:
            return lacking(namespace, ref.name, lack or RouteLack.MISSING)
        # Without a grant it is not written, but it may still send what was written before.
        return replace(observed(service, found), lack=lack)

    def _lack(self, service: OwnerRecord, namespace: str, name: str) -> RouteLack | None:
        if not self._enabled:
            return RouteLack.DISABLED
        if not self._served:
            return RouteLack.UNSERVED
        grants = self._grants.of(namespace)
        if namespace != service.namespace and not is_granted(grants, service.namespace, name):
            return RouteLack.UNGRANTED
        return None

    def _of(self, namespace: str, name: str) -> HttpRouteRecord | None:
        return next(iter(self._routes.of(http_route_key(namespace, name))), None)

    def _serve(self, is_served: bool) -> None:
        """Note whether the API server has HTTPRoutes."""
        if is_served != self._served:
            self._served = is_served
            self._all_again()

    def _route_changed(self, key: str) -> None:
        for owner in self._owners:
            ref = owner.spec.http_route
            if ref and http_route_key(ref.namespace or owner.namespace, ref.name) == key:
                self._changed(owner.uid)

    def _all_again(self) -> None:
        for owner in self._owners:
            if owner.spec.http_route is not None:
                self._changed(owner.uid)

    async def write(self, service: OwnerRecord, move: SetWeights) -> Seen:
        """Write the weights. Raises `Refused` or `Unknown`."""
        known = self._of(move.namespace, move.name)
        if known is None or known.content.version != move.version:
            raise Refused(Cause.API_SERVER, f"HTTPRoute {move.name} has just been changed")
        path = HTTP_ROUTES.item(move.namespace, move.name)
        change = weights_change(service, known, move.percent)
        try:
            answer = await self._client.amend(
                path, change, resource=self.resource, manager=FIELD_MANAGER
            )
        except ApiError as error:
            raise outcome_of(Move.WEIGHTS, error) from error
        version = written_version(answer)
        shows = self.shows(service, move)
        return lambda: self._routes.version >= version or shows()

    def shows(self, service: OwnerRecord, move: SetWeights) -> Seen:
        """Return a check whether a write without a response was carried out after all."""

        def is_written() -> bool:
            known = self._of(move.namespace, move.name)
            return known is None or known.content.version > move.version

        return is_written
