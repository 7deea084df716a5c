"""The table of all paths by which an instance, or an object around it, can be changed in place.

The first part of an id is that of docs/enforcement.md. ``expected`` is the minimum result: Healed
if the operator can detect the change, Prevented if only the API server can prevent it.
"""

from __future__ import annotations

from immutable_operator.cli.around_instances import OTHERS
from immutable_operator.cli.into_instances import CONNECTS, EDITS
from immutable_operator.cli.outcome import Result
from immutable_operator.cli.path import Path

__all__ = ["PATHS", "UNTRIED"]

HELD, OPEN = Result.NOT_TRIED, Result.NOT_COVERED
PATHS: tuple[Path, ...] = (*EDITS, *CONNECTS, *OTHERS)
"""In the order in which they are tried; the path that replaces all instances comes last."""

UNTRIED: tuple[tuple[str, str, Result, str], ...] = (
    (
        "P8",
        "the kubelet's own port",
        OPEN,
        "bypasses the API server; block access to port 10250",
    ),
    (
        "P16",
        "webhooks that rewrite new pods",
        HELD,
        "images stay pinned; trying it requires a cluster-wide webhook",
    ),
    (
        "P17",
        "a container that restarts in place",
        HELD,
        "not a request; see spec.immutability.restarts",
    ),
    (
        "P19",
        "static pods",
        HELD,
        "they cannot be instances, so they get no traffic; files on the node define them",
    ),
    (
        "P21",
        "tokens and certificates that rotate",
        OPEN,
        "intended: the cluster rotates them",
    ),
    ("C1", "a changed spec of the service", HELD, "the intended way: it creates a new revision"),
    (
        "C4",
        "a freeze overridden without permission",
        HELD,
        "changes no pod; requires the verb override on immutablefreezes",
    ),
    (
        "S3",
        "a second Service, route or NetworkPolicy",
        OPEN,
        "RBAC decides which users may create them",
    ),
    ("V1", "data written to volumes", OPEN, "not a request; mount volumes read-only"),
    (
        "N2",
        "access to a node by a pod",
        HELD,
        "only with nodes.enabled; refused by the policy node-access",
    ),
    (
        "N3",
        "forged records of a node",
        HELD,
        "only with nodes.enabled; refused by the policies node-records and claim-records",
    ),
    (
        "N4",
        "forged status or revision of a pool",
        HELD,
        "only with nodes.enabled; refused by the policies pool-status and pool-revisions",
    ),
    ("N1", "root on a node", OPEN, "not visible in the API; replace nodes regularly"),
    (
        "G1",
        "policies removed by an administrator",
        HELD,
        "not prevented; reported by the condition Guarded",
    ),
    (
        "G2",
        "a user who acts as the operator",
        HELD,
        "cannot change a pod spec either; RBAC decides which users may",
    ),
    ("G3", "writes into etcd", OPEN, "bypasses the API server"),
)
"""Paths that cannot be tried from outside: id, description, result, explanation."""
