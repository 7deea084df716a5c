"""Replaces 20 nodes of a pool, one at a time and three at a time.

    python -m benchmarks.nodes                    # 20 nodes, maxSurge 1 and 3

For each run it reports the seconds until all nodes are new and verified and no old one exists, the
seconds a node beyond settling (simulated nodes are Ready at once), and the writes of the operator a
node, from the audit log, without the lease.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

from rich.console import Console
from rich.table import Table

from tests.cluster.audit import OperatorRequests
from tests.cluster.node_pools import Pool
from tests.cluster.operator_process import Installation, Operators
from tests.controlplane import ControlPlane
from tests.controlplane.audit import WRITING_VERBS

SETTLE = 1.0
LIMIT_SECONDS = 600.0


def main() -> None:
    options = _options()
    console = Console()
    table = Table("nodes", "maxSurge", "seconds", "beyond the provider, s a node", "writes a node")
    with ControlPlane.start(say=Console(stderr=True).print) as plane:
        plane.add_nodes(2)
        values = "nodes.enabled=true,nodes.simulated=true"
        installation = Installation.install(plane, "--set", values)
        operators = Operators(installation, ("--nodes", "--simulated-nodes"))
        operators.main.until_leading()
        for surge in options.surge:
            table.add_row(*run(plane, options.nodes, surge))
        operators.stop()
    console.print(table)


def run(plane: ControlPlane, count: int, surge: int) -> tuple[str, ...]:
    """One replacement of all nodes of a new pool."""
    pool = Pool(plane, f"bench{surge}")
    rollout = {"maxSurge": surge, "verify": {"settle": f"{SETTLE:g}s"}}
    pool.apply(replicas=count, rollout=rollout)
    pool.until_ready(LIMIT_SECONDS)
    mark = OperatorRequests.from_now(plane)
    began = time.monotonic()
    pool.apply(image={"id": "image-2"})
    pool.until_ready(LIMIT_SECONDS)
    seconds = time.monotonic() - began
    # A simulated node is Ready within the second: settling is all that the provider's side takes.
    beyond = (seconds - SETTLE * count / surge) / count
    writes = [r for r in mark if r.verb in WRITING_VERBS and r.resource != "leases"]
    Console(stderr=True).print(Counter(f"{r.verb} {r.target}" for r in writes))
    pool.remove()
    each = len(writes) / count
    return str(count), str(surge), f"{seconds:.1f}", f"{beyond:.2f}", f"{each:.1f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--surge", type=int, nargs="+", default=[1, 3])
    return parser.parse_args()


if __name__ == "__main__":
    main()
