"""Evacuating: a node is about to be taken away, and successors are created elsewhere first."""

from __future__ import annotations

from collections.abc import Mapping

from immutable_operator.domain.model import Because, Instance, NodeEnd, Reason, Spec

__all__ = ["evacuating", "is_cordoned"]


def evacuating(instance: Instance, ends: Mapping[str, NodeEnd], spec: Spec) -> Because | None:
    """Return why an instance is to leave its node; None if nothing says that it must.

    A cordon alone says so only with drain protection. An instance that was created after the end
    of its node was announced tolerates it and stays: a successor could be placed there again.
    """
    end = ends.get(instance.node or "")
    if end is None or instance.born >= _known_since(instance, end):
        return None
    if not end.announced and not spec.drain_protection:
        return None
    return Because(Reason.EVACUATING, f"node {instance.node} {end.cause}")


def _known_since(instance: Instance, end: NodeEnd) -> float:
    """Return since when a pod that is created on a node is there in spite of its end.

    Creation times are in whole seconds. The successor of a pod that leaves this very node is
    younger than the announcement, also within the same second.
    """
    because = instance.because
    is_successor = (
        because is not None
        and because.reason is Reason.EVACUATING
        and because.cause.startswith(f"node {instance.node} ")
    )
    return float(int(end.since)) if is_successor else end.since


def is_cordoned(instance: Instance, ends: Mapping[str, NodeEnd]) -> bool:
    """Return whether nothing but a cordon says that an instance is to leave its node."""
    end = ends.get(instance.node or "")
    return end is not None and not end.announced
