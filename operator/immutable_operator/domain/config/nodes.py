"""The wanted state of a node in one spelling, so that the same nodes give the same revision."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from immutable_operator.domain.config.quantity import canonical_quantity

__all__ = ["canonical_node"]

# Maps of resource quantities, by the name of the field that holds them.
_QUANTITIES = frozenset({"capacity", "requests", "systemReserved", "kubeReserved"})
# Lists whose order counts: name servers are asked one after the other.
_ORDERED = frozenset({"clusterDNS"})


def canonical_node(template: Any, field: str = "") -> Any:
    """Return ``image``, ``template`` and ``provider`` of a pool without what makes no difference.

    Nulls and empty values are left out, the order of most lists does not count (taints,
    requirements and their values are sets), and a quantity has one spelling.
    """
    if isinstance(template, Mapping):
        if field in _QUANTITIES:
            return {str(key): canonical_quantity(value) for key, value in template.items()}
        found = {str(key): canonical_node(value, str(key)) for key, value in template.items()}
        # A provider without settings is named nevertheless.
        keep = field == "provider"
        return {key: value for key, value in found.items() if keep or value not in (None, {}, [])}
    if isinstance(template, list | tuple):
        items = [canonical_node(item) for item in template]
        if field in _ORDERED:
            return items
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    return template
