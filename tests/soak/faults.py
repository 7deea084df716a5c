"""Random faults beside random users: nodes, the operator, and its way to the API server."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.cluster.faults.test_api_server import away, once_each, sometimes
from tests.cluster.write_proxy import WriteProxy
from tests.controlplane import ControlPlane
from tests.controlplane.api import ApiError
from tests.soak.replicas import Replicas

__all__ = ["Faults"]

LEASE_SECONDS = 15.0
DISRUPTED = "karpenter.sh/disrupted"


class Faults:
    """``take`` notes the names of pods that a fault ends. At most one node is in trouble."""

    def __init__(
        self,
        plane: ControlPlane,
        replicas: Replicas,
        proxy: WriteProxy,
        chance: random.Random,
        take: Callable[..., None],
    ) -> None:
        self._plane, self._replicas, self._proxy = plane, replicas, proxy
        self._chance, self._take = chance, take
        self._nodes: list[str] = [
            node["metadata"]["name"]
            for node in plane.api().get("/api/v1/nodes")["items"]
            if node["metadata"]["labels"].get("type") == "kwok"
        ]
        self._node, self._calms = "", 0.0
        self.kinds: dict[str, Callable[[], str]] = {
            "kill the leader": self._kill_leader,
            "end the leader politely": self._end_leader,
            "kill the standby": self._kill_standby,
            "let the leader sleep": self._sleep,
            "a third of all requests fails": lambda: self._spoil(sometimes(503, "Unavailable")),
            "each write conflicts once": lambda: self._spoil(once_each(409, "Conflict")),
            "the API server is away": lambda: self._spoil(away(5.0)),
            "watches are late": self._hold,
            "lose a node": self._lose,
            "reboot a node": self._reboot,
            "cordon a node": lambda: self._node_in(self._cordon),
            "announce the end of a node": lambda: self._node_in(self._announce),
        }

    def act(self) -> str:
        """Let one happen, and end those that lasted long enough."""
        if time.monotonic() > self._calms:
            self._proxy.calm()
        if self._node and self._chance.random() < 0.5:
            return f"end the trouble of a node: {self._restore()}"
        name = self._chance.choice(list(self.kinds))
        try:
            return f"{name}: {self.kinds[name]()}"
        except (RuntimeError, ApiError, TimeoutError) as error:
            return f"{name}: {str(error).splitlines()[0][:200]}"

    def calm(self) -> None:
        """End all of them."""
        self._proxy.calm()
        self._replicas.wake()
        self._restore()

    def _spoil(self, spoil: Callable[..., object]) -> str:
        self._proxy.spoil = spoil  # type: ignore[assignment]
        self._calms = time.monotonic() + 6
        return "for 6 s"

    def _hold(self) -> str:
        seconds = self._chance.choice([1.0, 6.0])
        kind = self._chance.choice(["/pods", "/immutableservices", "/immutablerevisions", "/nodes"])
        self._proxy.hold = lambda path: seconds if path.endswith(kind) else 0.0
        self._calms = time.monotonic() + 10
        return f"{kind} by {seconds:g} s"

    def _kill_leader(self) -> str:
        if (leader := self._replicas.leader()) is None:
            return "none leads"
        leader.kill()
        return leader.name

    def _end_leader(self) -> str:
        if (leader := self._replicas.leader()) is None:
            return "none leads"
        leader.terminate()
        return leader.name

    def _kill_standby(self) -> str:
        if (standby := self._replicas.standby()) is None:
            return "there is none"
        standby.kill()
        return standby.name

    def _sleep(self) -> str:
        if (leader := self._replicas.leader()) is None:
            return "none leads"
        seconds = self._chance.choice([3.0, LEASE_SECONDS + 5])
        if not self._replicas.put_to_sleep(leader, seconds):
            return "another one sleeps"
        return f"{leader.name} for {seconds:g} s"

    def _pods(self, node: str) -> list[str]:
        return [pod["metadata"]["name"] for pod in self._plane.pods_on(node)]

    def _node_in(self, trouble: Callable[[str], None]) -> str:
        if self._node:
            return "another node is in trouble"
        self._node = self._chance.choice(self._nodes)
        trouble(self._node)
        return self._node

    def _lose(self) -> str:
        return self._node_in(self._lost)

    def _lost(self, node: str) -> None:
        self._take(*self._pods(node))
        self._plane.lose_node(node)

    def _reboot(self) -> str:
        if self._node:
            return "another node is in trouble"
        node = self._chance.choice(self._nodes)
        self._take(*self._pods(node))
        self._plane.reboot_node(node)
        return node

    def _cordon(self, node: str) -> None:
        self._plane.kubectl("cordon", node)

    def _announce(self, node: str) -> None:
        self._plane.kubectl("taint", "node", node, f"{DISRUPTED}:NoSchedule")

    def _restore(self) -> str:
        if node := self._node:
            self._plane.kubectl("uncordon", node)
            self._plane.kubectl("taint", "node", node, f"{DISRUPTED}-", check=False)
            self._plane.restore_node(node)
        self._node = ""
        return node
