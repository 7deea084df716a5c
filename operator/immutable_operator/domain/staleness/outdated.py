"""Outdated: it has another revision than the wanted one. And unhealthy: it ended."""

from __future__ import annotations

from immutable_operator.domain.model import Because, Instance, Reason, Revision

__all__ = ["ended", "outdated", "refused", "replaces"]


def outdated(old: str, wanted: Revision, changed: str) -> Because | None:
    """Return why instances of the revision ``old`` are outdated; None for the wanted revision.

    ``changed`` says how the configuration of the two revisions differs, for people.
    """
    if old == wanted.id:
        return None
    cause = replaces(wanted, old)
    return Because(Reason.OUTDATED, cause + (f": {changed}" if changed else ""))


def replaces(wanted: Revision, old: str) -> str:
    """Return why an instance of the revision ``old`` is outdated, without configuration."""
    return f"revision {wanted.number} ({wanted.id}) replaces revision {old}"


def ended(instance: Instance) -> Because | None:
    """Return a reason if an instance ended, since it never runs again."""
    if not instance.ended:
        return None
    cause = instance.leaving or (instance.trouble.message if instance.trouble else "it ended")
    return Because(Reason.UNHEALTHY, cause)


def refused(instance: Instance) -> Because | None:
    """Return a reason if admission changed an instance although the spec refuses that."""
    return Because(Reason.REFUSED, instance.refused) if instance.refused else None
