"""Compares the same rollout of an ImmutableService, a Deployment and a Rollout of Argo Rollouts.

    python -m benchmarks.rollout                    # 20 and 200 pods, 3 rounds each
    python -m benchmarks.rollout --pods 200 --rounds 7 --of ImmutableService Deployment
    python -m benchmarks.rollout --limits shipped --raw /tmp/raw.json

All replace all pods with maxSurge 25 % and maxUnavailable 0 on simulated nodes. For each run it
reports the seconds from the change until all pods are new and ready and no old pod exists (from one
watch), the writes of each actor (from the audit log, including events), and the CPU-seconds of the
controllers (from /proc). Only one contender runs at a time, and each round is in the opposite order
of the one before. The counts and CPU-seconds are reliable; the seconds vary by up to a half on two
shared cores.
"""

from __future__ import annotations

import argparse
import http.client
import json
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from benchmarks.contenders import CONTENDERS, SYSTEM, Contender, image
from benchmarks.measure import cpu_seconds, store
from benchmarks.report import rollout_table
from tests.controlplane import ControlPlane
from tests.controlplane.audit import WRITING_VERBS

LIMIT_SECONDS = 300.0


@dataclass(frozen=True)
class Result:
    """One run. ``controller_writes`` leaves out the lease, ``writes`` is by actor."""

    contender: str
    pods: int
    limits: str
    seconds: float
    controller_writes: int
    cpu_seconds: float
    writes: dict[str, int]


def main() -> None:
    options = _options()
    say = Console(stderr=True).print
    results: list[Result] = []
    with ControlPlane.start(client_limits=options.limits, say=say) as plane:
        plane.add_nodes(10)
        plane.helm(
            *("install", "immutable-operator", str(Path("charts/immutable-operator"))),
            *("--namespace", SYSTEM, "--create-namespace", "--set", "replicas=0"),
        )
        for pods in options.pods:
            for contender in _in_turn(options.of, options.rounds):
                say(f"{contender}, {pods} pods …")
                result = run(plane, CONTENDERS[contender], pods, options.limits)
                say(f"  {result.seconds:.1f} s, {result.controller_writes} writes")
                results.append(result)
    raw = [asdict(result) for result in results]
    store("rollout", raw, options.beside, options.raw)
    print(rollout_table(raw))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--pods", type=int, nargs="+", default=[20, 200])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--of", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument(
        "--limits",
        choices=("lifted", "shipped"),
        default="lifted",
        help="client limits of the controllers (shipped: 20 requests/s for Deployments, and 200"
        " writes/s for ImmutableServices)",
    )
    parser.add_argument("--raw", type=Path, help="file for the raw results [benchmarks/raw]")
    parser.add_argument("--beside", default="nothing", help="what else ran on the machine")
    return parser.parse_args()


def _in_turn(contenders: Sequence[str], rounds: int) -> Iterator[str]:
    for number in range(rounds):
        yield from contenders if number % 2 == 0 else reversed(contenders)


def run(plane: ControlPlane, contender: Contender, pods: int, limits: str) -> Result:
    """Create one contender, change its image, measure until all pods are new, clean up."""
    namespace = f"bench-{secrets.token_hex(3)}"
    api = plane.api()
    api.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    with contender.run(plane, limits == "lifted") as pids:
        path = contender.collection(namespace)
        api.request("POST", path, contender.workload(pods, "a"))
        replaced(plane, namespace, pods, image("a"))
        quiet(plane)
        mark, cpu = plane.audit().mark(), sum(map(cpu_seconds, pids))
        began = time.monotonic()
        container = {"name": "web", "image": image("b")}
        change = {"spec": {"template": {"spec": {"containers": [container]}}}}
        api.merge_patch(f"{path}/bench", change)
        replaced(plane, namespace, pods, image("b"))
        seconds = time.monotonic() - began
        quiet(plane)
        spent = sum(map(cpu_seconds, pids)) - cpu
        writes = _writes(plane, mark)
    api.request("DELETE", f"/api/v1/namespaces/{namespace}")
    _gone(plane, f"/api/v1/namespaces/{namespace}")
    mine = sum(writes[user] for user in contender.accounts)
    return Result(contender.kind, pods, limits, seconds, mine, spent, dict(writes))


def replaced(plane: ControlPlane, namespace: str, pods: int, wanted: str) -> None:
    """Return when all pods have the image ``wanted`` and are ready, and no other pod exists (or
    terminates)."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        # The API server disconnects slow readers; a new watch starts with the existing pods.
        if _all_new(plane, namespace, pods, wanted):
            return
    raise TimeoutError(f"{pods} pods were not replaced within {LIMIT_SECONDS:.0f} s")


def _all_new(plane: ControlPlane, namespace: str, pods: int, wanted: str) -> bool:
    state: dict[str, tuple[bool, bool]] = {}
    for kind, pod in _pod_events(plane, namespace):
        meta, uid = pod["metadata"], pod["metadata"]["uid"]
        if kind == "DELETED" or meta.get("deletionTimestamp"):
            state.pop(uid, None)
        else:
            conditions = pod.get("status", {}).get("conditions") or ()
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
            state[uid] = (pod["spec"]["containers"][0]["image"] == wanted, ready)
        if len(state) == pods and all(new and ready for new, ready in state.values()):
            return True
    return False


def _pod_events(plane: ControlPlane, namespace: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """One raw watch that starts with the existing pods."""
    address = urlsplit(plane.server)
    api = plane.api()
    context = ssl.create_default_context(cafile=api.ca)
    context.load_cert_chain(api.certificate, api.key)
    connection = http.client.HTTPSConnection(
        address.hostname or "", address.port, context=context, timeout=LIMIT_SECONDS
    )
    query = f"watch=true&labelSelector=app%3Dbench&timeoutSeconds={int(LIMIT_SECONDS)}"
    connection.request("GET", f"/api/v1/namespaces/{namespace}/pods?{query}")
    try:
        for line in connection.getresponse():
            event = json.loads(line)
            yield event["type"], event["object"]
    finally:
        connection.close()


def quiet(plane: ControlPlane, seconds: float = 2.0) -> None:
    """Return when there were no writes except leases and node status for ``seconds``."""
    while True:
        mark = plane.audit().mark()
        time.sleep(seconds)
        if not sum(_writes(plane, mark).values()):
            return


def _writes(plane: ControlPlane, mark: int) -> Counter[str]:
    return Counter(
        record.user
        for record in plane.audit().since(mark)
        if record.verb in WRITING_VERBS
        and record.resource not in ("leases", "nodes")
        and record.user not in ("system:admin", "admin")
    )


def _gone(plane: ControlPlane, path: str) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        try:
            plane.api().get(path)
        except RuntimeError:
            return
        time.sleep(0.5)


if __name__ == "__main__":
    main()
