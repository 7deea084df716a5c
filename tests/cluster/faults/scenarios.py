"""What the operator does while a fault happens, and what must be true at its end."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.actions import act
from tests.cluster.history import History, Recording
from tests.cluster.http_routes import HttpRoute
from tests.cluster.node_pools import NodeHistory, Pool, Workload, is_verified
from tests.cluster.people import BREAK_GLASS
from tests.cluster.rollbacks import CRASH
from tests.cluster.services import Service, annotation, born, condition, is_ready, pin
from tests.controlplane.api import Json

__all__ = ["SCENARIOS", "NodeReplacement", "OfService", "Scenario"]

REPLICAS = 2
DISRUPTED = "karpenter.sh/disrupted:NoSchedule"
READS = {"envFrom": [{"configMapRef": {"name": "settings"}}]}


class Scenario(ABC):
    """One thing that the operator does in several writes, with an object of its own."""

    @abstractmethod
    def begin(self) -> None:
        """Have it done."""

    @abstractmethod
    def is_done(self) -> bool:
        """Whether it is done, by what the API server shows."""

    @abstractmethod
    def end_state(self) -> Json:
        """What is there at the end, without names, times and identities."""

    @abstractmethod
    def recording(self) -> Recording:
        """An independent watcher of the instances."""

    @abstractmethod
    def check(self, recording: Recording) -> None:
        """Raise AssertionError if the limits of the rollout did not hold at each moment."""

    @abstractmethod
    def until(self, what: str, check: Callable[[], object], timeout: float) -> None:
        """Wait, and describe the object if it takes too long."""

    @abstractmethod
    def undo(self) -> None:
        """Leave the cluster as it was."""


@dataclass(frozen=True)
class OfService:
    """A scenario with a service of two pods: how it begins and how its end is known.

    ``writes``: the most of an undisturbed run. ``kept``: how many of the first pods are there at
    the end. ``fewest``: Ready pods at each moment. ``any_slot``: which pods stay depends on where
    the scheduler placed them. ``sets``: how many sets of instances there may be beside the surge.
    ``prepare`` is done before the service exists, ``then`` when it is ready.
    """

    name: str
    writes: int
    begin: Callable[[Service], None]
    kept: int = 0
    fewest: int = REPLICAS
    replicas: int = REPLICAS
    stalled: str = ""
    any_slot: bool = False
    sets: int = 1
    prepare: Callable[[Service], None] = lambda web: None
    then: Callable[[Service], None] = lambda web: None
    undo: Callable[[Service], None] = lambda web: None
    wish: Mapping[str, Any] = field(default_factory=dict)
    rollout: Mapping[str, Any] = field(default_factory=dict)

    def of(self, web: Service) -> ServiceScenario:
        """The scenario with this service, which is ready then."""
        self.prepare(web)
        rollout = {"maxSurge": 1, **self.rollout}
        web.apply(image="a", replicas=REPLICAS, rollout=rollout, **self.wish)
        web.until_ready()
        self.then(web)
        # A request is about the instances that were created before its second.
        web.until("its second is over", lambda: time.time() > max(map(born, web.pods())) + 1)
        return ServiceScenario(self, web, {pod["metadata"]["uid"] for pod in web.pods()})


@dataclass
class ServiceScenario(Scenario):
    """A service in the middle of what ``what`` describes; ``before`` are the uids of its pods."""

    what: OfService
    web: Service
    before: set[str]

    def begin(self) -> None:
        self.what.begin(self.web)

    def undo(self) -> None:
        self.what.undo(self.web)

    def is_done(self) -> bool:
        body, pods = self.web.get(), self.web.pods()
        # What the operator sees late it also tells late.
        late = body["status"].get("blockers") or body["status"].get("staleReplicas")
        observed = body["status"].get("observedGeneration") == body["metadata"]["generation"]
        kind, reason = ("Stalled", self.what.stalled) if self.what.stalled else ("Ready", "Current")
        told = condition(body, kind)
        kept = self.before & {pod["metadata"]["uid"] for pod in pods}
        return (
            observed
            and not late
            and (told.get("status"), told.get("reason")) == ("True", reason)
            and len(kept) == self.what.kept
            and sum(map(is_ready, pods)) == len(pods) == self.what.replicas
        )

    def end_state(self) -> Json:
        status, records = self.web.status(), self.web.revisions()
        numbers = {r["spec"]["revision"]: r for r in records}

        def told(pod: Json) -> list[object]:
            record = numbers[pod["metadata"]["labels"]["immutable.dev/revision"]]
            return [
                -1 if self.what.any_slot else int(annotation(pod, "slot") or -1),
                int(annotation(pod, "incarnation") or -1),
                record["spec"]["number"],
                (annotation(pod, "because") or "").partition(":")[0],
                annotation(pod, "replaces") is not None,
            ]

        return {
            "conditions": {c["type"]: [c["status"], c["reason"]] for c in status["conditions"]},
            "counts": {k: v for k, v in status.items() if k.lower().endswith("replicas")},
            "blockers": [b["reason"] for b in status.get("blockers") or []],
            "revisions": [[r["spec"]["number"], r["status"]["phase"]] for r in records],
            "pods": sorted(told(pod) for pod in self.web.pods()),
            "services": {
                name: numbers[revision]["spec"]["number"] if revision else 0
                for name, revision in self._selected().items()
            },
        }

    def _selected(self) -> dict[str, str]:
        """The revision that each Service of the operator selects; "" for all."""
        path = f"/api/v1/namespaces/{self.web.namespace}/services"
        found = self.web.plane.api().get(path)["items"]
        selectors = {s["metadata"]["name"]: s["spec"].get("selector", {}) for s in found}
        return {name: s.get("immutable.dev/revision", "") for name, s in selectors.items()}

    def recording(self) -> History:
        return History(self.web)

    def check(self, recording: Recording) -> None:
        assert isinstance(recording, History)
        most = self.what.sets * self.what.replicas + 1
        recording.assert_budget(most=most, fewest=self.what.fewest)

    def until(self, what: str, check: Callable[[], object], timeout: float) -> None:
        self.web.until(what, check, timeout)


@dataclass
class NodeReplacement(Scenario):
    """A pool of one node, with a pod on it, gets another image."""

    pool: Pool
    app: Workload

    @classmethod
    def of(cls, pool: Pool, namespace: str) -> NodeReplacement:
        """The scenario with this pool, whose node is ready then."""
        pool.apply(replicas=1)
        pool.until_ready()
        app = Workload(pool, namespace)
        app.apply()
        return cls(pool, app)

    def begin(self) -> None:
        self.pool.apply(image={"id": "image-2"})

    def undo(self) -> None:
        self.pool.remove()

    def is_done(self) -> bool:
        nodes = self.pool.nodes()
        homes = {pod["spec"].get("nodeName") for pod in self.app.pods()}
        return self.pool.is_ready() and len(nodes) == 1 and homes == set(nodes)

    def end_state(self) -> Json:
        status = self.pool.status()
        [node] = self.pool.nodes().values()
        path = "/apis/immutable.dev/v1alpha1/namespaces/immutable-system/immutablerevisions"
        records = self.pool.plane.api().get(path)["items"]
        own = [r for r in records if r["spec"].get("pool") == self.pool.name]
        return {
            "conditions": {c["type"]: [c["status"], c["reason"]] for c in status["conditions"]},
            "blockers": [b["reason"] for b in status.get("blockers") or []],
            "revisions": sorted([r["spec"]["number"], r["status"]["phase"]] for r in own),
            "node": [annotation(node, "slot"), annotation(node, "incarnation"), is_verified(node)],
        }

    def recording(self) -> NodeHistory:
        return NodeHistory(self.pool)

    def check(self, recording: Recording) -> None:
        assert isinstance(recording, NodeHistory)
        recording.assert_successor_first(most=2, fewest=1)

    def until(self, what: str, check: Callable[[], object], timeout: float) -> None:
        self.pool.until(what, check, timeout)


def _first(web: Service) -> str:
    """The pod in slot 0."""
    return next(str(p["metadata"]["name"]) for p in web.pods() if annotation(p, "slot") == "0")


def _settings(web: Service, mode: str) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings"},
        "data": {"mode": mode},
    }
    web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(body), namespace=web.namespace)


def _reach_in(web: Service) -> None:
    container = {"name": "debugger", "image": pin("debugger"), "targetContainerName": "web"}
    body = {"spec": {"ephemeralContainers": [container]}}
    web.plane.kubectl(
        *(*BREAK_GLASS, "patch", "pod", _first(web), "--subresource=ephemeralcontainers"),
        *("--type=strategic", "-p", json.dumps(body)),
        namespace=web.namespace,
    )


def _delete_by_force(web: Service) -> None:
    web.kubectl("delete", "pod", _first(web), "--force", "--grace-period=0")


def _announce_its_end(web: Service) -> None:
    [node] = {p["spec"]["nodeName"] for p in web.pods() if p["metadata"]["name"] == _first(web)}
    web.plane.kubectl("taint", "node", node, DISRUPTED)


def _nothing_is_announced(web: Service) -> None:
    nodes = web.plane.api().get("/api/v1/nodes")["items"]
    for node in nodes:
        if any(
            taint["key"] == DISRUPTED.partition(":")[0] for taint in node["spec"].get("taints", ())
        ):
            web.plane.kubectl("taint", "node", node["metadata"]["name"], f"{DISRUPTED}-")


def _blue_green(keep_for: str) -> Json:
    return {"strategy": "BlueGreen", "blueGreen": {"promotion": "Auto", "keepFor": keep_for}}


def _promoted(web: Service) -> None:
    """Another image has the traffic, and the previous pods are kept."""
    web.apply(image="b")
    web.until("it is promoted", lambda: web.reason() == "KeepingPrevious")


EXPOSED = {"spec": {"traffic": {"ports": [{"port": 80, "targetPort": 8080}]}}}
SPREAD = {
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}},
        }
    ]
}

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        OfService("rollout", 16, lambda web: web.apply(image="b")),
        OfService("regeneration", 14, lambda web: act(web, "again")),
        OfService("repair of a changed pod", 9, _reach_in, kept=REPLICAS - 1),
        OfService(
            "repair of a lost pod",
            8,
            _delete_by_force,
            kept=REPLICAS - 1,
            fewest=REPLICAS - 1,
        ),
        OfService(
            "rollback",
            14,
            lambda web: web.apply(image="b", sim=CRASH),
            kept=REPLICAS,
            stalled="RolledBack",
        ),
        OfService(
            "change of a ConfigMap",
            18,
            lambda web: _settings(web, "new"),
            prepare=lambda web: _settings(web, "old"),
            wish={"container": READS},
        ),
        OfService(
            "drain of a node",
            9,
            _announce_its_end,
            kept=REPLICAS - 1,
            undo=_nothing_is_announced,
            wish={"pod": SPREAD},
        ),
        OfService(
            "promotion",
            24,
            lambda web: web.apply(image="b"),
            sets=2,
            rollout=_blue_green("1s"),
            wish=EXPOSED,
        ),
        OfService(
            "rollback after a promotion",
            24,
            lambda web: act(web, "back", type="RollBack"),
            kept=REPLICAS,
            stalled="RolledBack",
            sets=2,
            then=_promoted,
            rollout=_blue_green("10m"),
            wish=EXPOSED,
        ),
        OfService(
            "canary",
            20,
            lambda web: web.apply(image="b"),
            rollout={
                "strategy": "Canary",
                "canary": {"steps": [{"setReplicas": 1}, {"pause": {"for": "1s"}}]},
            },
        ),
        OfService(
            "canary with weights",
            34,
            lambda web: web.apply(image="b"),
            sets=2,
            rollout={
                "strategy": "Canary",
                "canary": {"steps": [{"setWeight": 50}, {"pause": {"for": "1s"}}], "keepFor": "1s"},
            },
            wish={"spec": {"traffic": {**EXPOSED["spec"]["traffic"], "route": {"name": "web"}}}},
            prepare=lambda web: HttpRoute(web.plane, web.namespace).apply(),
        ),
        OfService(
            "scaling up",
            9,
            lambda web: web.apply(replicas=REPLICAS + 2),
            kept=REPLICAS,
            replicas=REPLICAS + 2,
        ),
        OfService(
            "scaling down",
            8,
            lambda web: web.apply(replicas=1),
            kept=1,
            replicas=1,
            fewest=1,
            any_slot=True,
        ),
    )
}
