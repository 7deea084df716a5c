"""Makes the fixtures of the upgrade tests: what an older version of the operator leaves behind.

Run it with the code, the chart and the environment of that version, in a checkout of it::

    cd CHECKOUT && PYTHONPATH=. .venv/bin/python -P THIS_FILE FOLDER

It starts a test bed, applies services and a pool, waits until each is where it should be, and
writes all objects that an operator reads to FOLDER, one file a resource.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from immutable_operator.api.names import API_VERSION
from tests.cluster.guards import until_in_force, until_kinds_are_known, without_guards
from tests.cluster.node_pools import Pool
from tests.cluster.operator_process import USER, Installation, Operators
from tests.cluster.services import Service, names
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.namespaces import fresh_namespace
from tests.waiting import wait_for

# As the simulated world calls its namespace.
SHOP, HOME = "shop", "immutable-system"
CUSTOM = f"/apis/{API_VERSION}"
RESOURCES = {
    "immutableservices": f"{CUSTOM}/namespaces/{SHOP}/immutableservices",
    "immutableactions": f"{CUSTOM}/namespaces/{SHOP}/immutableactions",
    "immutablerevisions": f"{CUSTOM}/immutablerevisions",
    "immutablenodepools": f"{CUSTOM}/immutablenodepools",
    "pods": f"/api/v1/namespaces/{SHOP}/pods",
    "nodes": "/api/v1/nodes",
    "configmaps": f"/api/v1/namespaces/{SHOP}/configmaps",
    "secrets": f"/api/v1/namespaces/{SHOP}/secrets",
    "poddisruptionbudgets": f"/apis/policy/v1/namespaces/{SHOP}/poddisruptionbudgets",
}
POOLS = ("--nodes", "--simulated-nodes")
POOL_VALUES = ("--set", "nodes.enabled=true,nodes.simulated=true")
READS = {
    "envFrom": [{"configMapRef": {"name": "settings"}}],
    "volumeMounts": [{"name": "files", "mountPath": "/etc/web"}],
}
FILES = {"volumes": [{"name": "files", "configMap": {"name": "files"}}]}
SECRET = {"envFrom": [{"secretRef": {"name": "password"}}]}
DISKS = {
    "volumes": [
        {"name": "scratch", "emptyDir": {}},
        {"name": "logs", "hostPath": {"path": "/var/log/web", "type": "DirectoryOrCreate"}},
    ]
}


class Shop:
    """The services, by name."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.made: list[Service] = []

    def service(self, name: str) -> Service:
        self.made.append(Service(self.plane, SHOP, name))
        return self.made[-1]

    def at_rest(self) -> None:
        """Services that are as their spec says."""
        self.service("plain").apply()
        self.service("counted").apply(replicas=None)
        self.service("pinned").apply(container=READS, pod=FILES)
        self.service("reads-secret").apply(replicas=2, container=SECRET)
        self.service("zero").apply(replicas=0)
        aged = {"maxAge": "30d", "jitter": "10%", "schedule": "0 3 * * 6", "timeZone": "UTC"}
        self.service("aged").apply(replicas=2, spec={"regeneration": aged})
        self.service("protected").apply(
            replicas=3, rollout={"maxSurge": 1, "drainProtection": True}
        )
        self.service("disks").apply(replicas=2, pod=DISKS)
        self.service("back").apply()
        self.service("scaled").apply(replicas=2)
        self.service("repinned").apply(replicas=2, container=READS, pod=FILES)
        keeps = {"onTaint": "Quarantine", "quarantineFor": "30d"}
        self.service("quarantined").apply(replicas=2, spec={"immutability": keeps})
        self.service("slow").apply()
        for name in ("image-pull", "crash-loop", "never-ready"):
            self.service(f"stuck-{name}").apply()
        for service in self.made:
            service.until_ready()

    def moved(self) -> None:
        """Services that came to rest again after a change."""
        by_name = {service.name: service for service in self.made}
        for image in "ba":
            by_name["back"].apply(image=image)
            by_name["back"].until_ready()
        by_name["scaled"].apply(replicas=0)
        by_name["scaled"].until_ready()
        by_name["scaled"].apply(replicas=3)
        by_name["scaled"].until_ready()
        self._quarantine(by_name["quarantined"])
        action = {
            "apiVersion": API_VERSION,
            "kind": "ImmutableAction",
            "metadata": {"name": "renew-disks", "namespace": SHOP},
            "spec": {"type": "Regenerate", "service": "disks"},
        }
        self.plane.kubectl("create", "-f", "-", stdin=json.dumps(action))
        path = f"{RESOURCES['immutableactions']}/renew-disks"
        wait_for(
            "the action is done",
            lambda: self.plane.api().get(path).get("status", {}).get("phase") == "Succeeded",
            60,
        )
        put(self.plane, "settings", {"mode": "new"})
        for name in ("pinned", "repinned"):
            _until_recorded(by_name[name], 2)
            by_name[name].until_ready()

    def in_the_middle(self) -> None:
        """Services whose rollout does not end."""
        by_name = {service.name: service for service in self.made}
        by_name["slow"].apply(image="b", sim={"ready-delay": "1h"}, rollout={"maxSurge": 2})
        by_name["slow"].until("its successors wait", lambda: len(by_name["slow"].active()) == 5)
        for fault in ("image-pull", "crash-loop", "never-ready"):
            by_name[f"stuck-{fault}"].apply(image="b", sim={"fault": fault})
        first = self.service("stuck-first")
        first.apply(replicas=2, sim={"fault": "crash-loop"})
        for fault in ("image-pull", "crash-loop"):
            _until_blocked(by_name[f"stuck-{fault}"])

    def _quarantine(self, service: Service) -> None:
        victim = min(names(service))
        container = {"name": "debugger", "image": "registry.example/debugger:1"}
        with without_guards(self.plane):
            self.plane.api().request(
                "PATCH",
                f"{RESOURCES['pods']}/{victim}/ephemeralcontainers",
                {"spec": {"ephemeralContainers": [container]}},
                "application/strategic-merge-patch+json",
            )
        service.until("one is apart", lambda: service.status().get("quarantinedReplicas") == 1)
        service.until_ready()


def put(plane: ControlPlane, name: str, data: dict[str, str]) -> None:
    """Write a ConfigMap."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(body), namespace=SHOP)


def _until_recorded(service: Service, count: int) -> None:
    service.until(f"it has {count} revisions", lambda: _records(service) == count)


def _until_blocked(service: Service) -> None:
    service.until("it tells the trouble", lambda: service.status()["blockers"])


def _records(service: Service) -> int:
    return len(service.revisions())


def dump(plane: ControlPlane, folder: Path) -> None:
    """Write every object, with ``at`` (seconds since 1970) in a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for resource, path in RESOURCES.items():
        found: list[Json] = plane.api().get(path)["items"]
        ours = [item for item in found if item["metadata"]["name"] != "kube-root-ca.crt"]
        lines = [json.dumps(item, sort_keys=True) for item in ours]
        (folder / f"{resource}.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    (folder / "at.json").write_text(f"{int(time.time())}\n")


def main(folder: Path) -> None:
    with ControlPlane.start(say=print) as plane:
        plane.add_nodes(5)
        installed = Installation.install(plane, *POOL_VALUES)
        until_in_force(plane)
        until_kinds_are_known(plane, USER)
        operators = Operators(installed, POOLS)
        try:
            operators.main.until_leading()
            with fresh_namespace(plane, SHOP):
                put(plane, "settings", {"mode": "old"})
                put(plane, "files", {"a.txt": "one"})
                plane.kubectl(
                    *("create", "secret", "generic", "password", "--from-literal=word=example"),
                    namespace=SHOP,
                )
                pool = Pool(plane, "machines")
                pool.apply(replicas=2)
                shop = Shop(plane)
                shop.at_rest()
                shop.moved()
                pool.until_ready()
                shop.in_the_middle()
                # Counts in a status may be late.
                time.sleep(20)
                dump(plane, folder)
        finally:
            operators.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
