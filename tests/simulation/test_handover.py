"""A leader that ends politely: the next one begins at once, and on a view that shows its writes.

And a view of services that is behind that of their dependents, when a service is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from immutable_operator.api.names import REVISION_PLURAL
from tests.simulation.world.api import Request
from tests.simulation.world.people import PODS, SERVICES, People, template
from tests.simulation.world.process import Process
from tests.simulation.world.world import World, world

SEED = 1
LARGE, SMALL = 1, 2  # seeds: in worlds of odd ones the view counts as large


class Handover:
    """Two replicas and a service of three instances; ``asked`` are all requests so far."""

    def __init__(self, run: World) -> None:
        self.run, self.people = run, People(run)
        self.asked: list[tuple[str, Request]] = []
        sent = run.sent

        def heard(process: Process, request: Request) -> None:
            self.asked.append((process.name, request))
            sent(process, request)

        run.sent = heard  # type: ignore[method-assign]

    @property
    def leader(self) -> Process:
        return next(p for p in self.run.processes.values() if p.name == self.run.holder)

    @property
    def standby(self) -> Process:
        return next(p for p in self.run.processes.values() if p.name != self.run.holder)

    def kill_leader(self) -> Process:
        """Return the one that stands by."""
        following = self.standby
        self.asked.clear()
        self.leader.kill("kill -9")
        return following

    def end_leader(self) -> tuple[Process, Process]:
        """Return the one that is told to end, and the one that stands by."""
        ending, following = self.leader, self.standby
        self.asked.clear()
        ending.told_to_end.set()
        return ending, following

    def lists_of_pods(self, process: Process) -> int:
        """How many lists of the watched pods a process has asked for."""
        mine = [request for who, request in self.asked if who == process.name]
        watched = [r for r in mine if r.query.get("labelSelector") == "immutable.dev/service"]
        lists = [r for r in watched if not {"watch", "continue", "fieldSelector"} & r.query.keys()]
        return sum(r.route[1] == "pods" for r in lists)


@contextmanager
def replicas(instances: int = 3, seed: int = SEED) -> Iterator[Handover]:
    with world(seed, replicas=2) as run:
        made = Handover(run)
        made.people.configure("good")
        run.start()
        run.run(2.0)
        made.people.apply(replicas=instances, template=template("A"))
        run.run(30.0)
        yield made


def test_next_leader_of_one_at_rest_lists_nothing_and_repairs_at_once() -> None:
    with replicas() as told:
        _, following = told.end_leader()
        [lost, *_] = told.run.api.storage.all("pods")
        told.people.ask("DELETE", f"{PODS}/{lost['metadata']['name']}", {"gracePeriodSeconds": 0})
        told.run.run(1.0)
        assert told.run.holder == following.name
        assert told.lists_of_pods(following) == 0
        made = [r for who, r in told.asked if who == following.name and r.method == "POST"]
        assert [r.route[1] for r in made if r.route[1] == "pods"] == ["pods"]


def test_next_leader_whose_watch_is_late_lists() -> None:
    with replicas() as told:
        told.standby.network.lag["pods"] = 60.0
        told.people.apply(replicas=4)
        told.run.run(5.0)
        _, following = told.end_leader()
        told.run.run(0.9)
        assert told.run.holder == following.name
        assert told.lists_of_pods(following) == 0, "it waits for its watch at first"
        told.run.run(2.0)
        assert told.lists_of_pods(following) == 1
        told.run.run(30.0)
        assert len(told.run.api.storage.all("pods")) == 4


def test_next_leader_of_one_whose_write_has_no_answer_lists_at_once() -> None:
    with replicas(seed=SMALL) as told:
        told.leader.network.unanswered = 1.0
        told.people.apply(replicas=4)
        told.run.run(0.3)
        ending, following = told.end_leader()
        ending.network.unanswered = 0.0
        told.run.run(1.5)
        assert told.run.holder == following.name
        assert told.lists_of_pods(following) == 1
        told.run.run(30.0)
        assert len(told.run.api.storage.all("pods")) == 4


@pytest.mark.parametrize(("seed", "lists"), [(LARGE, 0), (SMALL, 1)])
def test_killed_leader_is_succeeded_without_a_list_of_a_large_view(seed: int, lists: int) -> None:
    with replicas(seed=seed) as told:
        following = told.kill_leader()
        [lost, *_] = told.run.api.storage.all("pods")
        told.people.ask("DELETE", f"{PODS}/{lost['metadata']['name']}", {"gracePeriodSeconds": 0})
        while told.run.holder != following.name:
            told.run.run(0.1)
        told.run.run(4.0)
        assert told.lists_of_pods(following) == lists
        made = [r for who, r in told.asked if who == following.name and r.method == "POST"]
        assert [r.route[1] for r in made if r.route[1] == "pods"] == ["pods"]


def test_killed_leader_of_a_standby_whose_watch_is_late_leaves_no_instance_too_many() -> None:
    with replicas(seed=LARGE) as told:
        told.standby.network.lag["pods"] = 60.0
        told.people.apply(replicas=4)
        told.run.run(0.5)
        following = told.kill_leader()
        while told.run.holder != following.name:
            told.run.run(0.1)
        told.run.run(30.0)
        born = [r for _, r in told.asked if r.method == "POST" and r.route[1:] == ("pods", "", "")]
        assert born == []
        assert len(told.run.api.storage.all("pods")) == 4
        assert told.lists_of_pods(following) == 1


@pytest.mark.parametrize("grace", [0, 2])
def test_standby_does_not_keep_pods_that_are_gone(grace: int) -> None:
    """A pod that is force-deleted leaves a watch as one does that lost its label."""
    with replicas() as told:
        [lost, *_] = told.run.api.storage.all("pods")
        options = {"gracePeriodSeconds": grace}
        told.people.ask("DELETE", f"{PODS}/{lost['metadata']['name']}", options)
        told.run.run(60.0)
        _, following = told.end_leader()
        told.run.run(10.0)
        assert told.run.holder == following.name
        assert told.lists_of_pods(following) == 0
        moves = [r for who, r in told.asked if who == following.name and r.is_write]
        assert [r.path for r in moves if r.route[1] in ("pods", REVISION_PLURAL)] == []


def test_next_leader_whose_view_of_services_is_late_lists_them() -> None:
    with replicas() as told:
        told.standby.network.lag["immutableservices"] = 60.0
        told.people.apply(template=template("B"))
        told.run.run(0.5)
        _, following = told.end_leader()
        told.run.run(30.0)
        assert told.run.holder == following.name
        pods = told.run.api.storage.all("pods")
        assert {pod["spec"]["containers"][0]["image"][-1] for pod in pods} == {"b"}
        records = told.run.api.storage.all(REVISION_PLURAL)
        assert len(records) == 2
        born = [r for _, r in told.asked if r.method == "POST" and r.route[1:] == ("pods", "", "")]
        assert len(born) <= 3, "none was created twice"


def test_nothing_is_created_for_a_service_whose_dependents_are_seen_to_be_gone() -> None:
    """The garbage collector may be seen before the deletion that it follows."""
    with replicas() as told:
        for process in told.run.processes.values():
            process.network.lag["immutableservices"] = 30.0
        told.people.apply(template=template("B"))
        told.run.run(
            33.0
        )  # it is looked up from time to time while instances are created: just now
        told.asked.clear()
        told.people.ask("DELETE", f"{SERVICES}/web", {"propagationPolicy": "Background"})
        told.run.run(60.0)
        made = [r.route[1] for _, r in told.asked if r.method == "POST"]
        assert [kind for kind in made if kind in ("pods", REVISION_PLURAL)] == []
        assert told.run.api.storage.all("pods") == []
