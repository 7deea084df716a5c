"""Real machines behind the nodes of a pool: a provider of machines, for tests only.

The provider ``simulated`` creates a Node object, and somebody else gives it life. For simulated
nodes that is KWOK; here it is a kubelet with containerd. Its node registers under the name of that
Node object and, as with any node whose object is there already, keeps its labels, annotations and
taints. When the Node object is deleted, the machine is ended.

A pool asks for such machines by the labels of its nodes (`MACHINE`): KWOK takes only nodes that
have another value there.
"""

from __future__ import annotations

import shutil
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.controlplane.build import KUBERNETES_VERSION, binaries
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.real.nodes import RealNodes

__all__ = ["MACHINE", "Machine", "Machines", "replace_kubelet", "system_of"]

MACHINE = {"kwok.x-k8s.io/node": "machine"}
SELECTED = "/api/v1/nodes?labelSelector=kwok.x-k8s.io/node%3Dmachine"
LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Machine:
    """A machine that has ended: the pods that were bound to it then, as ``namespace/name``."""

    name: str
    pods: tuple[str, ...]


class Machines:
    """Starts and ends the machines of pools, from `__enter__` on; all end with the block.

    Where a block ends without an error, what went wrong with any machine is raised.
    """

    def __init__(self, plane: ControlPlane, real: RealNodes) -> None:
        self._plane, self._real = plane, real
        self._running: set[str] = set()
        self._broken: dict[str, str] = {}
        self._stopping = threading.Event()
        # Processes end with the thread that started them.
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.ended: list[Machine] = []

    @property
    def image(self) -> str:
        """A pinned image that they can run."""
        return self._real.images.digest("web")

    @property
    def running(self) -> set[str]:
        """The names of the machines that are there."""
        return set(self._running)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()
        problems = "\n".join(f"{name}: {text}" for name, text in self._broken.items())
        if problems and kind is None:
            raise RuntimeError(f"not all machines started and ended:\n{problems}")

    def _work(self) -> None:
        try:
            while not self._stopping.wait(LOOK_SECONDS):
                self._look()
        except Exception:
            self._broken["the list of nodes"] = traceback.format_exc()
        for name in self.running:
            self._end(name)

    def _look(self) -> None:
        items = self._plane.api().get(SELECTED)["items"]
        nodes = {node["metadata"]["name"]: node for node in items}
        for name in self._running - set(nodes):
            self._end(name)
        for name in set(nodes) - self._running - set(self._broken):
            self._start(nodes[name])

    def _start(self, node: Mapping[str, Any]) -> None:
        name = node["metadata"]["name"]
        self._running.add(name)
        asked = node["status"]["nodeInfo"]["osImage"]
        try:
            self._real.start_node(name, system_of(asked.partition("(")[2].rstrip(")")))
        except Exception:
            self._broken[name] = traceback.format_exc()

    def _end(self, name: str) -> None:
        """End a machine at once, as a cloud does: whatever runs there is lost."""
        self._running.discard(name)
        try:
            found = [pod["metadata"] for pod in self._plane.pods_on(name)]
            self._real.discard(name)
        except Exception:
            self._broken.setdefault(name, traceback.format_exc())
        else:
            pods = tuple(f"{meta['namespace']}/{meta['name']}" for meta in found)
            self.ended.append(Machine(name, pods))


def system_of(image: str) -> str:
    """The name of the operating system of a machine from an image, as its kubelet reports it."""
    return f"Test system of {image}"


def replace_kubelet(real: RealNodes, node: str, folder: Path) -> str:
    """Replace the kubelet of a node in place by one of another version; return that version.

    The program is the same but for the version that it reports. ``folder`` takes its file.
    """
    program = binaries(["kubelet"])["kubelet"]
    version = f"{KUBERNETES_VERSION[:-1]}{(int(KUBERNETES_VERSION[-1]) + 1) % 10}"
    before, after = (f"\0{text}\0".encode() for text in (KUBERNETES_VERSION, version))
    code = program.read_bytes()
    assert code.count(before) == 1, "the kubelet names its version once"
    other = folder / "kubelet"
    shutil.copy(program, other)
    other.write_bytes(code.replace(before, after))
    machine = real.node(node)
    machine.stop_kubelet()
    machine.run("mount", "--bind", str(other), str(program))
    machine.start_kubelet()
    return version
