"""Real nodes on top of a running control plane: start, find, stop, clean up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.controlplane.build import binaries
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.processes import free_ports
from tests.controlplane.real import network
from tests.controlplane.real.bed import Bed
from tests.controlplane.real.blocks import NODES_IN_BLOCK
from tests.controlplane.real.images import ARCHITECTURES, Images
from tests.controlplane.real.namespaces import ROUTER_KINDS, Namespaces, hold_network
from tests.controlplane.real.node import RealNode
from tests.controlplane.real.registry import Registry
from tests.controlplane.real.remains import Remains
from tests.controlplane.real.requirements import missing

__all__ = ["PROGRAMS", "RealNodes"]

PROGRAMS = (
    "kubelet",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    *(f"web-{name}" for name in ARCHITECTURES),
)
ROUTER = "router"
REGISTRY = "registry"
PRIVATE = "private-registry"


# Kubelets, containerds and control planes watch files; a machine's default is enough for two nodes.
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_LEAST = 1024


def _make_room() -> None:
    """Raise the inotify limits to the needs of several beds of real nodes and control planes."""
    with contextlib.suppress(OSError, ValueError):
        if int(INOTIFY.read_text()) < INOTIFY_LEAST:
            INOTIFY.write_text(str(INOTIFY_LEAST))


class RealNodes:
    """The real nodes of one control plane, and the registries that they pull from."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        ports = bed.remains.ports
        self.registry = Registry(bed, REGISTRY, ports[REGISTRY])
        self.private_registry = Registry(bed, PRIVATE, ports[PRIVATE], needs_password=True)
        self.images = Images.build(bed.programs, self.registry, self.private_registry)
        self._nodes = {
            node["name"]: RealNode(bed, node["name"], node["index"]) for node in bed.remains.nodes
        }

    @classmethod
    def start(
        cls, plane: ControlPlane, count: int = 2, say: Callable[[str], None] = lambda text: None
    ) -> Self:
        """Start ``real-0`` … and two registries with the images; return when all are Ready.

        They end like the control plane: with a detached one they keep running, otherwise they end
        with the calling thread.
        """
        reason = missing()
        if reason is not None:
            raise RuntimeError(f"real nodes cannot run here: {reason}")
        _make_room()
        programs = binaries(PROGRAMS, say)
        before = Remains.load(plane.folder)
        if before is not None and any(child.is_alive() for child in before.children.values()):
            raise RuntimeError(f"{plane.name} already has real nodes; stop them first")
        if before is not None:
            before.remove()
        remains = Remains(plane.folder)
        try:
            nodes = cls(_lay(plane, remains, programs))
            nodes._start_registries(say)
            nodes.add(count, say)
        except BaseException:
            with contextlib.suppress(RuntimeError):
                remains.remove()
            raise
        return nodes

    @classmethod
    def attach(cls, plane: ControlPlane) -> Self:
        """The real nodes that another process has started on a detached control plane."""
        remains = Remains.load(plane.folder)
        if remains is None or remains.block is None:
            raise LookupError(
                f"{plane.name} has no real nodes;"
                f" start some: python -m tests.controlplane start --name {plane.name} --real 2"
            )
        router = Namespaces(remains.children[ROUTER].pid, ROUTER_KINDS)
        return cls(Bed(plane, remains, binaries(PROGRAMS), remains.block, router))

    def add(self, count: int = 1, say: Callable[[str], None] = lambda text: None) -> list[RealNode]:
        """Start more nodes, together; return when they are Ready."""
        added = [self._boot() for _ in range(count)]
        for node in added:
            self._run(node)
        for node in added:
            node.wait_ready()
            say(f"{node.name} is Ready ({node.address})")
        return added

    def start_node(self, name: str, system: str) -> RealNode:
        """Start a node with a name, without waiting until it is Ready.

        ``system`` is the name of its operating system. The kubelet uses the Node object of that
        name if there is one: its labels, annotations and taints stay.
        """
        node = self._boot(name, system)
        self._run(node)
        return node

    def discard(self, name: str) -> None:
        """End a node and remove its disk, without a change in the API."""
        self._nodes[name].discard()
        node = self._nodes.pop(name)
        self._bed.remains.drop_node(name, node.cgroup)

    def _boot(self, name: str = "", system: str = "") -> RealNode:
        """Prepare and boot one more node; without a name it is ``real-<index>``."""
        taken = {node["index"] for node in self._bed.remains.nodes}
        index = next((i for i in range(NODES_IN_BLOCK) if i not in taken), None)
        if index is None:
            raise ValueError(f"a bed has room for {NODES_IN_BLOCK} nodes, and it has as many")
        node = RealNode(self._bed, name or f"real-{index}", index)
        self._bed.remains.add_node(node.name, index, node.cgroup)
        self._nodes[node.name] = node
        registries = [self.registry.host, self.private_registry.host]
        node.prepare(self.images.digest("pause"), registries)
        if system:
            node.set_system(system)
        node.boot()
        return node

    def _run(self, node: RealNode) -> None:
        node.start_containerd()
        # A pod can start when the registry is away, if its own image is there.
        node.pull(self.images.digest("pause"))
        node.start_kubelet()

    @property
    def names(self) -> list[str]:
        return list(self._nodes)

    def node(self, name: str) -> RealNode:
        return self._nodes[name]

    def stop(self) -> None:
        """Stop nodes and registries and remove their files; the control plane keeps running."""
        for node in self._nodes.values():
            with contextlib.suppress(OSError, RuntimeError):
                node.end()
        self._bed.remains.remove()
        for process in self._bed.processes.values():
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start_registries(self, say: Callable[[str], None]) -> None:
        for registry in (self.registry, self.private_registry):
            registry.start()
        self.images.push()
        say(f"{len(self.images.images)} images are in the registry {self.registry.host}")


def _lay(plane: ControlPlane, remains: Remains, programs: dict[str, Path]) -> Bed:
    """The base of the nodes: the router, a block of addresses, the route to the API server."""
    remains.ports = dict(zip((REGISTRY, PRIVATE), free_ports(2), strict=True))
    remains.folder.mkdir()
    remains.save()
    process, child, router = hold_network(ROUTER, folder=remains.folder, tied=not plane.detached)
    remains.add_child(child)
    # The link ends with the router; from here on there is more to remove, and it is recorded.
    remains.block = network.take_block(router)
    remains.save()
    bed = Bed(plane, remains, programs, remains.block, router, {ROUTER: process})
    network.open_api(remains.block, plane.ports["kube-apiserver"])
    return bed
