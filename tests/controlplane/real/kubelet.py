"""The kubelet of a real node: its configuration, its identity and its command line.

Paths under /run belong to the node (``node-init.sh``); /run/node is the folder of the node.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.controlplane.certificates import Certificates
from tests.controlplane.kubeconfig import certificate_user, write_kubeconfig
from tests.controlplane.real.blocks import API_ADDRESS
from tests.controlplane.real.containerd import SOCKET

__all__ = ["KERNEL_SETTINGS", "STATIC_PODS", "command", "write_configuration"]

# Below the node's folder: manifests of pods that the kubelet runs without any API server.
STATIC_PODS = "static-pods"

# Nobody listens there and there is no route to it: a lookup fails at once, where a pod
# without any server would give a warning event each.
DNS_ADDRESS = "10.96.0.10"
# What a kubelet with protectKernelDefaults insists on; each node shows it these values.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def write_configuration(
    folder: Path, *, name: str, cgroup: str, certificates: Certificates
) -> None:
    """Write the kubelet's configuration and its kubeconfig, as the user ``system:node:<name>``."""
    (folder / STATIC_PODS).mkdir()
    configuration = _configuration(cgroup, certificates.ca)
    (folder / "kubelet.json").write_text(json.dumps(configuration, indent=2))
    user = f"system:node:{name}"
    write_kubeconfig(
        folder / "kubelet.kubeconfig",
        server=f"https://{API_ADDRESS}:443",
        ca=certificates.ca,
        user_name=user,
        user=certificate_user(*certificates.actor(user)),
    )


def command(programs: Mapping[str, Path], *, name: str, address: str) -> list[str]:
    return [
        str(programs["kubelet"]),
        "--config=/run/node/kubelet.json",
        "--kubeconfig=/run/node/kubelet.kubeconfig",
        "--root-dir=/run/node/kubelet",
        "--cert-dir=/run/node/kubelet-certificates",
        f"--hostname-override={name}",
        f"--node-ip={address}",
    ]


def _configuration(cgroup: str, ca: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(ca)},
        },
        "authorization": {"mode": "Webhook"},
        "staticPodPath": f"/run/node/{STATIC_PODS}",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        # It must not change the kernel of a machine that it shares.
        "protectKernelDefaults": True,
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,
        # How full this machine is does not matter to a test.
        "evictionHard": {
            "memory.available": "10Mi",
            "nodefs.available": "10Mi",
            "imagefs.available": "10Mi",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "volumePluginDir": "/run/node/volume-plugins",
    }
