"""Evacuating: the node of an instance is about to go; its successor is created elsewhere first."""

from __future__ import annotations

from collections.abc import Mapping

from immutable_operator.domain.model import Because, Instance, NodeEnd, Reason, Spec

__all__ = ["evacuating", "is_prepared"]


def evacuating(instance: Instance, ends: Mapping[str, NodeEnd], spec: Spec) -> Because | None:
    """Why an instance is to leave its node; None where nothing says that it must.

    A mere cordon says so only where drains are to wait for successors.

    An instance that was created when the end of its node was known already tolerates it: a
    successor would be placed there again, without an end.
    """
    end = ends.get(instance.node or "")
    if end is None or instance.born >= end.since:
        return None
    if not end.announced and not spec.drain_protection:
        return None
    return Because(Reason.EVACUATING, f"node {instance.node} {end.cause}")


def is_prepared(instance: Instance, ends: Mapping[str, NodeEnd]) -> bool:
    """Whether an instance only gets a successor, and goes when somebody else evicts it."""
    end = ends.get(instance.node or "")
    return end is not None and not end.announced
