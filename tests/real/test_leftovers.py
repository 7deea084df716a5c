"""Real nodes leave nothing on the machine: not when they stop, not when their owner is killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.controlplane.build import cache_root
from tests.controlplane.real.blocks import Block
from tests.controlplane.real.nodes import RealNodes
from tests.controlplane.real.remains import Remains
from tests.controlplane.runs import sweep
from tests.real.pods import Pods
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
OWNER = """
import sys, time
from tests.controlplane import ControlPlane
from tests.controlplane.real.nodes import RealNodes
from tests.real.pods import Pods
with ControlPlane.start(name=sys.argv[1]) as plane, RealNodes.start(plane, 1) as real:
    pods = Pods(plane, "default")
    pods.create("web", real.images.digest("web"))
    pods.until_ready("web")
    print("ready", flush=True)
    time.sleep(600)
"""


@dataclass(frozen=True)
class Traces:
    """What there is on this machine of one bed; other beds may run beside it."""

    processes: list[str]
    mounts: list[str]
    interfaces: list[str]
    tables: list[str]
    cgroups: list[str]

    @classmethod
    def of(cls, folder: Path, block: Block) -> Traces:
        """Traces of the run in that folder, which had that block of addresses."""
        cgroups = list(Path("/sys/fs/cgroup").glob(f"*/{block.interface}-*"))
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
        return cls(
            processes=_processes(f"{folder}/") + _inside(cgroups),
            mounts=_with(f"{folder}/", Path("/proc/mounts").read_text()),
            interfaces=[p.name for p in Path("/sys/class/net").glob(block.interface)],
            tables=_with(f" {block.interface}\n", tables),
            cgroups=list(map(str, cgroups)),
        )


NOTHING = Traces([], [], [], [], [])


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a run of the test's own; what is left of it is removed in any case."""
    name = f"leftovers-{os.getpid()}"
    yield name
    sweep(print)


def test_a_stop_leaves_nothing(real: RealNodes, name: str) -> None:
    with ControlPlane.start(name=name) as plane:
        with RealNodes.start(plane, 1) as nodes:
            block = block_of(plane.folder)
            pods = Pods(plane, "default")
            pods.create("web", nodes.images.digest("web"))
            pods.until_ready("web")
            during = Traces.of(plane.folder, block)
            assert any("/web serve" in process for process in during.processes)
            assert during.interfaces
            assert during.tables
            assert during.cgroups
            assert not during.mounts, "mounts of a node belong into the node"
        nodes_left = replace(Traces.of(plane.folder, block), processes=[])
        assert nodes_left == NOTHING
        assert plane.api().get("/api/v1/nodes")["items"] == []
        assert plane.api().get("/api/v1/pods")["items"] == []
        assert not (plane.folder / "real").exists()
    assert Traces.of(plane.folder, block) == NOTHING


def test_what_a_killed_owner_leaves_is_swept(real: RealNodes, name: str) -> None:
    folder = cache_root() / "runs" / name
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, name], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        try:
            said = owner.stdout.readline()
            block = block_of(folder)
            during = Traces.of(folder, block)
        finally:
            owner.kill()
    assert said == "ready\n"
    assert during.processes
    # The nodes fall with their owner; what the kernel keeps is for the next to sweep.
    wait_for("no process is left", lambda: not Traces.of(folder, block).processes, 10)
    sweep(print)
    assert Traces.of(folder, block) == NOTHING
    assert not folder.exists()


def test_a_detached_bed_is_found_and_stopped_from_a_shell(real: RealNodes, name: str) -> None:
    command = [sys.executable, "-m", "tests.controlplane"]
    subprocess.run([*command, "start", "--name", name, "--real", "1"], cwd=ROOT, check=True)
    try:
        plane = ControlPlane.attach(name)
        nodes = RealNodes.attach(plane)
        block = block_of(plane.folder)
        nodes.node("real-0").reboot()
        pods = Pods(plane, "default")
        pods.create("web", nodes.images.digest("web"))
        pods.until_ready("web")
        with pytest.raises(RuntimeError, match="already has real nodes"):
            RealNodes.start(plane, 1)
    finally:
        began = time.monotonic()
        subprocess.run([*command, "stop", "--name", name], cwd=ROOT, check=True)
        print(f"stopped in {time.monotonic() - began:.1f} s")
    assert Traces.of(plane.folder, block) == NOTHING


def block_of(folder: Path) -> Block:
    remains = Remains.load(folder)
    assert remains is not None
    assert remains.block is not None
    return remains.block


def _processes(text: str) -> list[str]:
    """Command lines with this text."""
    return _with(text, "\n".join(map(_command_line, Path("/proc").glob("[0-9]*"))))


def _inside(cgroups: list[Path]) -> list[str]:
    """Command lines of the processes in these control groups."""
    files = [file for group in cgroups for file in group.glob("**/cgroup.procs")]
    pids: set[str] = set()
    for file in files:
        with contextlib.suppress(FileNotFoundError):  # a container that just ended
            pids |= set(file.read_text().split())
    return [_command_line(Path("/proc") / pid) for pid in sorted(pids)]


def _command_line(process: Path) -> str:
    with contextlib.suppress(OSError):
        return (process / "cmdline").read_text(errors="replace").replace("\0", " ")
    return ""


def _with(text: str, lines: str) -> list[str]:
    return [line for line in lines.splitlines(keepends=True) if text in line]
