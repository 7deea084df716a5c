"""NodeClasses of Karpenter: whether machines can start from one, and from which image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from immutable_operator.wire.claim import Condition

__all__ = ["class_problem"]

EC2 = ("karpenter.k8s.aws", "EC2NodeClass")
NEED = "set it to [{id: <spec.image.id of the pool>}]"


class _Meta(msgspec.Struct, rename="camel", frozen=True):
    deletion_timestamp: str | None = None


class _Status(msgspec.Struct, frozen=True):
    conditions: list[Condition] = []


class _NodeClass(msgspec.Struct, frozen=True):
    metadata: _Meta = _Meta()
    spec: dict[str, Any] = {}
    status: _Status = _Status()


def class_problem(
    body: bytes, group: str, kind: str, name: str, image: Mapping[str, str]
) -> str | None:
    """Return why no machine is to be started with a node class, or None.

    An image that a class selects in any other way than by its id may be another one tomorrow.
    Classes of unknown kinds may select one: then only the image that Karpenter reports is checked.
    """
    found = msgspec.json.decode(body, type=_NodeClass)
    which = f"{kind} {name}"
    if found.metadata.deletion_timestamp:
        return f"{which} is being deleted; name another one in nodeClassRef"
    if (group, kind) == EC2 and (problem := _not_pinned(found.spec, which, image)):
        return problem
    ready = next((c for c in found.status.conditions if c.type == "Ready"), Condition())
    if ready.status == "False":
        return f"{which} is not ready: {ready.message or ready.reason or 'no reason is given'}"
    return None


def _not_pinned(spec: Mapping[str, Any], which: str, image: Mapping[str, str]) -> str | None:
    """Return why an EC2NodeClass does not select exactly the image of the pool, or None."""
    field = "spec.amiSelectorTerms"
    wanted = image.get("id")
    if wanted is None:
        return f"{which} selects images by id, and the pool has none; set spec.image.id of the pool"
    terms = spec.get("amiSelectorTerms")
    if not isinstance(terms, list) or not terms:
        return f"{field} of {which} is not set, so the image may change; {NEED}"
    if len(terms) > 1:
        return f"{field} of {which} has {len(terms)} terms, so the image may change; {NEED}"
    term = terms[0] if isinstance(terms[0], dict) else {}
    others = sorted(set(term) - {"id"})
    if others:
        return f"{field}[0].{others[0]} of {which} is set, so the image may change; {NEED}"
    if term.get("id") != wanted:
        return (
            f"{field}[0].id of {which} is {term.get('id')}, but spec.image.id of the pool is"
            f" {wanted}; create another {which.partition(' ')[0]} with this image, and name it in"
            " nodeClassRef of the pool"
        )
    return None
