"""Outdated: of another revision than the wanted one. And unhealthy: it ended."""

from __future__ import annotations

from immutable_operator.domain.model import Because, Instance, Reason, Revision

__all__ = ["ended", "outdated"]


def outdated(instance: Instance, wanted: Revision, changed: str) -> Because | None:
    """``changed`` says how the configuration of the two revisions differs, for people."""
    if instance.revision == wanted.id:
        return None
    cause = f"revision {wanted.number} ({wanted.id}) is wanted, this was {instance.revision}"
    return Because(Reason.OUTDATED, cause + (f": {changed}" if changed else ""))


def ended(instance: Instance) -> Because | None:
    """An instance that ended never runs again."""
    if not instance.ended:
        return None
    cause = instance.leaving or (instance.trouble.message if instance.trouble else "it ended")
    return Because(Reason.UNHEALTHY, cause)
