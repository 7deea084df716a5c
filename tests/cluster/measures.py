"""What the operator says of itself at /metrics."""

from __future__ import annotations

import re

from tests.cluster.operator_process import OperatorProcess

__all__ = ["metrics", "sample"]


def sample(text: str, series: str) -> float:
    """The value of one series; 0 where it is not there (yet)."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def metrics(operator: OperatorProcess) -> str:
    status, text = operator.get("/metrics")
    assert status == 200
    return text
