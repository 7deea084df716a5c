"""What the API server says about a spec that it refuses."""

from __future__ import annotations

from tests.unit.service_specs import Refused

__all__ = ["told", "told_by_a_rule"]


def told(case: Refused) -> str:
    """Give the sentence as the API server prints it: the operator's, or its schema's own."""
    return case.server or told_by_a_rule(case)


def told_by_a_rule(case: Refused) -> str:
    path, _, sentence = case.says.partition(": ")
    value = f'"{case.value}": ' if case.value else ""
    return f"{path}: Invalid value: {value}{sentence}"
