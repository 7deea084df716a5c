"""One real node: a kubelet and containerd in namespaces of their own, and what can befall it."""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from tests.controlplane.api import Api, ApiError, Json
from tests.controlplane.certificates import Certificates
from tests.controlplane.real import cgroups, containerd, kubelet, network
from tests.controlplane.real.bed import Bed
from tests.controlplane.real.namespaces import NODE_KINDS, Namespaces, hold_node

__all__ = ["NodeError", "RealNode"]

READY_SECONDS = 90.0
POLL_SECONDS = 0.1
LOG_TAIL_LINES = 25
UNWELL = {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}


class NodeError(RuntimeError):
    """A real node did not start; the message contains the end of its logs."""


class RealNode:
    """A node of a bed; ``index`` is its place in the bed's block of addresses."""

    def __init__(self, bed: Bed, name: str, index: int) -> None:
        self._bed = bed
        self.name = name
        self.index = index

    @property
    def address(self) -> str:
        return self._bed.block.node(self.index)

    @property
    def folder(self) -> Path:
        """What lies under /run/node in the node: data of containerd and kubelet, pods' logs."""
        return self._bed.folder / self.name

    def link_down(self) -> None:
        """Disconnect the node: its pods keep running, but it can neither be reached nor reach
        others."""
        network.link_node(self._bed.router, self.index, "down")

    def link_up(self) -> None:
        network.link_node(self._bed.router, self.index, "up")

    def start_containerd(self) -> None:
        """Start containerd; returns when it serves."""
        self._spawn("containerd", containerd.command(self._bed.programs))
        version = containerd.ctr(self._bed.programs, "version")
        self._await("containerd", lambda: self._succeeds(*version))

    def stop_containerd(self, force: bool = False) -> None:
        """End containerd; containers go on under their shims."""
        self._bed.end(self._component("containerd"), force)

    def start_kubelet(self) -> None:
        """Start the kubelet, without waiting for the node to be Ready."""
        command = kubelet.command(self._bed.programs, name=self.name, address=self.address)
        self._spawn("kubelet", command)

    def stop_kubelet(self, force: bool = False) -> None:
        """End the kubelet; containers go on, the node becomes NotReady when its lease is old."""
        self._bed.end(self._component("kubelet"), force)

    def power_off(self) -> None:
        """End everything in the node at once, as a power cut does; its disk stays."""
        # All programs in the node end with its first process.
        for program in ("init", "kubelet", "containerd"):
            self._bed.end(self._component(program), force=True)
        network.unplug_node(self._bed.router, self.index)
        cgroups.remove(self.cgroup)

    def power_on(self) -> None:
        """Boot: empty memory, the disk of before, a new bootID; does not wait for Ready."""
        self.boot()
        self.start_containerd()
        self.start_kubelet()

    def reboot(self) -> str:
        """Power off and on, wait until the node is Ready; the new bootID."""
        before = self.object()["status"]["nodeInfo"]["bootID"]
        self.power_off()
        self.power_on()
        self._await("kubelet", lambda: self._boot_id() != before)
        self.wait_ready()
        return self._boot_id()

    def wait_ready(self) -> None:
        """Wait until the node is Ready, takes pods, and answers: Ready alone may be old news."""
        self._await("kubelet", lambda: self.is_ready() and self._answers())

    def is_ready(self) -> bool:
        """Whether the API server has it Ready, without the taints of a node that is not."""
        try:
            node = self.object()
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        taints = {taint["key"] for taint in node["spec"].get("taints", ())}
        conditions = {c["type"]: c["status"] for c in node["status"].get("conditions", ())}
        return conditions.get("Ready") == "True" and not taints & UNWELL

    def object(self) -> Json:
        """The Node object."""
        return self._bed.plane.api().get(f"/api/v1/nodes/{self.name}")

    def is_running(self, program: str) -> bool:
        """Whether ``kubelet``, ``containerd`` or ``init`` (the node itself) is running."""
        return self._bed.is_running(self._component(program))

    def run(self, *command: str) -> str:
        """Run a command of this machine inside the node and return what it prints."""
        return self._namespaces().run(*command)

    def ctr(self, *arguments: str) -> str:
        """Ask containerd: ``ctr("images", "list")``."""
        return self.run(*containerd.ctr(self._bed.programs, *arguments))

    def log_tail(self, program: str, lines: int = LOG_TAIL_LINES) -> str:
        """The end of the log of ``kubelet``, ``containerd`` or ``init``."""
        path = self._bed.folder / f"{self._component(program)}.log"
        try:
            return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
        except OSError as error:
            return f"(no log: {error})"

    @property
    def cgroup(self) -> str:
        return f"{self._bed.block.interface}-{self.name}"

    def prepare(self, sandbox: str, registries: list[str]) -> None:
        """Write what the node's programs read; once in its life."""
        self.folder.mkdir()
        certificates = Certificates(self._bed.plane.folder / "certificates")
        kubelet.write_configuration(
            self.folder, name=self.name, cgroup=self.cgroup, certificates=certificates
        )
        containerd.write_configuration(
            self.folder,
            programs=self._bed.programs,
            sandbox=sandbox,
            registries=registries,
            pods=self._bed.block.pods(self.index),
        )
        # Without a product id of its own every node would be the same machine.
        self._machine("etc/machine-id", uuid.uuid4().hex)
        for name, value in kubelet.KERNEL_SETTINGS.items():
            self._machine(f"proc/sys/{name}", value)

    def set_system(self, name: str) -> None:
        """Set the name of the operating system that the node reports, before its first boot."""
        self._machine("etc/os-release", f'PRETTY_NAME="{name}"')

    def boot(self) -> None:
        """Make the node's namespaces, control group and network, with nothing running."""
        self._machine("proc/sys/kernel/random/boot_id", str(uuid.uuid4()))
        cgroups.create(self.cgroup)
        process, child, namespaces = hold_node(
            self._component("init"),
            self.name,
            self.folder,
            folder=self._bed.folder,
            tied=self._bed.tied,
        )
        self._bed.keep(process, child)
        port = self._bed.plane.ports["kube-apiserver"]
        network.connect_node(self._bed.block, self._bed.router, namespaces, self.index, port)

    def pull(self, reference: str) -> None:
        """Pull an image before a pod asks for it."""
        self.ctr("images", "pull", "--hosts-dir=/run/node/registries", reference)

    def discard(self) -> None:
        """End the node and remove its disk; its Node object is left alone."""
        self.power_off()
        shutil.rmtree(self.folder, ignore_errors=True)

    def end(self) -> None:
        """End the node for good and delete its object; its pods' objects go with it."""
        self.discard()
        api = self._bed.plane.api()
        for pod in self._bed.plane.pods_on(self.name):
            meta = pod["metadata"]
            _delete(api, f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}")
        _delete(api, f"/api/v1/nodes/{self.name}")

    def _answers(self) -> bool:
        path = f"/api/v1/nodes/{self.name}/proxy/healthz"
        try:
            return self._bed.plane.api().text("GET", path) == "ok"
        except ApiError:
            return False

    def _machine(self, path: str, text: str) -> None:
        """What the node finds under ``/<path>`` instead of this machine's."""
        file = self.folder / "machine" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def _boot_id(self) -> str:
        return str(self.object()["status"]["nodeInfo"]["bootID"])

    def _component(self, program: str) -> str:
        return f"{self.name}.{program}"

    def _namespaces(self) -> Namespaces:
        return Namespaces(self._bed.remains.children[self._component("init")].pid, NODE_KINDS)

    def _spawn(self, program: str, command: list[str]) -> None:
        self._bed.keep(
            *self._namespaces().spawn(
                self._component(program), command, folder=self._bed.folder, tied=self._bed.tied
            )
        )

    def _succeeds(self, *command: str) -> bool:
        result = subprocess.run(self._namespaces().command(*command), capture_output=True)
        return result.returncode == 0

    def _await(self, program: str, check: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not check():
            running = self.is_running(program)
            if not running or time.monotonic() > deadline:
                what = "did not get ready" if running else "has ended"
                raise NodeError(
                    f"{program} of {self.name} {what}; the end of its log:\n"
                    f"{self.log_tail(program)}"
                )
            time.sleep(POLL_SECONDS)


def _delete(api: Api, path: str) -> None:
    try:
        api.request("DELETE", path, {"gracePeriodSeconds": 0})
    except ApiError as error:
        if error.status != 404:
            raise
