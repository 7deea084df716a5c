"""Writes of the operator's PodDisruptionBudgets."""

from __future__ import annotations

import contextlib

from immutable_operator.api.names import FIELD_MANAGER
from immutable_operator.domain.model import Cause, DeleteBudget, Move, SetBudget, budget_name
from immutable_operator.domain.protection import taken
from immutable_operator.instances.driver import Refused, Seen, outcome_of
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Conflict, NotFound
from immutable_operator.kube.reading import written_version
from immutable_operator.kube.store import Children
from immutable_operator.wire.budget import (
    BUDGETS,
    BudgetRecord,
    budget_body,
    budget_change,
    selected_revision,
)
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["BudgetWriter"]


class BudgetWriter:
    """Writes budgets; each write returns a check for its result. ``budgets`` is by namespace."""

    resource = BUDGETS.resource

    def __init__(self, client: KubeClient, budgets: Children[BudgetRecord]) -> None:
        self._client, self._budgets = client, budgets

    async def write(self, service: OwnerRecord, move: SetBudget | DeleteBudget) -> Seen:
        """Carry out one move. Raises `Refused` or `Unknown`."""
        try:
            if isinstance(move, DeleteBudget):
                return await self._delete(service, move)
            answer = await self._set(service, move)
        except ApiError as error:
            raise outcome_of(Move.BUDGET, error) from error
        version, shows = written_version(answer), self.shows(service, move)
        return lambda: self._budgets.version >= version or shows()

    async def _set(self, service: OwnerRecord, move: SetBudget) -> bytes:
        """Create the budget, or change it if it is known: never one that another client created."""
        known = [b for b in self._budgets.of(service.namespace) if b.service == service.uid]
        if not known:
            path = BUDGETS.collection(service.namespace)
            try:
                body = budget_body(service, move)
                return await self._client.create(path, body, resource=self.resource)
            except Conflict as error:
                raise Refused(Cause.NAME_TAKEN, taken(budget_name(service.name))) from error
        path = BUDGETS.item(service.namespace, known[0].name)
        change = budget_change(service, move, known[0])
        return await self._client.patch(path, change, resource=self.resource, manager=FIELD_MANAGER)

    async def _delete(self, service: OwnerRecord, move: DeleteBudget) -> Seen:
        path = BUDGETS.item(service.namespace, move.name)
        body = {"preconditions": {"uid": move.uid}}
        with contextlib.suppress(NotFound):
            await self._client.delete(path, body, resource=self.resource)
        return self.shows(service, move)

    def shows(self, service: OwnerRecord, move: SetBudget | DeleteBudget) -> Seen:
        """Return a check whether a move without a response was carried out after all."""
        if isinstance(move, DeleteBudget):
            return lambda: self._budgets.get(move.uid) is None
        return lambda: any(
            record.service == service.uid
            and record.content.min_available == move.min_available
            and selected_revision(service.name, record.content.selector) == move.revision
            for record in self._budgets.of(service.namespace)
        )
