"""Everything that a planner knows of one owner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from immutable_operator.domain.model.because import Evidence
from immutable_operator.domain.model.budget import DisruptionBudget
from immutable_operator.domain.model.check import Measured
from immutable_operator.domain.model.command import Request
from immutable_operator.domain.model.config import ConfigKey, Source
from immutable_operator.domain.model.freeze import Freeze
from immutable_operator.domain.model.guard import Guard
from immutable_operator.domain.model.http_route import HttpRoute
from immutable_operator.domain.model.instance import Instance
from immutable_operator.domain.model.node_end import NodeEnd
from immutable_operator.domain.model.owner import Spec
from immutable_operator.domain.model.refusal import Refusal
from immutable_operator.domain.model.revision import Revision
from immutable_operator.domain.model.route import Route
from immutable_operator.domain.model.status import Status

__all__ = ["View"]


@dataclass(frozen=True, slots=True)
class View:
    """One owner as observed, with all objects that belong to it.

    ``departed`` are instances that vanished since they were last seen and whose successors do not
    exist yet; after a restart of the operator they are unknown, which costs one entry of the
    lineage, no more. ``invalid`` is a sentence if the operator's own check refused the spec.
    ``retry`` is the value of the owner's annotation for retries.
    ``prior`` is the status that the last plan computed, or the stored one after a restart.
    ``configs`` says by kind and name what is known of the pinned objects; ``snapshots`` are the
    names of the copies that exist with the content that their revision recorded. ``withheld`` are
    Secrets that the spec wants pinned, and that the operator may not read. ``budgets`` are the
    PodDisruptionBudgets that cover its instances, ``routes`` the Services with the names of its
    own, ``http_route`` the HTTPRoute that it names. ``ends`` are by name the nodes that are about
    to be taken away. ``retired`` are the uids of the instances that this process retired, as far as
    it remembers; ``sent_numbers`` are, by id, the numbers of revisions whose record it sent without
    a response. ``is_protected`` says that the deletion of the owner waits until the operator
    permits it. ``measured`` is what checks found and is not on record yet.
    """

    name: str
    namespace: str
    uid: str
    generation: int
    spec: Spec
    invalid: str | None = None
    deleting: bool = False
    is_protected: bool = False
    author: str = "unknown"
    instances: tuple[Instance, ...] = ()
    departed: tuple[Instance, ...] = ()
    retired: frozenset[str] = frozenset()
    revisions: tuple[Revision, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)
    guard: Guard | None = None
    requests: tuple[Request, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    budgets: tuple[DisruptionBudget, ...] = ()
    routes: tuple[Route, ...] = ()
    http_route: HttpRoute | None = None
    ends: Mapping[str, NodeEnd] = field(default_factory=dict)
    configs: Mapping[ConfigKey, Source] = field(default_factory=dict)
    snapshots: frozenset[str] = frozenset()
    withheld: frozenset[ConfigKey] = frozenset()
    prior: Status = field(default_factory=Status)
    measured: tuple[Measured, ...] = ()
    retry: str = ""
    desired_before: int | None = None
    sent_numbers: Mapping[str, int] = field(default_factory=dict)
