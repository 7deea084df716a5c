"""A GitOps controller applies a broken release every second: no fight, health red, service up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.cluster import kstatus
from tests.cluster.audit import OperatorRequests
from tests.cluster.history import History
from tests.cluster.reconciler import ARGO_CD, FLUX, Reconciler
from tests.cluster.services import Service, Wish, condition, conditions, names, pin

GOOD = Wish(image="a", replicas=3)
BROKEN = replace(GOOD, image="b", sim={"fault": "crash-loop"})
MISSING = replace(GOOD, image="b", sim={"fault": "image-not-found"})


def pod_writes(asked: OperatorRequests) -> dict[str, int]:
    """What the operator asked of pods, by verb and target."""
    return {what: count for what, count in asked.tally().items() if " pods" in what}


@pytest.mark.parametrize(
    ("manager", "release"),
    [(FLUX, BROKEN), (ARGO_CD, BROKEN), (FLUX, MISSING)],
    ids=["Flux", "Argo CD", "Flux, an image that does not exist"],
)
def test_broken_release_that_is_applied_again_and_again_is_rolled_back_once(
    web: Service, manager: str, release: Wish
) -> None:
    with Reconciler(web, manager) as reconciler:
        reconciler.commit(GOOD)
        web.until_ready()
        good = names(web)
        asked = OperatorRequests.from_now(web.plane, web.namespace)
        with History(web) as history:
            reconciler.commit(release)
            told = web.until_stalled("RolledBack")
            web.until("what failed is gone", lambda: names(web) == good)
            reconciler.until_applied(10)
            # What failed was never ready: it is deleted, as no budget can protect it.
            once = {"create pods": 1, "delete pods": 1}
            assert pod_writes(asked) == once
            history.assert_budget(most=4, fewest=3)
            # Health is red, and the service is up.
            body = web.get()
            assert kstatus.compute(body) == "Failed"
            assert conditions(body) == {"Ready": "False", "Reconciling": "False", "Stalled": "True"}
            assert condition(body, "Available")["status"] == "True"
            assert "revision 2" in told["message"]
            assert [r["status"]["phase"] for r in web.revisions()] == ["Good", "Failed"]
            assert [r["spec"]["by"] for r in web.revisions()] == [manager] * 2
            assert len(web.events("RevisionFailed")) == 1
            # The spec is theirs: the operator has written nothing to it.
            assert body["spec"]["template"]["spec"]["containers"][0]["image"] == pin("b")
            owners = {m["manager"] for m in body["metadata"]["managedFields"]}
            assert owners == {manager, "immutable-operator"}
            # The revert is applied: it ends without a move.
            reconciler.commit(GOOD)
            web.until_ready()
            reconciler.until_applied(3)
            assert pod_writes(asked) == once
        assert (len(history.births()), len(history.retirements())) == (1, 1), history.story()
        assert names(web) == good
        assert kstatus.compute(web.get()) == "Current"
        assert condition(web.get(), "Available")["status"] == "True"


def test_fix_that_is_committed_after_a_rollback_is_an_ordinary_rollout(web: Service) -> None:
    with Reconciler(web, FLUX) as reconciler:
        reconciler.commit(GOOD)
        web.until_ready()
        reconciler.commit(BROKEN)
        web.until_stalled("RolledBack")
        web.until("what failed is gone", lambda: web.images() == [pin("a")] * 3)
        with History(web) as history:
            reconciler.commit(replace(GOOD, image="c"))
            web.until_ready()
        assert (len(history.births()), len(history.retirements())) == (3, 3), history.story()
        assert [r["status"]["phase"] for r in web.revisions()] == ["Good", "Failed", "Good"]
