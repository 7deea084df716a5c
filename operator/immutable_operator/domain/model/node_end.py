"""Nodes that are about to be taken away."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NodeEnd"]


@dataclass(frozen=True, slots=True)
class NodeEnd:
    """A node whose pods are to leave it, known since ``since`` (seconds since the epoch).

    ``cause`` completes the sentence "node n1 …". ``announced`` is False if the node is only
    cordoned: new pods are kept off it, but its pods may stay.
    """

    since: float
    cause: str
    announced: bool = True
