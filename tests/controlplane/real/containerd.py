"""containerd on a real node: its configuration, its command line, and its client.

Paths under /run belong to the node (``node-init.sh``); /run/node is the folder of the node.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path

__all__ = ["SOCKET", "command", "ctr", "write_configuration"]

SOCKET = "/run/containerd/containerd.sock"
CNI_PLUGINS = Path("/usr/lib/cni")
CONFIGURATION = """\
version = 3
root = "/run/node/containerd"
state = "/run/containerd"

[grpc]
  address = "{socket}"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{sandbox}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "/run/node/registries"

[plugins."io.containerd.cri.v1.runtime"]
  disable_apparmor = true
  # Without the right to lower an OOM score runc dies: "can't get final child's PID from pipe".
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{plugins}"]
    conf_dir = "/run/node/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    runtime_path = "{shim}"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "{runc}"
      SystemdCgroup = false
"""
PLAIN_HTTP = """\
server = "http://{host}"

[host."http://{host}"]
  capabilities = ["pull", "resolve"]
"""


def write_configuration(
    folder: Path,
    *,
    programs: Mapping[str, Path],
    sandbox: str,
    registries: Sequence[str],
    pods: IPv4Network,
) -> None:
    """Write the files of containerd: its configuration, one for each registry, one for the pod
    network."""
    text = CONFIGURATION.format(
        socket=SOCKET,
        sandbox=sandbox,
        plugins=CNI_PLUGINS,
        shim=programs["containerd-shim-runc-v2"],
        runc=shutil.which("runc", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"),
    )
    (folder / "containerd.toml").write_text(text)
    for host in registries:
        hosts = folder / "registries" / host
        hosts.mkdir(parents=True, exist_ok=True)
        (hosts / "hosts.toml").write_text(PLAIN_HTTP.format(host=host))
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/node/addresses",
            "ranges": [[{"subnet": str(pods)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    network = {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}
    (folder / "cni").mkdir(exist_ok=True)
    (folder / "cni" / "pods.conflist").write_text(json.dumps(network, indent=2))


def command(programs: Mapping[str, Path]) -> list[str]:
    return [str(programs["containerd"]), "--config=/run/node/containerd.toml"]


def ctr(programs: Mapping[str, Path], *arguments: str) -> list[str]:
    """containerd's own client, in the namespace of Kubernetes' images and containers."""
    return [str(programs["ctr"]), f"--address={SOCKET}", "--namespace=k8s.io", *arguments]
