"""Every path by which an instance, or what is around it, can be changed in place: the table.

The first part of an id is that of docs/enforcement.md. ``expected`` is the least that should
hold: Healed where the operator finds it out by itself, Prevented where only the API server can.
"""

from __future__ import annotations

from immutable_operator.cli.around_instances import OTHERS
from immutable_operator.cli.into_instances import CONNECTS, EDITS
from immutable_operator.cli.outcome import Result
from immutable_operator.cli.path import Path

__all__ = ["PATHS", "UNTRIED"]

HELD, OPEN = Result.NOT_TRIED, Result.NOT_COVERED
PATHS: tuple[Path, ...] = (*EDITS, *CONNECTS, *OTHERS)
"""In the order in which they are tried; what ends all instances comes last."""

UNTRIED: tuple[tuple[str, str, Result, str], ...] = (
    (
        "P8",
        "the kubelet's own port",
        OPEN,
        "the API server is not asked; close port 10250 to others",
    ),
    (
        "P16",
        "webhooks that rewrite pods at birth",
        HELD,
        "images stay pinned; it would need one for the whole cluster",
    ),
    (
        "P17",
        "a container that restarts in place",
        HELD,
        "no request; immutability.restarts: Replace",
    ),
    (
        "P19",
        "static pods",
        HELD,
        "no mirror pod, so no endpoint; the node's disk decides what runs",
    ),
    (
        "P21",
        "tokens and certificates that rotate",
        OPEN,
        "nobody changes them by hand; it is wanted",
    ),
    ("C1", "another spec of the service", HELD, "the front door: it makes a new revision"),
    (
        "C4",
        "a freeze passed without the right",
        HELD,
        "changes no instance; it takes override on immutablefreezes",
    ),
    (
        "S3",
        "a second Service, route or NetworkPolicy",
        OPEN,
        "theirs; RBAC decides who may have one",
    ),
    ("V1", "what is written into volumes", OPEN, "no request; mount them read-only"),
    ("N1", "root on a node", OPEN, "nothing in the API sees it; replace nodes"),
    (
        "G1",
        "policies removed by an administrator",
        HELD,
        "not prevented; the condition Guarded says it",
    ),
    (
        "G2",
        "somebody who acts as the operator",
        HELD,
        "not even that changes a spec; RBAC decides who",
    ),
    ("G3", "writes into etcd", OPEN, "the API server is not asked"),
)
"""Paths that cannot be tried from outside: id, what, whether anything holds them, why."""
