"""Compares the same rollout of an ImmutableService and of a Deployment.

    python -m benchmarks.rollout                    # 20 and 200 pods, 3 pairs each, ABBA
    python -m benchmarks.rollout --pods 200 --pairs 7 --limits shipped --raw /tmp/raw.json

Both replace all pods with maxSurge 25 % and maxUnavailable 0 on simulated nodes. For each run it
reports the seconds from the change until all pods are new and ready and no old pod exists (from one
watch), the writes of each actor (from the audit log, including events), and the CPU-seconds of the
controllers (from /proc). Only one contender runs at a time. The counts and CPU-seconds are
reliable; the seconds vary by up to a half on two shared cores.
"""

from __future__ import annotations

import argparse
import http.client
import json
import secrets
import ssl
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from benchmarks.measure import cpu_seconds
from immutable_operator.api.names import API_VERSION
from tests.controlplane import ControlPlane
from tests.controlplane.audit import WRITING_VERBS

SYSTEM = "immutable-system"
OPERATOR = f"system:serviceaccount:{SYSTEM}:immutable-operator"
CONTROLLERS = {
    "ImmutableService": (OPERATOR,),
    "Deployment": (
        "system:serviceaccount:kube-system:deployment-controller",
        "system:serviceaccount:kube-system:replicaset-controller",
    ),
}
LIMIT_SECONDS = 300.0


@dataclass(frozen=True)
class Result:
    """One run. ``controller_writes`` leaves out the lease, ``writes`` is by actor."""

    contender: str
    pods: int
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
            for contender in _abba(options.pairs):
                say(f"{contender}, {pods} pods …")
                result = run(plane, contender, pods)
                say(f"  {result.seconds:.1f} s, {result.controller_writes} writes")
                results.append(result)
    if options.raw:
        Path(options.raw).write_text(json.dumps([asdict(r) for r in results], indent=1))
    Console(width=150).print(table(results, options.limits))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--pods", type=int, nargs="+", default=[20, 200])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument(
        "--limits",
        choices=("lifted", "shipped"),
        default="lifted",
        help="client limits of kube-controller-manager (shipped: 20 requests/s)",
    )
    parser.add_argument("--raw", help="file to which the results of each run are written, as JSON")
    return parser.parse_args()


def _abba(pairs: int) -> Iterator[str]:
    for number in range(pairs):
        order = ("ImmutableService", "Deployment")
        yield from order if number % 2 == 0 else reversed(order)


def run(plane: ControlPlane, contender: str, pods: int) -> Result:
    """Create one contender, change its image, measure until all pods are new, clean up."""
    namespace = f"bench-{secrets.token_hex(3)}"
    api = plane.api()
    api.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    with _controller(plane, contender) as pid:
        group = "apis/apps/v1" if contender == "Deployment" else f"apis/{API_VERSION}"
        plural = "deployments" if contender == "Deployment" else "immutableservices"
        path = f"/{group}/namespaces/{namespace}/{plural}"
        api.request("POST", path, workload(contender, pods, "a"))
        replaced(plane, namespace, pods, _image("a"))
        quiet(plane)
        mark, cpu = plane.audit().mark(), cpu_seconds(pid)
        began = time.monotonic()
        container = {"name": "web", "image": _image("b")}
        change = {"spec": {"template": {"spec": {"containers": [container]}}}}
        api.merge_patch(f"{path}/bench", change)
        replaced(plane, namespace, pods, _image("b"))
        seconds = time.monotonic() - began
        quiet(plane)
        spent = cpu_seconds(pid) - cpu
        writes = _writes(plane, mark)
    api.request("DELETE", f"/api/v1/namespaces/{namespace}")
    _gone(plane, f"/api/v1/namespaces/{namespace}")
    mine = sum(writes[user] for user in CONTROLLERS[contender])
    return Result(contender, pods, seconds, mine, spent, dict(writes))


@contextmanager
def _controller(plane: ControlPlane, contender: str) -> Iterator[int]:
    """The process whose CPU time is measured: the operator, or the controller manager."""
    if contender == "Deployment":
        yield plane.pid_of("kube-controller-manager")
        return
    kubeconfig = plane.service_account_kubeconfig(SYSTEM, "immutable-operator")
    command = [sys.executable, "-m", "immutable_operator.runtime.main", "run"]
    command += ["--kubeconfig", str(kubeconfig), "--namespace", SYSTEM]
    command += ["--listen", "127.0.0.1:0", "--log-level", "WARNING"]
    process = subprocess.Popen(command)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _image(letter: str) -> str:
    return f"registry.example/web@sha256:{letter * 64}"


def workload(contender: str, pods: int, letter: str) -> dict[str, Any]:
    """A workload of the kind, with the same pods and limits for both kinds."""
    template = {
        "metadata": {"labels": {"app": "bench"}},
        "spec": {"containers": [{"name": "web", "image": _image(letter)}]},
    }
    budget = {"maxSurge": "25%", "maxUnavailable": 0}
    if contender == "ImmutableService":
        return {
            "apiVersion": API_VERSION,
            "kind": "ImmutableService",
            "metadata": {"name": "bench"},
            "spec": {"replicas": pods, "template": template, "rollout": budget},
        }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "bench"},
        "spec": {
            "replicas": pods,
            "selector": {"matchLabels": {"app": "bench"}},
            "template": template,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": budget},
        },
    }


def replaced(plane: ControlPlane, namespace: str, pods: int, image: str) -> None:
    """Return when all pods have ``image`` and are ready, and no other pod exists (or
    terminates)."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        # The API server disconnects slow readers; a new watch starts with the existing pods.
        if _all_new(plane, namespace, pods, image):
            return
    raise TimeoutError(f"{pods} pods were not replaced within {LIMIT_SECONDS:.0f} s")


def _all_new(plane: ControlPlane, namespace: str, pods: int, image: str) -> bool:
    state: dict[str, tuple[bool, bool]] = {}
    for kind, pod in _pod_events(plane, namespace):
        meta, uid = pod["metadata"], pod["metadata"]["uid"]
        if kind == "DELETED" or meta.get("deletionTimestamp"):
            state.pop(uid, None)
        else:
            conditions = pod.get("status", {}).get("conditions") or ()
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
            state[uid] = (pod["spec"]["containers"][0]["image"] == image, ready)
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


def table(results: list[Result], limits: str) -> Table:
    """Medians with the range, a row for each contender and size."""
    title = f"rollout, maxSurge 25 %, maxUnavailable 0, controller limits {limits}"
    shown = Table(title=title)
    for column in ("pods", "contender", "seconds", "controller writes", "controller CPU-s"):
        shown.add_column(column, justify="right")
    shown.add_column("all writes by actor (median run)")
    for pods in sorted({r.pods for r in results}):
        for contender in CONTROLLERS:
            runs = [r for r in results if (r.pods, r.contender) == (pods, contender)]
            if not runs:
                continue
            middle = sorted(runs, key=lambda r: r.seconds)[len(runs) // 2]
            actors = sorted(middle.writes.items(), key=lambda item: -item[1])
            shown.add_row(
                str(pods),
                contender,
                _spread([r.seconds for r in runs], 1),
                _spread([float(r.controller_writes) for r in runs], 0),
                _spread([r.cpu_seconds for r in runs], 2),
                ", ".join(f"{name.rpartition(':')[2]} {count}" for name, count in actors),
            )
    return shown


def _spread(values: list[float], digits: int) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


if __name__ == "__main__":
    main()
