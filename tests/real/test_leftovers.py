"""Real nodes leave nothing on the machine: not when they stop, not when their owner is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.controlplane.build import cache_root
from tests.controlplane.real.nodes import RealNodes
from tests.controlplane.runs import sweep
from tests.real.pods import Pods
from tests.real.traces import NOTHING, Traces, block_of
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
OWNER = """
import sys, time
from tests.controlplane import ControlPlane
from tests.controlplane.real.nodes import RealNodes
from tests.real.pods import Pods
from tests.real.traces import NOTHING, Traces, block_of
with ControlPlane.start(name=sys.argv[1]) as plane, RealNodes.start(plane, 1) as real:
    pods = Pods(plane, "default")
    pods.create("web", real.images.digest("web"))
    pods.until_ready("web")
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a run of the test's own; what is left of it is removed in any case."""
    name = f"leftovers-{os.getpid()}"
    yield name
    sweep(print)


def test_stopped_bed_leaves_nothing(real: RealNodes, name: str) -> None:
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


def test_remains_of_killed_owner_are_removed(real: RealNodes, name: str) -> None:
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
    wait_for("no process is left", lambda: not Traces.of(folder, block).processes)
    sweep(print)
    assert Traces.of(folder, block) == NOTHING
    assert not folder.exists()


def test_detached_bed_is_stopped_from_shell(real: RealNodes, name: str) -> None:
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
