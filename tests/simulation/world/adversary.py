"""Everything that may go wrong, at random, from one seed, played on the whole operator.

Each seed picks a few kinds of trouble, as in `tests.simulation.adversary`: people, the cluster, and
the faults of `faults`. In the end all of it stops, and the service has to come to rest by itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from immutable_operator.domain.model import instance_name
from tests.simulation.world.api import NAMESPACE
from tests.simulation.world.cluster import GOOD
from tests.simulation.world.exposure import Exposure
from tests.simulation.world.faults import Faults
from tests.simulation.world.people import PODS, People
from tests.simulation.world.people import template as pod_template
from tests.simulation.world.storage import Obj
from tests.simulation.world.stories import Stories
from tests.simulation.world.world import World

__all__ = ["Adversary"]

LIMITS: list[dict[str, Any]] = [
    {"maxSurge": 1, "maxUnavailable": 0},
    {"maxSurge": 0, "maxUnavailable": 1},
    {"maxSurge": 1, "maxUnavailable": 1},
    {"maxSurge": "25%", "maxUnavailable": "25%"},
    {"maxSurge": "100%", "maxUnavailable": "100%"},
    {"maxSurge": 2, "maxUnavailable": 0},
]


class Adversary:
    """Attacks one world with the troubles that its seed picked; ``picked`` are their names."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.cluster = world, world.cluster
        self.rng = rng = random.Random(f"adversary/{seed}")
        self.people = People(world)
        self.faults = Faults(world, rng)
        self.strangers: list[str] = []
        self.port = rng.random() < 0.1
        self.config = rng.random() < 0.3
        people: list[Callable[[], None]] = [
            self.change_image,
            self.break_image,
            self.scale,
            self.change_limits,
            self.suspend,
            self.refuse,
            self.recreate,
            self.age,
            self.schedule,
            self.request,
            self.freeze,
            self.forge,
            self.reach_into,
            self.on_taint,
            self.configure,
        ]
        cluster: list[Callable[[], None]] = [
            self.delete_a_pod,
            self.delete_a_starting_one,
            self.end_a_pod,
            self.unready,
            self.drain,
            self.lose_a_node,
            self.end_a_node,
            self.quota,
            self.budget,
            self.stranger,
        ]
        stories = Stories(self).all
        self.kinds = [
            *rng.sample(people, rng.randint(1, 4)),
            *rng.sample(cluster, rng.randint(1, 3)),
            *rng.sample(stories, rng.choice([0, 1, 1, 2])),
            *rng.sample(self.faults.all, rng.choice([0, 1, 1, 2, 3])),
        ]
        self.exposure = Exposure(self)
        # Drawn apart, so that the other troubles of a seed stay the same.
        if random.Random(f"exposure/{seed}").random() < 0.3:
            self.kinds += self.exposure.all
        # With a host port there is no room for a second fleet.
        if not self.port and random.Random(f"blue-green/{seed}").random() < 0.25:
            self.kinds += [*self.exposure.ways, self.exposure.expose]
        if random.Random(f"polite/{seed}").random() < 0.2:
            self.kinds.append(self.faults.end_politely)
        self.picked = sorted(kind.__name__ for kind in self.kinds)

    def begin(self) -> None:
        """Operators, and a service at work on its first revision."""
        rng = self.rng
        self.people.configure("good")
        self.world.start()
        self.world.run(2.0)
        rollout = {
            **rng.choice(LIMITS),
            "minReadySeconds": rng.choice([0, 0, 5]),
            "progressDeadlineSeconds": 60,
        }
        self.people.apply(
            replicas=rng.choice([1, 2, 3, 3, 4, 6]),
            template=self.template("A"),
            rollout=rollout,
            historyLimit=rng.choice([1, 10]),
        )
        self.world.run(rng.choice([0.5, 30.0]))

    def attack(self, times: int) -> None:
        """Trouble after trouble, close together or far apart."""
        for _ in range(times):
            self.rng.choice(self.kinds)()
            self.world.run(self.rng.choice([0.0, 0.05, 0.3, 1.0, 4.0, 15.0, 60.0]))

    def stop(self) -> None:
        """No more trouble: a spec that works, and room for it."""
        self.world.say("peace", "begins")
        self.faults.stop()
        self.free()
        self.exposure.stop()
        for name in self.strangers:
            self.people.ask("DELETE", f"{PODS}/{name}", {"gracePeriodSeconds": 0})
        self.people.thaw()
        self.people.configure("good")
        nodes = len(self.cluster.nodes)
        rollout = {**self.rng.choice(LIMITS), "progressDeadlineSeconds": 60}
        if self.port:
            rollout |= {"maxSurge": 0, "maxUnavailable": 1}
        self.people.apply(
            template=self.template(self.rng.choice(GOOD)),
            replicas=self.rng.randint(1, nodes if self.port else 6),
            rollout=rollout,
            suspend=False,
            regeneration=None,
            immutability=None,
        )

    def check(self) -> None:
        """Releases must pass a check, which has no result half of the time, or none."""
        http = {"url": "http://web/", "expect": {"status": 200}, "within": "1s", "interval": "1s"}
        check = {"name": "up", "http": http, "inconclusive": "Wait", "inconclusiveLimit": 2}
        self.people.apply(rollout={"checks": self.rng.choice([[check], [check], []])})

    def free(self) -> None:
        """What the cluster forbids is allowed again."""
        self.world.api.quota = None
        self.world.api.budgets.clear()
        for node in list(self.cluster.nodes):
            self.cluster.uncordon(node)

    def template(self, letter: str) -> Obj:
        return pod_template(letter, port=self.port, config=self.config)

    def any_pod(self) -> Obj | None:
        pods = [
            p
            for p in self.world.api.storage.all("pods")
            if "deletionTimestamp" not in p["metadata"]
        ]
        return self.rng.choice(pods) if pods else None

    # People.

    def change_image(self) -> None:
        self.people.apply(template=self.template(self.rng.choice(GOOD)))

    def break_image(self) -> None:
        self.people.apply(template=self.template(self.rng.choice("CDEF")))

    def scale(self) -> None:
        self.people.apply(replicas=self.rng.choice([0, 1, 2, 3, 5, 8, None]))

    def change_limits(self) -> None:
        self.people.apply(rollout=self.rng.choice(LIMITS))

    def suspend(self) -> None:
        spec = self.people.spec or {}
        self.people.apply(suspend=not spec.get("suspend"))

    def refuse(self) -> None:
        """A spec that only the operator's own check refuses."""
        self.people.apply(regeneration={"schedule": "61 * * * *"})
        self.world.run(self.rng.choice([0.5, 5.0]))
        self.people.apply(regeneration=None)

    def recreate(self) -> None:
        spec = self.people.spec
        self.people.delete()
        self.world.run(self.rng.choice([0.0, 0.5, 30.0]))
        if spec is not None:
            self.people.apply(**spec)

    def age(self) -> None:
        ages = {
            "maxAge": self.rng.choice(["60s", "120s", "600s"]),
            "maxConcurrent": self.rng.choice([1, 2]),
        }
        self.people.apply(regeneration=self.rng.choice([ages, ages, None]))

    def schedule(self) -> None:
        self.people.apply(regeneration={"schedule": "*/5 * * * *"})

    def request(self) -> None:
        pod = self.any_pod() if self.rng.random() < 0.5 else None
        override = self.rng.random() < 0.3
        self.people.regenerate(pod["metadata"]["name"] if pod else None, override=override)

    def freeze(self) -> None:
        self.people.freeze(self.rng.choice([5.0, 60.0]), repairs=self.rng.random() < 0.3)

    def forge(self) -> None:
        self.people.forge(self.rng.choice([None, {"lastGoodRevision": "00000000"}]))

    def reach_into(self) -> None:
        if pod := self.any_pod():
            self.people.mark(pod)

    def on_taint(self) -> None:
        way = self.rng.choice(["Replace", "Quarantine", "Report"])
        self.people.apply(immutability={"onTaint": way, "quarantineFor": "60s"})

    def configure(self) -> None:
        self.people.configure(self.rng.choice(["good", "better", "other", None]))

    # The cluster.

    def delete_a_pod(self) -> None:
        if pod := self.any_pod():
            self.people.delete_pod(pod, force=self.rng.random() < 0.3)

    def delete_a_starting_one(self) -> None:
        """The successor that is on its way goes."""
        service = self.people.service
        starting = [p for p in service.active if p.ready_since is None] if service else []
        if starting:
            pod = self.world.api.storage.get("pods", (NAMESPACE, starting[-1].name))
            if pod is not None:
                self.people.delete_pod(pod)

    def end_a_pod(self) -> None:
        if pod := self.any_pod():
            self.world.say("kubelet", f"evicts {pod['metadata']['name']}")
            self.cluster.end(pod)

    def unready(self) -> None:
        pod = self.any_pod()
        if pod and pod["spec"].get("nodeName"):
            key = (NAMESPACE, pod["metadata"]["name"])
            self.cluster.unready(key, pod["metadata"]["uid"], self.rng.choice([2.0, 20.0]))

    def drain(self) -> None:
        self.cluster.drain(self.rng.choice(sorted(self.cluster.nodes)))

    def lose_a_node(self) -> None:
        self.cluster.lose_node(self.rng.choice(sorted(self.cluster.nodes)))

    def end_a_node(self) -> None:
        name = self.rng.choice(sorted(self.cluster.nodes))
        self.cluster.announce_end(name, happens=self.rng.random() < 0.6)

    def quota(self) -> None:
        self.world.api.quota = self.rng.choice([0, 2, 4, None])
        self.world.say("quota", str(self.world.api.quota))

    def budget(self) -> None:
        """None, one, or two PodDisruptionBudgets."""
        budgets = self.world.api.budgets
        budgets.clear()
        for name in self.rng.choice([[], ["web"], ["web"], ["web", "all"]]):
            always = self.rng.random() < 0.5
            least = self.rng.choice([0, 1, 2, 9])
            budgets[name] = {"labels": {"app": "web"}, "minAvailable": least, "alwaysAllow": always}
        self.world.say("budgets", str(budgets))

    def stranger(self) -> None:
        """A pod of somebody else has the name of a birth to come."""
        service = self.people.service
        revisions = {p.revision for p in service.pods.values()} if service else set()
        for revision in sorted(revisions):
            assert service is not None
            slot, incarnation = self.rng.randint(0, 4), self.rng.randint(0, 2)
            name = instance_name(service.name, service.uid, revision, slot, incarnation)
            body = {"metadata": {"name": name}, "spec": pod_template("A")["spec"]}
            if self.people.ask("POST", PODS, body):
                self.strangers.append(name)
                self.world.say("stranger", f"has the name {name}")
