"""Everything that may go wrong with a pool of nodes, at random, from one seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from immutable_operator.domain.model import instance_name
from tests.simulation.world.cluster import GOOD
from tests.simulation.world.families import CLAIMS, IMAGE, uid_of
from tests.simulation.world.faults import KINDS, Faults
from tests.simulation.world.karpenter import PROVIDER, Karpenter
from tests.simulation.world.machines import Machines
from tests.simulation.world.pool_people import CLAIMS_PATH, PoolPeople
from tests.simulation.world.storage import Obj
from tests.simulation.world.world import World

__all__ = ["NodeAdversary"]

LIMITS: list[dict[str, Any]] = [
    {"maxSurge": 1, "maxUnavailable": 0},
    {"maxSurge": 1, "maxUnavailable": 0},
    {"maxSurge": 0, "maxUnavailable": 1},
    {"maxSurge": 1, "maxUnavailable": 1},
    {"maxSurge": "50%", "maxUnavailable": 0},
    {"maxSurge": 2, "maxUnavailable": 0},
]
SMOKE = {"image": f"registry.example/smoke@sha256:{'a' * 64}", "timeout": "20s"}
DEADLINE = 120
FACTS = ["kubeletVersion", "kernelVersion", "containerRuntimeVersion"]
NODES_PATH = "/api/v1/nodes"
DRIFT = [*FACTS, "bootID", "reachedInto"]


class NodeAdversary:
    """Attacks one world with the troubles that its seed picked; ``picked`` are their names."""

    def __init__(self, world: World, seed: int) -> None:
        assert isinstance(world.cluster, Machines)
        self.world, self.machines = world, world.cluster
        self.rng = rng = random.Random(f"nodes/{seed}")
        self.people = PoolPeople(world)
        self.karpenter = self.machines if isinstance(self.machines, Karpenter) else None
        self.faults = Faults(world, rng, [*KINDS, "nodes", CLAIMS] if self.karpenter else KINDS)
        self.provider: Obj = PROVIDER if self.karpenter else {"simulated": {}}
        self.strangers: list[str] = []
        self._changes = 0
        self.smoke = rng.random() < 0.3
        people: list[Callable[[], None]] = [
            self.change_image,
            self.change_template,
            self.break_image,
            self.scale,
            self.change_limits,
            self.suspend,
            self.recreate,
            self.age,
            self.schedule,
            self.request,
            self.freeze,
            self.forge,
            self.judge_drift,
            self.judge_drains,
        ]
        cluster: list[Callable[[], None]] = [
            self.delete_a_node,
            self.delete_a_starting_one,
            self.change_in_place,
            self.reboot,
            self.reboot_all,
            self.reach_into,
            self.break_daemons,
            self.budget,
            self.stuck_drain,
            self.capacity,
            self.drain,
            self.end_a_node,
            self.lose_a_node,
            self.open_a_node,
            self.workload,
            self.stranger,
        ]
        clouds: list[Callable[[], None]] = [
            self.karpenter_leaves,
            self.delete_a_claim,
            self.delete_a_claim,
            self.node_class,
            self.no_capacity_for_a_while,
        ]
        self.kinds = [
            *(rng.sample(clouds, rng.randint(1, 3)) if self.karpenter else ()),
            *rng.sample(people, rng.randint(1, 4)),
            *rng.sample(cluster, rng.randint(1, 4)),
            *rng.sample(self.faults.all, rng.choice([0, 1, 1, 2, 3])),
        ]
        # Drawn apart, so that the other troubles of a seed stay the same.
        if random.Random(f"polite/{seed}").random() < 0.2:
            self.kinds.append(self.faults.end_politely)
        self.picked = sorted(kind.__name__ for kind in self.kinds)

    def begin(self) -> None:
        """Operators, and a pool at work on its first image."""
        self.world.start()
        self.world.run(2.0)
        self.people.apply(
            replicas=self.rng.choice([1, 2, 3, 3, 4]),
            image=self.image("A"),
            provider=self.provider,
            rollout=self.rollout(),
            drain={"timeout": "60s", "onBlocked": self.rng.choice(["Wait", "DeleteAfter"])},
            historyLimit=self.rng.choice([1, 10]),
        )
        self.world.run(self.rng.choice([0.5, 60.0, 60.0]))

    def rollout(self) -> Obj:
        verify: Obj = {"settle": self.rng.choice(["1s", "5s", "5s"])}
        if self.smoke:
            verify["smokePod"] = SMOKE
        limits = self.rng.choice(LIMITS)
        return {**limits, "progressDeadlineSeconds": DEADLINE, "verify": verify}

    @staticmethod
    def image(letter: str) -> Obj:
        return {"id": f"img-{letter.lower()}"}

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
        for name in self.strangers:
            self.people.ask("DELETE", f"{CLAIMS_PATH if self.karpenter else NODES_PATH}/{name}")
        self.people.thaw()
        self._wait_for_deletion()
        self.people.apply(
            image=self.image(self.rng.choice(GOOD)),
            provider=self.provider,
            replicas=self.rng.randint(1, 4),
            rollout=self.rollout(),
            suspend=False,
            regeneration=None,
            template=None,
            deletionPolicy="Orphan",
            drift=dict.fromkeys(DRIFT, "Replace"),
        )

    def _wait_for_deletion(self) -> None:
        """A pool that drains its nodes before it goes comes back as another one."""
        for _ in range(200):
            found = self.people.ask("GET", f"{self.people.owners}/{self.people.name}")
            if found is None or "deletionTimestamp" not in found["metadata"]:
                return
            self.world.run(30.0)
        self.world.fail("L3", "the deletion of the pool does not end")

    def free(self) -> None:
        """What the cluster forbids is allowed again."""
        self.world.api.machines = None
        self.world.api.budgets.clear()
        self.machines.daemons_work = True
        if self.karpenter:
            self.karpenter.serve_class(ready=True)
            self.karpenter.come_back()
        for pod in self.world.api.storage.all("pods"):
            if pod["spec"].get("hostPID"):
                self.people.delete_pod(pod, force=True)
        for name in list(self.machines.nodes):
            self.machines.uncordon(name)

    def any_node(self) -> str | None:
        names = sorted(n["metadata"]["name"] for n in self.machines.pool_nodes())
        return self.rng.choice(names) if names else None

    # People.

    def change_image(self) -> None:
        self.people.apply(image=self.image(self.rng.choice(GOOD)))

    def change_template(self) -> None:
        labels = {"tier": self.rng.choice(["gold", "silver"])}
        self.people.apply(template=self.rng.choice([{"labels": labels}, None]))

    def break_image(self) -> None:
        self.people.apply(image=self.image(self.rng.choice("CDEFGH" if self.karpenter else "CDEF")))

    def scale(self) -> None:
        self.people.apply(replicas=self.rng.choice([0, 1, 2, 3, 5, None]))

    def change_limits(self) -> None:
        self.people.apply(rollout=self.rollout())

    def suspend(self) -> None:
        spec = self.people.spec or {}
        self.people.apply(suspend=not spec.get("suspend"))

    def recreate(self) -> None:
        """Delete the pool, whose nodes stay or are drained, and make it anew."""
        spec = self.people.spec
        self.people.apply(deletionPolicy=self.rng.choice(["Orphan", "Drain"]))
        self.world.run(self.rng.choice([0.05, 2.0]))
        self.people.delete()
        self.world.run(self.rng.choice([0.0, 0.5, 30.0]))
        if spec is not None:
            self.people.apply(**spec)

    def age(self) -> None:
        ages = {"maxAge": self.rng.choice(["120s", "600s"])}
        self.people.apply(regeneration=self.rng.choice([ages, ages, None]))

    def schedule(self) -> None:
        self.people.apply(regeneration={"schedule": "*/10 * * * *"})

    def request(self) -> None:
        node = self.any_node() if self.rng.random() < 0.5 else None
        self.people.regenerate(node and self._instance(node), override=self.rng.random() < 0.3)

    def freeze(self) -> None:
        self.people.freeze(self.rng.choice([5.0, 60.0]), repairs=self.rng.random() < 0.3)

    def forge(self) -> None:
        self.people.forge(self.rng.choice([None, {"lastGoodRevision": "00000000"}]))

    def judge_drift(self) -> None:
        ways = ["Replace", "Replace", "Report", "Ignore"]
        self.people.apply(drift={field: self.rng.choice(ways) for field in DRIFT})

    def judge_drains(self) -> None:
        way = self.rng.choice(["Wait", "DeleteAfter"])
        self.people.apply(drain={"timeout": self.rng.choice(["20s", "60s"]), "onBlocked": way})

    # Nodes.

    def delete_a_node(self) -> None:
        if name := self.any_node():
            self.people.delete_node(name)

    def delete_a_starting_one(self) -> None:
        """The successor that is on its way goes."""
        service = self.people.service
        starting = [p for p in service.active if not p.verified] if service else []
        if starting:
            name = starting[-1].name
            (self.people.delete_claim if self.karpenter else self.people.delete_node)(name)

    def change_in_place(self) -> None:
        if name := self.any_node():
            self._changes += 1
            self.machines.change(name, **{self.rng.choice(FACTS): f"v{self._changes}"})

    def reboot(self) -> None:
        if name := self.any_node():
            self.machines.reboot(name, self.rng.choice([1.0, 10.0, 60.0]))

    def reboot_all(self) -> None:
        for node in self.machines.pool_nodes():
            self.machines.reboot(node["metadata"]["name"], 5.0)

    def reach_into(self) -> None:
        if name := self.any_node():
            self._changes += 1
            self.people.reach_into(name, f"debugger-{self._changes}")

    def break_daemons(self) -> None:
        """No new pod of a DaemonSet becomes ready, until another release of it works."""
        self.machines.daemons_work = not self.machines.daemons_work
        self.world.say("agent", f"works: {self.machines.daemons_work}")

    def budget(self) -> None:
        """A PodDisruptionBudget that lets no pod of the workload go, some, or none any more."""
        budgets = self.world.api.budgets
        budgets.clear()
        for name in self.rng.choice([[], ["guest"], ["guest"], ["guest", "all"]]):
            least = self.rng.choice([0, 1, 9])
            budgets[name] = {"labels": {"app": "guest"}, "minAvailable": least}
        self.world.say("budgets", str(budgets))

    def stuck_drain(self) -> None:
        """A budget keeps pods on nodes that are replaced, for longer than a drain may last."""
        self.machines.guests = 4
        self.machines.tend()
        self.world.run(3.0)
        self.world.api.budgets["guest"] = {"labels": {"app": "guest"}, "minAvailable": 9}
        self.world.say("budgets", "none of the workload may leave")
        self.rng.choice([self.request, self.change_image])()
        self.world.run(self.rng.choice([30.0, 100.0]))
        if self.rng.random() < 0.5:
            self.world.say("budgets", "they let go")
            self.world.api.budgets.clear()

    def capacity(self) -> None:
        self.world.api.machines = self.rng.choice([0, None])
        self.world.say("capacity", str(self.world.api.machines))

    def drain(self) -> None:
        if name := self.any_node():
            self.machines.drain(name)

    def end_a_node(self) -> None:
        if name := self.any_node():
            self.machines.announce_end(name, happens=self.rng.random() < 0.6)

    def lose_a_node(self) -> None:
        if name := self.any_node():
            self.machines.lose_node(name)

    def open_a_node(self) -> None:
        """Somebody removes all taints of a node and uncordons it."""
        if name := self.any_node():
            self.people.write_node(name, "opens", spec={"taints": None, "unschedulable": None})

    def workload(self) -> None:
        self.machines.guests = self.rng.choice([0, 1, 3, 6])
        self.machines.tend()

    def stranger(self) -> None:
        """A node of somebody else has the name of a birth to come."""
        service = self.people.service
        revisions = {p.revision for p in service.pods.values()} if service else set()
        for revision in sorted(revisions):
            assert service is not None
            slot, incarnation = self.rng.randint(0, 4), self.rng.randint(0, 2)
            name = instance_name(service.name, service.uid, revision, slot, incarnation)
            if self.people.ask(
                "POST", CLAIMS_PATH if self.karpenter else NODES_PATH, self._other(name)
            ):
                self.strangers.append(name)
                self.world.say("stranger", f"is the node {name}")

    def _other(self, name: str) -> Obj:
        """The body of what belongs to somebody else; a claim that Karpenter cannot serve."""
        if self.karpenter:
            meta = {"name": name, "annotations": {IMAGE: "img-g"}}
            return {"kind": "NodeClaim", "metadata": meta, "spec": {}}
        status = {"nodeInfo": {"osImage": "Other (a)"}}
        return {"metadata": {"name": name}, "spec": {}, "status": status}

    # Karpenter.

    def _instance(self, node: str) -> str:
        """The name of the instance that a node is."""
        found = self.machines.node(node)
        named = {c["metadata"]["uid"]: c["metadata"]["name"] for c in self._claims()}
        return named.get(uid_of(found), node) if found else node

    def _claims(self) -> list[Obj]:
        return self.world.api.storage.all(CLAIMS)

    def karpenter_leaves(self) -> None:
        if self.karpenter:
            self.karpenter.leave(self.rng.choice([5.0, 60.0, 200.0]))

    def delete_a_claim(self) -> None:
        names = sorted(c["metadata"]["name"] for c in self._claims())
        if names:
            self.people.delete_claim(self.rng.choice(names))

    def node_class(self) -> None:
        """The node class is deleted, does not work, or is there again."""
        if self.karpenter:
            self.karpenter.serve_class(ready=self.rng.choice([None, False, True]))

    def no_capacity_for_a_while(self) -> None:
        """No machine is left, for as long as pauses take to grow; then there are some again."""
        self.world.say("capacity", "none for a while")
        self.world.api.machines = 0
        self.rng.choice([self.request, self.change_image, self.scale])()
        self.world.run(self.rng.choice([30.0, 200.0]))
        self.world.api.machines = None
