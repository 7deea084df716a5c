"""Compares how nodes that reach their maximum age are replaced: by a pool, and by Karpenter alone.

    python -m benchmarks.expiry                     # 6 nodes that live 2 minutes, and boot in 10 s
    python -m benchmarks.expiry --nodes 2 --age 20 --boot 1 --raw /tmp/raw.json

Both use the same Karpenter, machines and Deployment (two pods fill a node), with and without a
PodDisruptionBudget that lets one pod be away. The ImmutableNodePool has ``maxAge``, the NodePool of
Karpenter ``expireAfter``. A run begins when all pods are ready, and ends when none of the first
nodes is left and all pods are ready again. An independent watcher counts the pods that were
missing, for how long, and how many pods were started for it.
"""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from benchmarks.measure import Json, store
from benchmarks.report import expiry_table
from immutable_operator.api.names import LABEL_POOL
from tests.cluster.guards import until_in_force, until_kinds_are_known
from tests.cluster.history import Recording
from tests.cluster.node_claims import GROUP, NodeClaims
from tests.cluster.node_pools import OWN_TAINT, Pool
from tests.cluster.node_providers import machines
from tests.cluster.operator_process import USER, Installation, Operators
from tests.cluster.services import is_active, is_ready
from tests.controlplane import ControlPlane
from tests.controlplane.karpenter import CLAIMS, NODE_CLASSES, Karpenter
from tests.waiting import wait_for

NODE_CLASS = "slow"
NODE_POOLS = "/apis/karpenter.sh/v1/nodepools"
PODS_PER_NODE = 2
# A machine has 2 cores: two of these pods fill it, and no third one finds a place.
POD_CPU = "800m"
LIMIT_SECONDS = 900.0
VALUES = (
    "nodes.enabled=true,nodes.karpenter.enabled=true,"
    "nodes.karpenter.nodeClasses={kwoknodeclasses.karpenter.kwok.sh}"
)


class Options(Protocol):
    """``age`` and ``boot`` are in seconds; ``surge`` is that of the ImmutableNodePool."""

    nodes: int
    age: int
    boot: int
    surge: int


@dataclass(frozen=True)
class Result:
    """One run. ``lost`` are pod-seconds: how many pods were missing, times how long."""

    contender: str
    budget: bool
    nodes: int
    age: int
    boot: int
    surge: int
    pods: int
    fewest_ready: int
    lost: float
    started: int
    seconds: float


def main() -> None:
    options = _options()
    say = Console(stderr=True).print
    results = []
    with ControlPlane.start(say=say) as plane, Karpenter.start(plane):
        _add_class(plane, options.boot)
        installation = Installation.install(plane, "--set", VALUES)
        until_in_force(plane)
        until_kinds_are_known(plane, USER)
        operators = Operators(installation, ("--nodes", "--karpenter-nodes"))
        operators.main.until_leading()
        for contender in options.of:
            for budget in (False, True):
                say(f"{contender}, {'with' if budget else 'without'} a budget of the pods …")
                result = run(plane, contender, budget, options)
                say(f"  at least {result.fewest_ready} of {result.pods} pods were ready")
                results.append(result)
        operators.stop()
    raw = [asdict(result) for result in results]
    store("expiry", raw, options.beside, options.raw)
    print(expiry_table(raw))


def run(plane: ControlPlane, contender: str, budget: bool, options: Options) -> Result:
    """Let all nodes of one new pool reach their age, and count what the pods noticed."""
    name = f"bench{secrets.token_hex(3)}"
    pods = options.nodes * PODS_PER_NODE
    plane.api().request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    if budget:
        selector = ("--selector=app=bench", "--max-unavailable=1")
        plane.kubectl("create", "pdb", "bench", *selector, namespace=name)
    path = f"/api/v1/namespaces/{name}/pods"
    with CONTENDERS[contender](plane, name, options) as placed:
        plane.api().request(
            "POST", f"/apis/apps/v1/namespaces/{name}/deployments", _app(pods, placed)
        )

        def ready() -> int:
            return sum(map(is_ready, plane.api().get(path)["items"]))

        wait_for("all pods are ready", lambda: ready() == pods, LIMIT_SECONDS)
        first = {claim["metadata"]["uid"] for claim in _claims(plane, name)}

        def replaced() -> bool:
            left = first & {claim["metadata"]["uid"] for claim in _claims(plane, name)}
            return not left and ready() == pods

        with Recording(plane, path) as seen:
            began = time.monotonic()
            wait_for("all nodes are replaced", replaced, LIMIT_SECONDS)
            ended = time.monotonic()
            fewest, lost, started = _noticed(seen, pods, began, ended)
        plane.kubectl("delete", "namespace", name)
    given = (options.nodes, options.age, options.boot, options.surge)
    return Result(contender, budget, *given, pods, fewest, lost, started, ended - began)


def _noticed(seen: Recording, wanted: int, began: float, ended: float) -> tuple[int, float, int]:
    """Fewest ready pods, lost pod-seconds, and the number of pods that were created."""
    fewest, lost, started = wanted, 0.0, 0
    missing, since = 0, began
    for change, pods in seen.states():
        lost += missing * (change.seen - since)
        missing, since = max(0, wanted - sum(map(_serves, pods))), change.seen
        fewest = min(fewest, wanted - missing)
        started += change.kind == "ADDED"
    return fewest, lost + missing * (ended - since), started


def _serves(pod: Json) -> bool:
    return is_active(pod) and is_ready(pod)


@contextmanager
def _pool(plane: ControlPlane, name: str, options: Options) -> Iterator[Json]:
    pool = Pool(plane, name)
    pool.spec |= {
        "replicas": options.nodes,
        "provider": machines(nodeClassRef=_class_ref()),
        "regeneration": {"maxAge": f"{options.age}s"},
        "deletionPolicy": "Drain",
    }
    pool.spec["rollout"] |= {"maxSurge": options.surge}
    pool.apply()
    try:
        yield {LABEL_POOL: name}
    finally:
        pool.delete()
        wait_for("the pool is gone", lambda: not _claims(plane, name), LIMIT_SECONDS)


@contextmanager
def _karpenter(plane: ControlPlane, name: str, options: Options) -> Iterator[Json]:
    template = {
        "nodeClassRef": _class_ref(),
        "requirements": machines()["karpenter"]["requirements"],
        "taints": [{"key": OWN_TAINT, "value": name, "effect": "NoSchedule"}],
        "expireAfter": f"{options.age}s",
    }
    body = {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {
            "template": {"metadata": {"labels": {LABEL: name}}, "spec": template},
            # It removes no node for another reason than its age.
            "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "Never"},
        },
    }
    plane.api().request("POST", NODE_POOLS, body)
    try:
        yield {LABEL: name}
    finally:
        plane.kubectl("delete", "nodepools.karpenter.sh", name, "--timeout=300s")


LABEL = "test.example/bench"
# What gives a Deployment its nodes; the block has the node selector of its pods.
CONTENDERS: dict[str, Callable[[ControlPlane, str, Options], AbstractContextManager[Json]]] = {
    "ImmutableNodePool": _pool,
    "NodePool": _karpenter,
}


def _add_class(plane: ControlPlane, boot: int) -> None:
    name = NodeClaims(plane).add_class(NODE_CLASS)
    plane.api().merge_patch(
        f"{NODE_CLASSES}/{name}", {"spec": {"nodeRegistrationDelay": f"{boot}s"}}
    )


def _class_ref() -> Json:
    return {"group": GROUP, "kind": "KWOKNodeClass", "name": NODE_CLASS}


def _claims(plane: ControlPlane, name: str) -> list[Json]:
    """The claims of a pool of either kind: those whose nodes have its taint."""
    items: list[Json] = plane.api().get(CLAIMS)["items"]
    return [item for item in items if _has_taint(item, name)]


def _has_taint(claim: Json, value: str) -> bool:
    return any(taint.get("value") == value for taint in claim["spec"].get("taints") or ())


def _app(pods: int, node_selector: Json) -> Json:
    labels = {"app": "bench"}
    image = f"registry.example/web@sha256:{'a' * 64}"
    requests = {"requests": {"cpu": POD_CPU}}
    pod: dict[str, Any] = {
        "containers": [{"name": "web", "image": image, "resources": requests}],
        "nodeSelector": node_selector,
        "tolerations": [{"key": OWN_TAINT, "operator": "Exists"}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": pods, "selector": {"matchLabels": labels}, "template": template}
    kind = {"apiVersion": "apps/v1", "kind": "Deployment"}
    return {**kind, "metadata": {"name": "bench"}, "spec": spec}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=6)
    parser.add_argument("--age", type=int, default=120, help="maximum age in seconds")
    parser.add_argument("--boot", type=int, default=10, help="seconds until a machine is a node")
    parser.add_argument("--surge", type=int, default=2, help="maxSurge of the ImmutableNodePool")
    parser.add_argument("--of", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--raw", type=Path, help="file for the raw results [benchmarks/raw]")
    parser.add_argument("--beside", default="nothing", help="what else ran on the machine")
    return parser.parse_args()


if __name__ == "__main__":
    main()
