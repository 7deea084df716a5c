"""Wanted instances that the cluster removes, by node: a lost node, a drain, a preemption."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from immutable_operator.domain.model import Announcement, Condition, Instance, Revision, View

__all__ = ["DISRUPTED", "Disruption", "disruption_announcements", "disruptions"]

DISRUPTED = "Disrupted"
NODES_SHOWN = 8
# After a restart it is unknown which client evicted an instance that is gone.
EVICTED = "EvictionByEvictionAPI"


@dataclass(frozen=True, slots=True)
class Disruption:
    """Instances that leave one node for one cause; the message shows the first by name."""

    names: tuple[str, ...]
    node: str
    cause: str

    @property
    def place(self) -> str:
        return f"from node {self.node} ({self.cause})"

    def __str__(self) -> str:
        others = f" and {len(self.names) - 1} more" if len(self.names) > 1 else ""
        return f"{self.names[0]}{others} {self.place}"


def disruptions(view: View, wanted: Revision) -> tuple[Disruption, ...]:
    """Return which instances the cluster removes, and why, by node."""
    groups: dict[tuple[str, str], list[str]] = {}
    for instance in _taken(view, wanted):
        groups.setdefault((instance.node or "", instance.leaving or ""), []).append(instance.name)
    found = [Disruption(tuple(sorted(names)), *where) for where, names in sorted(groups.items())]
    return tuple(found[:NODES_SHOWN])


def disruption_announcements(
    view: View, wanted: Revision, told: Condition | None, since: int
) -> list[Announcement]:
    """Return the warning that the cluster removes instances: repeated when another node does so.

    ``told`` is the previous condition Reconciling, ``since`` is when the replacement began.
    """
    before = told.message if told and told.reason == DISRUPTED else ""
    new = [taken for taken in disruptions(view, wanted) if taken.place not in before]
    if not new:
        return []
    key = f"{wanted.id}/{since}/{'/'.join(taken.node for taken in new)}"
    return [Announcement(DISRUPTED, ", ".join(map(str, new)), key, True)]


def _taken(view: View, wanted: Revision) -> Iterator[Instance]:
    """Yield the instances that others retire; on the pod, our own evictions look the same."""
    for instance in view.instances:
        if instance.active or instance.revision != wanted.id or instance.uid in view.retired:
            continue
        if instance.leaving:
            yield instance
    for instance in view.departed:
        cause = instance.leaving or ""
        if instance.uid in view.retired or cause.startswith(EVICTED):
            continue
        if cause and instance.revision == wanted.id:
            yield instance
