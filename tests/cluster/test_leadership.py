"""Several replicas: one writes, the others stand by; a deposed leader writes nothing more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from immutable_operator.api.names import ANNOTATION_SEEN, REVISION_PLURAL
from tests.cluster.audit import OperatorRequests, until_quiet
from tests.cluster.history import History
from tests.cluster.operator_process import (
    LONG_LEASE,
    NAMESPACE,
    OperatorProcess,
    Operators,
)
from tests.cluster.services import KIND_PATH, Service, Wish, annotation, is_ready, pin

LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/immutable-operator"
# So long it does not ask for the lease of another.
SELDOM = ("--retry-seconds=150",)
SHORT_LEASE = ("--lease-seconds=10", "--renew-seconds=7", "--retry-seconds=1")
LARGE_VIEW = Path(__file__).with_name("large_view.py")
SLOW_PLANS = Path(__file__).with_name("slow_plans.py")
# So slow that a test which is stopped for some seconds still finds the rollout under way.
TIMES = {"ready-delay": "5s", "terminate-delay": "500ms"}


def standby_of(operators: Operators, *flags: str) -> OperatorProcess:
    return operators.start("standby", *flags).until_synced()


def standby_of_three(web: Service, operators: Operators) -> OperatorProcess:
    """The standby of a leader that has created three pods."""
    operators.restart(*LONG_LEASE).until_leading()
    standby = standby_of(operators, *LONG_LEASE, *SELDOM)
    web.apply(image="a", replicas=3)
    web.until_ready()
    return standby


def holder(operators: Operators) -> str:
    return str(operators.plane.api().get(LEASE)["spec"]["holderIdentity"])


@contextmanager
def rolling_out(web: Service) -> Iterator[tuple[History, OperatorRequests]]:
    """Six pods are replaced, and the first successors are there; what is seen and asked since."""
    web.apply(image="a", replicas=6, sim=TIMES)
    web.until_ready()
    with History(web) as history:
        asked = OperatorRequests.from_now(web.plane, web.namespace)
        web.apply(image="b")
        web.until("b grows", lambda: pin("b") in web.images())
        yield history, asked


def assert_one_each(web: Service, history: History) -> None:
    """Six births, six retirements, whoever led: none twice, none too many, and six always ready.

    Told by the pods: a request that was cut off when its sender died may have been carried out.
    """
    web.until("the old ones are gone", lambda: len(web.pods()) == 6)
    assert web.images() == [pin("b")] * 6
    wanted = web.revision()
    assert len([c for c in history.births() if c.revision == wanted]) == 6, history.story()
    assert len(history.retirements()) == 6, history.story()
    history.assert_budget(most=8, fewest=6)
    assert len({annotation(pod, "replaces") for pod in web.pods()}) == 6
    assert len(web.revisions()) == 2
    assert len(web.events("ReplacementFinished")) == 1


def test_only_leader_of_two_replicas_writes(web: Service, operators: Operators) -> None:
    standby = standby_of(operators)
    with rolling_out(web) as (history, asked):
        web.until_ready()
        assert_one_each(web, history)
    assert asked.writes(operators.main.credential)
    assert asked.writes(standby.credential, lease=True) == []
    assert not standby.leading
    assert holder(operators) == operators.main.identity
    assert standby.get("/readyz") == (200, "ok\n"), "a standby serves"


def test_killed_leader_is_succeeded_when_its_lease_expires(
    web: Service, operators: Operators
) -> None:
    """By the time that its holder wrote into it: that of the standby's own would be minutes."""
    standby = standby_of(operators, *LONG_LEASE)
    lease = operators.plane.api().get(LEASE)["spec"]["leaseDurationSeconds"]
    leases = OperatorRequests.from_now(operators.plane)
    with rolling_out(web) as (history, asked):
        operators.main.kill()
        standby.until_leading()
        renewals = [renewals_of(leases, p) for p in (operators.main, standby)]
        # It must have seen the lease unchanged for its whole time.
        assert renewals[1][0] - renewals[0][-1] >= lease, renewals
        web.until_ready()
        assert_one_each(web, history)
    assert asked.writes(standby.credential)
    assert holder(operators) == standby.identity


def test_killed_leader_of_many_pods_is_succeeded_without_lists(
    web: Service, operators: Operators
) -> None:
    """What the standby lacked is told by bookmarks: a write of others brings none of its events."""
    standby = operators.start("standby", program=LARGE_VIEW).until_synced()
    with rolling_out(web) as (history, _):
        asked = OperatorRequests.from_now(web.plane)
        operators.main.kill()
        standby.until_leading()
        web.until_ready()
        assert_one_each(web, history)
    [told] = standby.records("view is current")
    assert told["listed"] == []
    lists = [r.target for r in asked if (r.credential, r.verb) == (standby.credential, "list")]
    assert lists.count(REVISION_PLURAL) == 1, "the question up to which version they go"


def test_leader_that_plans_for_longer_than_its_lease_keeps_it(
    web: Service, operators: Operators
) -> None:
    path = f"{KIND_PATH}/{web.namespace}/immutableservices"
    for number in range(60):
        wish = Wish(replicas=0).manifest(f"web-{number}", web.namespace)
        web.plane.api().request("POST", path, wish)
    until_quiet(OperatorRequests.from_now(web.plane))
    operators.main.terminate()
    leader = operators.start("slow", *SHORT_LEASE, program=SLOW_PLANS).until_leading()
    web.until("all were planned", lambda: leader.records("planned all"))
    [told] = leader.records("planned all")
    assert told["seconds"] > 10
    web.apply(image="a", replicas=1)
    web.until_ready()
    assert holder(operators) == leader.identity
    assert not leader.records("ended")


def renewals_of(leases: OperatorRequests, process: OperatorProcess) -> list[float]:
    """When a process wrote the lease, by the API server's clock."""
    written = leases.writes(process.credential, lease=True)
    return [r.received for r in written if r.resource == "leases" and r.code < 400]


def test_terminated_leader_is_succeeded_at_once(web: Service, operators: Operators) -> None:
    operators.restart(*LONG_LEASE).until_leading()
    standby = standby_of(operators, *LONG_LEASE, *SELDOM)
    with rolling_out(web) as (history, asked):
        operators.main.terminate()
        assert operators.main.wait() == 0
        # Were the lease not given back, or were this not seen, it would wait for minutes.
        standby.until_leading()
        web.until_ready()
        assert_one_each(web, history)
    assert asked.writes(standby.credential)


def test_next_leader_lists_no_pods_if_its_watches_show_what_the_last_one_wrote(
    web: Service, operators: Operators
) -> None:
    standby = standby_of_three(web, operators)
    until_quiet(OperatorRequests.from_now(web.plane))
    asked = OperatorRequests.from_now(web.plane)
    operators.main.terminate()
    assert operators.main.wait() == 0
    standby.until_leading()
    lost = web.pods()[0]["metadata"]["name"]
    web.plane.kubectl("delete", "pod", lost, namespace=web.namespace)
    web.until("its successor is ready", lambda: sum(map(is_ready, web.pods())) == 3)
    mine = [r for r in asked if r.credential == standby.credential]
    # Pods are listed by it for another question: which of them lost their label.
    assert [r.target for r in mine if (r.verb, r.target) == ("list", REVISION_PLURAL)] == []
    told = operators.plane.api().get(LEASE)["metadata"].get("annotations", {})
    assert ANNOTATION_SEEN not in told, "it was for the next leader only"


def test_next_leader_knows_that_a_force_deleted_pod_is_gone(
    web: Service, operators: Operators
) -> None:
    """It leaves the standby's watch in the same way as a pod that lost its label."""
    standby = standby_of_three(web, operators)
    lost = web.pods()[0]["metadata"]["name"]
    options = ("--force", "--grace-period=0")
    web.plane.kubectl("delete", "pod", lost, *options, namespace=web.namespace)
    web.until("its successor is ready", lambda: sum(map(is_ready, web.pods())) == 3)
    until_quiet(OperatorRequests.from_now(web.plane))
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    # As their Service does it: a webhook that is gone would be told in the status.
    operators.aim_webhook(standby.webhook_port)
    try:
        operators.main.terminate()
        assert operators.main.wait() == 0
        standby.until_leading()
        until_quiet(asked)
    finally:
        operators.aim_webhook()
    assert [r.target for r in asked.writes(standby.credential)] == []


def test_released_lease_says_what_the_next_leader_must_see(operators: Operators) -> None:
    asked = OperatorRequests.from_now(operators.plane)
    operators.main.until_leading()
    until_quiet(asked)
    assert operators.main.stop() == 0
    annotations = operators.plane.api().get(LEASE)["metadata"]["annotations"]
    seen = json.loads(annotations[ANNOTATION_SEEN])
    for name in ("pods immutable.dev/service", REVISION_PLURAL):
        assert seen[name] > 0, seen
    assert "immutableservices" in seen


def test_lease_is_released_during_its_renewal(operators: Operators) -> None:
    """A renewal every 50 ms: of three polite ends some meet one that is under way."""
    operators.main.stop()
    for _ in range(3):
        eager = operators.start("eager", *LONG_LEASE, "--retry-seconds=0.05")
        eager.until_leading()
        assert eager.stop() == 0
        assert holder(operators) == "", eager.tail()


def test_leader_with_expired_lease_writes_nothing_and_exits(
    web: Service, operators: Operators
) -> None:
    """SIGSTOP takes its time away, not its plans: on waking it believes that it leads."""
    standby = standby_of(operators)
    sleeper = operators.main
    with rolling_out(web) as (history, _):
        sleeper.freeze()
        standby.until_leading()
        web.until_ready()
        assert_one_each(web, history)
    with History(web) as history:
        web.apply(image="c")
        web.until("c grows", lambda: pin("c") in web.images())
        awake = OperatorRequests.from_now(web.plane)
        sleeper.thaw()
        assert sleeper.wait() > 0, "it ends by itself, and says that something was wrong"
        accepted = [r for r in awake.writes(sleeper.credential, lease=True) if r.code < 400]
        assert accepted == [], "a deposed leader wrote"
        web.until_ready()
        assert awake.writes(standby.credential)
        web.until("the old ones are gone", lambda: len(web.pods()) == 6)
        assert web.images() == [pin("c")] * 6
        assert len(history.births()) == 6, history.story()
    assert holder(operators) == standby.identity
