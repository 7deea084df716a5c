"""The control group of a real node: created before its kubelet, removed after its last process.

Also reads the limits of containers, which have groups below it.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

__all__ = ["cpu_limit", "create", "remove"]

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")
REMOVE_SECONDS = 10.0
POLL_SECONDS = 0.05
# By default a group has the share of a single process, and `make test` runs many on two processors.
# Nodes elsewhere do not share theirs, so the containers of one get 20 times as much.
SHARES = 20 * 1024  # version 1
WEIGHT = 20 * 100  # version 2


def create(name: str) -> None:
    """Create the group in each hierarchy, with the controllers that a kubelet requires."""
    if _is_unified():
        (ROOT / name).mkdir(exist_ok=True)
        for folder in (ROOT, ROOT / name):
            for controller in (folder / "cgroup.controllers").read_text().split():
                if controller in CONTROLLERS:
                    (folder / "cgroup.subtree_control").write_text(f"+{controller}")
        (ROOT / name / "cpu.weight").write_text(str(WEIGHT))
        return
    for hierarchy in _mounts("cgroup"):
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        # A group without processors or memory takes no process.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (group / file).exists():
                (group / file).write_text((hierarchy / file).read_text())
        if (group / "cpu.shares").exists():
            (group / "cpu.shares").write_text(str(SHARES))


def remove(name: str) -> None:
    """Remove the group and the groups in it, as soon as the processes in them have ended."""
    deadline = time.monotonic() + REMOVE_SECONDS
    # Where version 1 does the work, runc makes groups in an idle version 2 beside it too.
    for hierarchy in _mounts("cgroup", "cgroup2"):
        while (hierarchy / name).exists():
            for folder, _, _ in os.walk(hierarchy / name, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"{hierarchy / name} cannot be removed; see which processes are in it:"
                    f" find {hierarchy / name} -name cgroup.procs -exec cat {{}} +"
                )
            time.sleep(POLL_SECONDS if (hierarchy / name).exists() else 0)


def cpu_limit(name: str, container: str) -> int | None:
    """The CPU limit of containers on the node in millicores; None if there is none."""
    [group] = (ROOT / name if _is_unified() else ROOT / "cpu" / name).rglob(container)
    if _is_unified():
        quota, period = (group / "cpu.max").read_text().split()
    else:
        quota, period = ((group / f"cpu.cfs_{file}_us").read_text() for file in ("quota", "period"))
    return None if quota.strip() in ("max", "-1") else int(quota) * 1000 // int(period)


def _is_unified() -> bool:
    return (ROOT / "cgroup.controllers").exists()


def _mounts(*kinds: str) -> list[Path]:
    """The mount points of the hierarchies: ``cgroup`` is version 1, ``cgroup2`` is version 2."""
    lines = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return [Path(fields[1]) for fields in lines if fields[2] in kinds]
