"""What the model API server refuses of pods and evictions, in Kubernetes' own words."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.simulation.world.refusals import Refused, budget_forbids, forbidden, invalid
from tests.simulation.world.storage import Obj

__all__ = ["admit_eviction", "admit_node", "admit_pod", "is_ready"]

ENDED = ("Failed", "Succeeded")


def is_ready(pod: Obj) -> bool:
    """Whether its condition Ready is True."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])


def admit_pod(
    pod: Obj, pods: Iterable[Obj], quota: int | None, unwanted: Callable[[Obj], str | None]
) -> None:
    """The API server's validation, then admission, then the quota."""
    name = pod["metadata"]["name"]
    if refusal := unwanted(pod):
        field, _, said = refusal.partition(": ")
        raise invalid("pods", name, field, f"Forbidden: {said}", "FieldValueForbidden")
    used = sum(p["status"]["phase"] not in ENDED for p in pods)
    if quota is not None and used >= quota:
        counts = f"requested: pods=1, used: pods={used}, limited: pods={quota}"
        raise forbidden("pods", name, f"exceeded quota: pods, {counts}")


def admit_node(node: Obj, left: int | None) -> None:
    """A webhook of the provider: what an image does, and how many machines there are."""
    said = ""
    if node["status"]["nodeInfo"]["osImage"].endswith("f)"):
        said = "image: a policy forbids it"
    elif left is not None and left <= 0:
        said = "no machine of this type is left"
    if said:
        text = f'admission webhook "machines.example.com" denied the request: {said}'
        raise Refused(403, "Forbidden", text)


def admit_eviction(pod: Obj, pods: Iterable[Obj], budgets: dict[str, Obj]) -> None:
    """Ask the PodDisruptionBudgets that select the pod."""
    if pod["status"]["phase"] in (*ENDED, "Pending"):
        return
    asked = {n: b for n, b in budgets.items() if _selects(b, pod)}
    if not asked:
        return
    if len(asked) > 1:
        text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does"
        raise Refused(500, "", f"{text} not support.")
    [(name, budget)] = asked.items()
    selected = [p for p in pods if _selects(budget, p) and not _leaves(p)]
    healthy, least = sum(is_ready(p) for p in selected), budget["minAvailable"]
    if not is_ready(pod) and (budget.get("alwaysAllow") or healthy >= least):
        return
    if is_ready(pod) and healthy > least:
        return
    raise budget_forbids(name, f"needs {least} healthy pods and has {healthy} currently")


def _leaves(pod: Obj) -> bool:
    return "deletionTimestamp" in pod["metadata"] or pod["status"]["phase"] in ENDED


def _selects(budget: Obj, pod: Obj) -> bool:
    labels = pod["metadata"].get("labels") or {}
    wanted: dict[str, str] = budget["labels"]
    return all(labels.get(k) == v for k, v in wanted.items())
