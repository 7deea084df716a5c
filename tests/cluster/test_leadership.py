"""Several replicas: one writes, the others stand by; a deposed leader writes nothing more."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.cluster.audit import OperatorRequests
from tests.cluster.history import History
from tests.cluster.operator_process import (
    LEASE_SECONDS,
    NAMESPACE,
    SHORT_LEASE,
    OperatorProcess,
    Operators,
)
from tests.cluster.services import Service, annotation, pin

LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/immutable-operator"
TIMES = {"ready-delay": "1s", "terminate-delay": "500ms"}


@pytest.fixture(scope="module", autouse=True)
def short_lease(running_operators: Operators) -> Iterator[None]:
    """Every replica of these tests has a lease that a test can wait for."""
    with running_operators.usually(*SHORT_LEASE):
        yield


def standby_of(operators: Operators) -> OperatorProcess:
    return operators.start("standby", *SHORT_LEASE).until_synced()


def holder(operators: Operators) -> str:
    return str(operators.plane.api().get(LEASE)["spec"]["holderIdentity"])


def rollout_until_b_grows(web: Service) -> OperatorRequests:
    web.apply(image="a", replicas=6, sim=TIMES)
    web.until_ready()
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    web.apply(image="b")
    web.until("b grows", lambda: pin("b") in web.images())
    return asked


def assert_one_each(web: Service, history: History) -> None:
    """Six births, six retirements, whoever led: none twice and none too many.

    Told by the pods: a request that was cut off when its sender died may have been carried out.
    """
    web.until("the old ones are gone", lambda: len(web.pods()) == 6)
    assert web.images() == [pin("b")] * 6
    wanted = web.revision()
    assert len([c for c in history.births() if c.revision == wanted]) == 6, history.story()
    assert len(history.retirements()) == 6, history.story()
    assert len({annotation(pod, "replaces") for pod in web.pods()}) == 6
    assert len(web.revisions()) == 2
    assert len(web.events("ReplacementFinished")) == 1


def test_only_leader_of_two_replicas_writes(web: Service, operators: Operators) -> None:
    standby = standby_of(operators)
    with History(web) as history:
        asked = rollout_until_b_grows(web)
        web.until_ready()
        assert_one_each(web, history)
    assert asked.writes(operators.main.credential)
    assert asked.writes(standby.credential, lease=True) == []
    assert not standby.leading
    assert holder(operators) == operators.main.identity
    assert standby.get("/readyz") == (200, "ok\n"), "a standby serves"


def test_killed_leader_is_succeeded_within_lease_time(web: Service, operators: Operators) -> None:
    standby = standby_of(operators)
    with History(web) as history:
        asked = rollout_until_b_grows(web)
        killed = time.monotonic()
        operators.main.kill()
        standby.until_leading()
        # It must see the lease unchanged for its whole time, and asks about once a second.
        assert LEASE_SECONDS - 2 <= time.monotonic() - killed <= LEASE_SECONDS + 4
        web.until_ready()
        assert_one_each(web, history)
        history.assert_budget(most=8, fewest=0)
    assert asked.writes(standby.credential)
    assert holder(operators) == standby.identity


def test_terminated_leader_is_succeeded_at_once(web: Service, operators: Operators) -> None:
    standby = standby_of(operators)
    with History(web) as history:
        asked = rollout_until_b_grows(web)
        ended = time.monotonic()
        operators.main.terminate()
        assert operators.main.wait(10) == 0
        standby.until_leading()
        passed = time.monotonic() - ended
        assert passed < LEASE_SECONDS - 1, "it waited although the lease was free"
        web.until_ready()
        assert_one_each(web, history)
    assert asked.writes(standby.credential)


def test_lease_is_released_during_its_renewal(operators: Operators) -> None:
    """A renewal every 50 ms: of three polite ends some meet one that is under way."""
    operators.main.stop()
    for _ in range(3):
        eager = operators.start(
            "eager", "--lease-seconds=6", "--renew-seconds=4", "--retry-seconds=0.05"
        )
        eager.until_leading()
        assert eager.stop() == 0
        assert holder(operators) == "", eager.tail()


def test_leader_with_expired_lease_writes_nothing_and_exits(
    web: Service, operators: Operators
) -> None:
    """SIGSTOP takes its time away, not its plans: on waking it believes that it leads."""
    standby = standby_of(operators)
    sleeper = operators.main
    with History(web) as history:
        rollout_until_b_grows(web)
        sleeper.freeze()
        standby.until_leading(LEASE_SECONDS * 3)
        web.until_ready()
        assert_one_each(web, history)
    with History(web) as history:
        web.apply(image="c")
        web.until("c grows", lambda: pin("c") in web.images())
        awake = OperatorRequests.from_now(web.plane)
        sleeper.thaw()
        assert sleeper.wait(20) > 0, "it ends by itself, and says that something was wrong"
        accepted = [r for r in awake.writes(sleeper.credential, lease=True) if r.code < 400]
        assert accepted == [], "a deposed leader wrote"
        web.until_ready()
        assert awake.writes(standby.credential)
        web.until("the old ones are gone", lambda: len(web.pods()) == 6)
        assert web.images() == [pin("c")] * 6
        assert len(history.births()) == 6, history.story()
    assert holder(operators) == standby.identity
