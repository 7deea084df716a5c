"""Nodes that are about to go, as far as the cluster says so."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NodeEnd"]


@dataclass(frozen=True, slots=True)
class NodeEnd:
    """A node whose pods are to leave it, known since ``since`` (seconds since the epoch).

    ``cause`` completes the sentence "node n1 …". ``announced`` is False where the node is only
    cordoned: nothing new may come, and nobody said that what is there must go.
    """

    since: float
    cause: str
    announced: bool = True
