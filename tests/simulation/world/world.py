"""One world: a model API server, its cluster, operator processes on it, and who watches all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager

from immutable_operator.api.names import API_VERSION, REVISION_PLURAL
from immutable_operator.kube.paths import ApiPath
from tests.simulation.world.api import NAMESPACE, ModelApi, Request
from tests.simulation.world.clock import VirtualLoop
from tests.simulation.world.cluster import Cluster
from tests.simulation.world.connection import Network
from tests.simulation.world.families import CLAIMS, NODES, PODS, Family, uid_of
from tests.simulation.world.karpenter import KARPENTER, Karpenter
from tests.simulation.world.machines import Machines
from tests.simulation.world.process import (
    LEASE,
    LEASE_TIMES,
    QUIET_TIMES,
    Process,
    count_tasks,
    start_operator,
)
from tests.simulation.world.stand_ins import stand_ins
from tests.simulation.world.storage import Commit, Obj
from tests.simulation.world.storm import Storm
from tests.simulation.world.story import Story
from tests.simulation.world.truth import Service, Truth
from tests.simulation.world.watcher import Watcher

__all__ = ["Broken", "World", "world"]

REVISIONS = ApiPath(f"apis/{API_VERSION}", REVISION_PLURAL)
OPERATOR = "op-"


class Broken(AssertionError):
    """A rule was broken; the message is the rule's number, a sentence, and the story so far."""

    def __init__(self, rule: str, sentence: str, story: str) -> None:
        super().__init__(f"rule {rule}: {sentence}\n{story}")
        self.rule, self.sentence = rule, sentence


class World:
    """Everything there is. Make it with `world`.

    ``replicas`` operators run at a time; each that ends is followed by a new one. ``network`` is
    what those that start from now on find. ``staleness`` is by how many seconds a view may be
    behind in this run. Of services that are gone it may be behind until the next sweep. With
    ``pools`` there are machines of this provider, and the operator serves node pools, too.
    """

    def __init__(self, seed: int, *, replicas: int = 1, pools: str = "") -> None:
        self.seed, self.rng = seed, random.Random(seed)
        shuffle = random.Random(seed + 1) if self.rng.random() < 0.5 else None
        self.loop = VirtualLoop(shuffle)
        count_tasks(self.loop)
        self.api = ModelApi(self.loop, page=self.rng.choice([2, 500]))
        self.story, self.truth = Story(), Truth()
        self.pools = pools
        kinds: dict[str, type[Cluster]] = {"": Cluster, "simulated": Machines, KARPENTER: Karpenter}
        self.cluster = kinds[pools](self.api, self.rng, self.say)
        self.watcher = Watcher(self, self.truth, self.broken)
        self.storm = Storm(self.broken)
        self.network = Network()
        self.staleness = 3.0
        self.clocks_right = True
        self.was_unwatched = False  # what happened meanwhile no operator can know
        self.wall_offset = 0.0
        self.lease_times = LEASE_TIMES
        self.ignored: frozenset[str] = frozenset()
        self.found: list[tuple[str, str]] = []
        self.requests = 0
        self.replicas = replicas
        self.processes: dict[int, Process] = {}
        self._lives = 0
        self._wakes: asyncio.Future[None] | None = None
        self.api.storage.listeners.insert(0, self._committed)

    # Who watches.

    @property
    def now(self) -> float:
        return self.loop.time()

    @property
    def behind(self) -> float:
        """The oldest moment that a view of now may still show."""
        return self.loop.time() - self.staleness

    @property
    def holder(self) -> str:
        """Who holds the lease, as it is stored."""
        lease = self.api.storage.get("leases", ("immutable-system", LEASE))
        return str((lease or {}).get("spec", {}).get("holderIdentity", ""))

    def holds(self, family: Family) -> bool:
        """Whether what is wanted has to wait: for the end of a freeze, or for a ConfigMap."""
        settings = self.api.storage.get("configmaps", (NAMESPACE, "settings"))
        lacks = family is PODS and settings is None
        return bool(self.api.storage.all("immutablefreezes")) or lacks

    def may_know(self, record: Obj) -> bool:
        """Whether an operator can know that a revision worked: none may have seen or written it."""
        status = record.get("status") or {}
        return not self.was_unwatched or bool({"completed", "firstAvailable"} & status.keys())

    def revision(self, service: Service, revision: str) -> Obj | None:
        key = (service.family.home or NAMESPACE, f"{service.name}-im{revision}")
        return self.api.storage.get(REVISIONS.resource, key)

    def broken(self, rule: str, sentence: str) -> None:
        """A rule is broken: the run ends here, unless it is one that is known and ignored."""
        if rule in self.ignored:
            return
        self.found.append((rule, sentence))
        self.say("WATCHER", f"rule {rule} is broken: {sentence}")
        self._wake()

    def say(self, who: str, what: str) -> None:
        self.story.say(self.loop.passed, who, what)

    def sent(self, process: Process, request: Request) -> None:
        """An operator is about to send a request."""
        _, resource, name, _ = request.route
        if not request.is_write or resource in ("leases", "selfsubjectreviews"):
            return
        self.requests += 1
        self.watcher.sent(process.name, request)
        if (service := self._meant(request, name)) is not None:
            self.storm.wrote(service, self.now)

    def _meant(self, request: Request, name: str) -> Service | None:
        meta = request.body.get("metadata") or {}
        owners = {o["uid"] for o in meta.get("ownerReferences") or ()}
        uid = meta.get("uid")
        for service in reversed(self.truth.services.values()):
            if service.uid in owners or uid == service.uid or name.startswith(service.name):
                return service
            if service.family is NODES and request.route[1] in ("pods", "nodes"):
                return service  # a pod on one of its nodes, or a node of a claim
        return None

    def _committed(self, commit: Commit) -> None:
        voluntary = commit.who.startswith(OPERATOR)
        if commit.resource == "leases":
            return
        if voluntary:
            self.watcher.committed(commit)
        is_instance = commit.resource in ("pods", "nodes", CLAIMS)
        service = self.truth.of_pod(commit.obj) if is_instance else None
        uid = uid_of(commit.obj)
        before = service.pods.get(uid) if service else None
        known = before is not None and not before.terminating
        lived = before is not None and self.now - before.born > 5.0
        ended, tainted = (before.ended, before.tainted) if before else (False, False)
        facts, worked = (before.facts, before.verified) if before else ((), False)
        self.truth.take(commit, voluntary=voluntary)
        if self.pools:
            self.watcher.nodes.hear(commit)
        self.story.committed(commit, self.loop.passed)
        if service is None:
            return
        after = service.pods.get(uid)
        moved = before is None or (known and (after is None or after.terminating))
        if voluntary and moved:
            self.storm.moved(service, commit)
        elif known and not voluntary:
            left = after is None or after.terminating
            harmed = after is not None and (
                (after.ended and not ended)
                or (after.tainted and not tainted)
                or (after.verified and after.facts != facts)
            )
            given_up = left and not worked and commit.who == KARPENTER
            if ((left and not ended) or (harmed and lived)) and not given_up:
                self.storm.explain(service, 1, self.now)
            elif harmed or (given_up and not ended):
                self.storm.ended_young(service, self.now)

    # Processes.

    def start(self) -> None:
        """Let as many operators run as there should be."""
        for index in range(self.replicas):
            if index not in self.processes:
                self._start(index)

    def _start(self, index: int) -> None:
        if index >= self.replicas or index in self.processes:
            return
        self._lives += 1
        self.processes[index] = start_operator(self, f"{OPERATOR}{index}.{self._lives}")
        self.say(self.processes[index].name, "starts")

    def process_ended(self, process: Process) -> None:
        """One is gone: the kubelet starts it again after a while."""
        self.say(process.name, f"is gone: {process.ended}")
        self.was_unwatched = True
        for index, known in list(self.processes.items()):
            if known is process:
                del self.processes[index]
                self.loop.after(self.rng.uniform(0.5, 5.0), self._start, index)

    def end(self) -> None:
        """Leave nothing behind: no process, and no task."""
        self.replicas = 0
        for process in list(self.processes.values()):
            process.kill("the world ends")
        self.loop.run_until_complete(asyncio.sleep(10))
        self.loop.close()

    def rest(self) -> None:
        """One operator is enough from here on, and it holds the lease for long at a time."""
        self.replicas, self.lease_times = 1, QUIET_TIMES
        for index, process in list(self.processes.items()):
            if index:
                process.kill("it is not needed any more")
            process.renew_seldom()

    def free_lease(self) -> None:
        """Let the next process have the lease at once, as after a graceful end."""
        key = ("immutable-system", LEASE)
        if lease := self.api.storage.get("leases", key):
            free = {**lease, "spec": {**lease["spec"], "holderIdentity": ""}}
            self.api.storage.commit("nobody", "leases", lease, free)

    # Time.

    def _wake(self) -> None:
        if self._wakes is not None and not self._wakes.done():
            self._wakes.set_result(None)

    def run(self, seconds: float) -> None:
        """Let time pass. Raises `Broken` at the moment where a rule is."""
        self._wakes = self.loop.create_future()
        self.loop.after(seconds, self._wake)
        self.loop.run_until_complete(self._wakes)
        self._wakes = None
        if self.found:
            self.fail(*self.found[0])
        if self.loop.troubles:
            self.fail("trouble", self.loop.troubles[0])

    def fail(self, rule: str, sentence: str) -> None:
        raise Broken(rule, sentence, self.story.told())


@contextmanager
def world(seed: int, *, replicas: int = 1, pools: str = "") -> Iterator[World]:
    """A world of one seed, and no trace of it afterwards."""
    made = World(seed, replicas=replicas, pools=pools)
    with stand_ins(made.loop, seed):
        try:
            yield made
        finally:
            made.end()
