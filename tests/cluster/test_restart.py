"""Crash safety: nothing that matters is only in the operator's memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.cluster.audit import OperatorRequests, until_quiet
from tests.cluster.history import History
from tests.cluster.operator_process import LONG_LEASE, NAMESPACE, Operators
from tests.cluster.services import Service, annotation, pin

LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/immutable-operator"
READS = {"envFrom": [{"configMapRef": {"name": "missing"}}]}


def test_operator_killed_during_rollout_creates_no_extra_pod(
    web: Service, operators: Operators
) -> None:
    web.apply(image="a", replicas=6, sim={"terminate-delay": "500ms"})
    web.until_ready()
    before = {pod["metadata"]["name"] for pod in web.pods()}
    with History(web) as history:
        # Until it may get ready, a pod of b keeps the rollout from going on.
        web.apply(image="b", sim={"terminate-delay": "500ms", "fault": "never-ready"})
        web.until("b grows", lambda: len(held(web)) == 2)
        let_start(web)
        web.until("b grows further", lambda: held(web))
        operators.main.kill()
        assert web.images().count(pin("b")) < 6, "the rollout was not under way"
        operators.free_lease()
        operators.restart()
        web.until("all of b started", lambda: let_start(web) == 6)
        web.until_ready()
        web.until("the old ones are gone", lambda: len(web.pods()) == 6)
        history.assert_budget(most=8, fewest=6)
        # Told by the pods: a request that the kill cut off may have been carried out.
        assert len(history.births()) == 6, history.story()
        assert len(history.retirements()) == 6, history.story()
    assert {annotation(pod, "replaces") for pod in web.pods()} == before
    assert len(web.revisions()) == 2


def test_operator_killed_repeatedly_finishes_rollout(web: Service, operators: Operators) -> None:
    """Wherever it was killed: the same end, the same number of creates and evictions."""
    web.apply(image="a", replicas=4, sim={"ready-delay": "300ms"})
    web.until_ready()
    with History(web) as history:
        web.apply(image="b")
        for done in (1, 3):
            wait_for_count(web, done)
            operators.main.kill()
            operators.free_lease()
            operators.restart()
        web.until_ready()
        assert len(history.births()) == 4, history.story()
        assert len(history.retirements()) == 4, history.story()
    assert len(web.events("RevisionCreated")) == 2
    assert len(web.events("ReplacementFinished")) == 1


def held(web: Service) -> list[str]:
    """Names of the active pods that are kept from getting ready."""
    return [
        pod["metadata"]["name"]
        for pod in web.active()
        if pod["metadata"]["annotations"].get("sim/fault") == "never-ready"
    ]


def let_start(web: Service) -> int:
    """Let the pods that are held get ready; how many pods of b there are that are not held."""
    kept = held(web)
    for name in kept:
        web.mark_pod(name, fault=None)
    return web.images().count(pin("b")) - len(kept)


def wait_for_count(web: Service, count: int) -> None:
    web.until(f"{count} of b", lambda: web.images().count(pin("b")) >= count)


def test_terminated_operator_releases_lease_and_exits_with_0(operators: Operators) -> None:
    plane = operators.plane
    operators.restart(*LONG_LEASE).until_leading()
    assert plane.api().get(LEASE)["spec"]["holderIdentity"] == operators.main.identity
    operators.main.terminate()
    assert operators.main.wait() == 0
    assert plane.api().get(LEASE)["spec"]["holderIdentity"] == ""
    # Had it not been given back, the next one would wait for minutes.
    operators.restart().until_leading()


class Waiting:
    """Services of one namespace, each of which waits for something else than time."""

    def __init__(self, web: Service) -> None:
        self._web = web
        self.all: list[Service] = []

    def begin(self, name: str, **wish: Any) -> Service:
        made = Service(self._web.plane, self._web.namespace, name)
        made.apply(image="a", replicas=2, **wish)
        self.all.append(made)
        return made

    def change(self, name: str, reason: str, change: Mapping[str, Any], **wish: Any) -> None:
        """Run image a, and change it: then the service says this reason."""
        made = self.begin(name, **wish)
        made.until_ready()
        made.apply(image="b", **change)
        made.until(f"it says {reason}", lambda: made.reason() == reason)


def test_operator_restart_changes_nothing_of_services_that_wait(
    web: Service, operators: Operators
) -> None:
    waiting = Waiting(web)
    waiting.begin("unconfigured", container=READS).until_stalled("ConfigMissing")
    taken = {"traffic": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}
    web.kubectl("create", "service", "clusterip", "taken", "--tcp=80")
    waiting.begin("taken", spec=taken).until_stalled("NameTaken")
    waiting.change("failed", "RolledBack", {"sim": {"fault": "crash-loop"}})
    waiting.change("suspended", "Suspended", {"spec": {"suspend": True}})
    by_hand = {"steps": [{"setWeight": 50}, {"pause": {"until": "Promoted"}}]}
    canary = {"strategy": "Canary", "canary": by_hand, "maxSurge": 1}
    waiting.change("canary", "WaitingForPromotion", {}, rollout=canary)
    preview = {"strategy": "BlueGreen", "blueGreen": {}}
    waiting.change("preview", "WaitingForPromotion", {}, rollout=preview, spec=taken)
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    until_quiet(asked)
    before = {s.name: s.get() for s in waiting.all}
    operators.main.stop()
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    leader = operators.restart().until_leading()
    web.until("all were planned", lambda: leader.records("planned all"))
    until_quiet(asked)
    assert asked.tally() == {}
    assert {s.name: s.get() for s in waiting.all} == before


def test_operator_restart_writes_only_the_lease(web: Service, operators: Operators) -> None:
    """As an upgrade of the operator does: services that are as wanted are left alone."""
    web.apply(image="a", replicas=3)
    web.until_ready()
    stalled = Service(web.plane, web.namespace, "stalled")
    stalled.apply(image="a", replicas=1, sim={"fault": "image-pull"})
    stalled.until_stalled("ImagePull")
    waiting = Service(web.plane, web.namespace, "waiting")
    waiting.apply(image="a", replicas=1, pod={"nodeSelector": {"disk": "nowhere"}})
    waiting.until("it is blocked", lambda: waiting.blocker("Unschedulable"))
    for each in (web, stalled, waiting):
        each.until_recorded()
    until_quiet(OperatorRequests.from_now(web.plane, web.namespace))
    before = {s.name: s.get() for s in (web, stalled, waiting)}
    operators.main.stop()
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    operators.restart().until_leading()
    # It looked at all of them when it has seen to a fourth one that came after.
    last = Service(web.plane, web.namespace, "last")
    last.apply(image="a", replicas=1)
    last.until_ready()
    recorded = ("create", "immutablelineages")  # of the fourth one, if it takes that long
    own = [r for r in asked.writes() if r.name != "last" and (r.verb, r.target) != recorded]
    assert sorted((r.verb, r.target) for r in own) == [
        ("create", "events"),
        ("create", "immutablerevisions"),
        ("create", "pods"),
        *[("patch", "immutablerevisions/status")] * 2,
    ], "what the new service needs, and nothing for the others"
    assert {s.name: s.get() for s in (web, stalled, waiting)} == before
