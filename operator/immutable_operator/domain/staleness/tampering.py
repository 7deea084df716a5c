"""Why an instance is stale. Every reason ends in the same two moves, create and retire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from immutable_operator.domain.model import Evidence, Instance, Staleness, StaleReason

__all__ = ["deviation", "staleness"]


def staleness(
    instance: Instance,
    wanted: str,
    wanted_number: int,
    template: Mapping[str, Any] | None = None,
    evidence: Evidence | None = None,
    changed: str = "",
) -> Staleness | None:
    """Why ``instance`` is stale when revision ``wanted`` is wanted; None while it is current.

    ``template`` is the wanted revision's; ``changed`` says how their ConfigMaps differ.
    """
    known = template if instance.revision == wanted else None
    if found := deviation(instance, known, evidence or Evidence()):
        return found
    if instance.revision != wanted:
        cause = f"revision {wanted_number} ({wanted}) is wanted, this was {instance.revision}"
        cause += f": {changed}" if changed else ""
        return Staleness(StaleReason.OUTDATED, cause)
    if instance.ended:
        cause = instance.leaving or (instance.trouble.message if instance.trouble else "it ended")
        return Staleness(StaleReason.UNHEALTHY, cause)
    return None


def deviation(
    instance: Instance, template: Mapping[str, Any] | None, evidence: Evidence
) -> Staleness | None:
    """How ``instance`` differs from what was born; None while nothing is known against it.

    Without the template that it was born from, only what the instance itself shows is judged.
    """
    if instance.taint:
        return Staleness(StaleReason.TAINTED, instance.taint)
    if template is not None:
        spec = template.get("spec") or {}
        if cause := _other_image(instance, spec, evidence):
            return Staleness(StaleReason.DRIFTED, cause)
        if cause := _edited(instance, evidence):
            return Staleness(StaleReason.TAINTED, cause)
    if cause := evidence.replaced.get(instance.uid):
        return Staleness(StaleReason.DRIFTED, cause)
    return None


def _other_image(instance: Instance, spec: Mapping[str, Any], evidence: Evidence) -> str | None:
    """An image that is not the pinned one: in its spec, or proven of what runs.

    A mutating webhook may rewrite the registry (a mirror), but not the digest.
    """
    containers = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    pinned = {str(c.get("name")): str(c.get("image")) for c in containers}
    reported = dict(instance.reported)
    for name, image in instance.images:
        if name not in pinned:
            continue
        if image.rpartition("@")[2] != pinned[name].rpartition("@")[2]:
            return f"container {name} has image {image}, pinned is {pinned[name]}{_by(instance)}"
        if (image, reported.get(name, "")) in evidence.different:
            return f"container {name} runs {reported[name]}, which is not {image}"
    return None


def _edited(instance: Instance, evidence: Evidence) -> str | None:
    """A spec that was changed after it got its node, by the API server's own count.

    It starts at 1 and a rightful step is none but deletion: the binding to a node does not count
    (1.36.3). While scheduling gates hold it back, whoever put them there, others may shape it.
    """
    if not instance.node or instance.terminating or not instance.generation:
        return None
    if instance.generation <= evidence.baselines.get(instance.uid, 1):
        return None
    return f"its spec was changed while it ran{_by(instance)}"


def _by(instance: Instance) -> str:
    return f" (by {instance.editor})" if instance.editor else ""
