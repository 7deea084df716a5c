"""From a wanted template to what instances are created from: what it does not say gets a default.

The root file system of a container is read-only unless its template says otherwise or the service
opts out. Revisions that were recorded before (hashes v1 to v3) keep creating what they created.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["WRITABLE", "as_written", "born_from"]

Template = Mapping[str, Any]
# Beside metadata and spec of a wanted template: the service opts out of the default.
WRITABLE = "writableRootFilesystem"
_READ_ONLY = "readOnlyRootFilesystem"


def as_written(template: Template) -> Template:
    """Return the pod template of a wanted template, as it was written."""
    return (
        {k: v for k, v in template.items() if k != WRITABLE} if WRITABLE in template else template
    )


def born_from(template: Template) -> Template:
    """Return the pod template from which instances of a new revision are created."""
    spec = template.get("spec")
    if template.get(WRITABLE) or not isinstance(spec, Mapping):
        return as_written(template)
    if isinstance(system := spec.get("os"), Mapping) and system.get("name") == "windows":
        return template  # the API server refuses the field there
    lists = {
        field: [_protected(container) for container in spec[field]]
        for field in ("initContainers", "containers")
        if isinstance(spec.get(field), list | tuple)
    }
    return {**template, "spec": {**spec, **lists}}


def _protected(container: Any) -> Any:
    if not isinstance(container, Mapping):
        return container
    context = container.get("securityContext")
    if not isinstance(context, Mapping | None) or (context or {}).get(_READ_ONLY) is not None:
        return container
    return {**container, "securityContext": {**(context or {}), _READ_ONLY: True}}
