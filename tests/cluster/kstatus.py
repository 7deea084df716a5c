"""How kstatus reads an object: what Flux, Argo CD and `helm --wait` conclude from a status.

A port of `Compute` of sigs.k8s.io/cli-utils/pkg/kstatus/status for kinds that it does not know.
"""

from __future__ import annotations

from tests.cluster.services import condition
from tests.controlplane.api import Json

__all__ = ["compute"]


def compute(body: Json) -> str:
    """InProgress, Failed, Current or Terminating."""
    if body["metadata"].get("deletionTimestamp"):
        return "Terminating"
    observed = body.get("status", {}).get("observedGeneration")
    if observed is not None:
        # kstatus reads it as int64 and fails on anything else.
        assert type(observed) is int, f"observedGeneration is {observed!r}"
        if observed != body["metadata"]["generation"]:
            return "InProgress"
    if condition(body, "Reconciling").get("status") == "True":
        return "InProgress"
    if condition(body, "Stalled").get("status") == "True":
        return "Failed"
    ready = condition(body, "Ready").get("status")
    return "Current" if ready in (None, "True") else "InProgress"
