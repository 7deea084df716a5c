"""Whether this machine can run real nodes, and if not, why."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.controlplane.build import cache_root
from tests.controlplane.real.containerd import CNI_PLUGINS
from tests.controlplane.real.images import ARCHITECTURES, this_architecture

__all__ = ["missing"]

PACKAGES = Path(__file__).with_name("packages.sh")
TOOLS = ("runc", "docker-registry", "nft", "ip", "nsenter", "unshare", "mount")
PLUGINS = ("bridge", "host-local", "loopback")
PROBE_SECONDS = 20
# What a node and the router are made of, tried in namespaces that end with the probe.
PROBE = """
set -e
mkdir -p "$1/lower" "$1/upper" "$1/work" "$1/merged"
mount -t overlay overlay -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work" "$1/merged"
mount -t tmpfs tmpfs "$1/merged"
ip link add name bridge0 type bridge
ip link add name veth0 type veth peer name veth1
nft add table ip probe
nft 'add chain ip probe nat { type nat hook prerouting priority dstnat; }'
"""


def missing() -> str | None:
    """None if real nodes can run; otherwise what is missing and what to do about it."""
    if sys.platform != "linux":
        return f"real nodes need Linux; this is {sys.platform}"
    if this_architecture() not in ARCHITECTURES:
        return f"real nodes are built for {' and '.join(ARCHITECTURES)}, not {this_architecture()}"
    if os.geteuid() != 0:
        return "real nodes need root (network namespaces, mounts, control groups)"
    tools = [name for name in TOOLS if shutil.which(name) is None]
    tools += [f"{CNI_PLUGINS / name}" for name in PLUGINS if not (CNI_PLUGINS / name).exists()]
    if tools:
        return f"not in PATH, and real nodes need it: {', '.join(tools)}; run {PACKAGES}"
    return _probe()


def _probe() -> str | None:
    folder = cache_root() / f"probe-{os.getpid()}"
    folder.mkdir(parents=True)
    command = ["unshare", "--mount", "--net", "--pid", "--uts", "--fork", "--mount-proc"]
    try:
        result = subprocess.run(
            [*command, "sh", "-c", PROBE, "sh", str(folder)],
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"the kernel did not make namespaces within {PROBE_SECONDS} s"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if result.returncode:
        return f"this machine's kernel or container does not allow it: {result.stderr.strip()}"
    return None
