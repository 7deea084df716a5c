"""The demo on real nodes, as `make demo REAL=1` runs it, beside the bed of the other tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.demo import PODS, SECONDS, Demo, assert_replaced
from tests.controlplane.build import binaries, cache_root
from tests.controlplane.processes import Child
from tests.controlplane.real.nodes import RealNodes
from tests.real.traces import NOTHING, Traces, block_of

pytestmark = pytest.mark.timeout(2 * SECONDS)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache that shares only the built programs with the real one."""
    binaries(["helm"])
    (tmp_path / "bin").symlink_to(cache_root() / "bin")
    return tmp_path


@pytest.fixture
def demo(cache: Path) -> Iterator[Demo]:
    """The demo, which is stopped at the end whatever happens."""
    demo = Demo({"IMMUTABLE_CACHE": str(cache)})
    yield demo
    demo.run("--real", "--stop")


def test_demo_on_real_nodes_shows_replacement_and_leaves_nothing(
    real: RealNodes, demo: Demo, cache: Path
) -> None:
    code, text = demo.run("--real")
    assert code == 0, text
    assert_replaced(text)
    assert f"{PODS} pods created, {PODS} evicted, 0 changed" in text
    assert "make demo-stop REAL=1" in text
    folder = cache / "runs" / "demo-real"
    block = block_of(folder)
    during = Traces.of(folder, block)
    # Those that were replaced may still be ending.
    assert sum("/web serve" in process for process in during.processes) >= PODS
    assert during.interfaces
    operator = Child.from_record(json.loads((cache / "demo-real" / "operator.json").read_text()))
    assert operator.is_alive()
    code, text = demo.run("--real", "--stop")
    assert code == 0, text
    assert not operator.is_alive()
    assert Traces.of(folder, block) == NOTHING
    assert not list((cache / "runs").glob("*"))
    assert not (cache / "demo-real").exists()
    # The nodes of the other bed were not meant.
    assert all(real.node(name).is_ready() for name in real.names)
