"""BlueGreen on a real API server: previews, promotions and ways back, with kubectl as users do."""

from __future__ import annotations

import json
from typing import Any

from immutable_operator.api.names import API_VERSION
from tests.cluster.audit import OperatorRequests, until_quiet
from tests.cluster.history import History
from tests.cluster.measures import metrics, sample
from tests.cluster.operator_process import OperatorProcess, Operators
from tests.cluster.plugin import run
from tests.cluster.services import Service, condition, pin, ports
from tests.controlplane.api import Json

HTTP = {"name": "http", "port": 80, "targetPort": 8080}
WAITS = "WaitingForPromotion"
DISRUPTED = "karpenter.sh/disrupted"


def rollout(**way: Any) -> Json:
    return {"strategy": "BlueGreen", "blueGreen": way}


def selected(web: Service, name: str = "web") -> str:
    """The revision that a Service selects; "" for all."""
    path = f"/api/v1/namespaces/{web.namespace}/services/{name}"
    selector = web.plane.api().get(path)["spec"]["selector"]
    return str(selector.get("immutable.dev/revision", ""))


def revision_of(web: Service, image: str) -> str:
    found = [
        r["spec"]["revision"]
        for r in web.revisions()
        if r["spec"]["template"]["spec"]["containers"][0]["image"] == pin(image)
    ]
    return str(found[0]) if found else "none"


def begin(web: Service, **way: Any) -> None:
    web.apply(
        image="a",
        replicas=2,
        rollout=rollout(**way),
        spec={"traffic": {"ports": [HTTP]}},
    )
    web.until_ready()
    web.until("a has the traffic", lambda: selected(web) == revision_of(web, "a"))


def preview(web: Service, **way: Any) -> set[str]:
    """Until the revision of image b waits for its promotion; gives its pods."""
    begin(web, **way)
    web.apply(image="b")
    web.until("it waits", lambda: web.reason() == WAITS)
    assert selected(web) == revision_of(web, "a")
    assert selected(web, "web-preview") == revision_of(web, "b")
    assert len(web.of("a")) == 2, "those that have the traffic stay"
    return web.of("b")


def test_promotion_by_hand_gives_the_traffic_to_the_very_pods_that_were_previewed(
    web: Service, operator: OperatorProcess
) -> None:
    previews = preview(web, keepFor="5s")
    before = metrics(operator)
    assert len(previews) == 2
    told = condition(web.get(), "Reconciling")["message"]
    assert "kubectl immutable promote web" in told
    web.until("it is an event", lambda: web.events(WAITS))
    done = run(web, "promote", "web", "--reason", "it looks good", "--wait", "--timeout=100")
    assert done.code == 0, done
    assert selected(web) == revision_of(web, "b")
    assert web.of("b") == previews
    web.until_ready()
    assert web.of("a") == set(), "they are gone after keepFor"
    assert web.of("b") == previews
    assert [e["message"] for e in web.events("Promoted")] != []
    record = web.revisions()[-1]["status"]
    assert record["phase"] == "Good"
    assert record["promotedAt"]
    after = metrics(operator)
    for outcome in ("Promoted", "Good"):
        about = f'kind="ImmutableService",outcome="{outcome}",strategy="BlueGreen"'
        series = f"immutable_revision_outcomes_total{{{about}}}"
        assert sample(after, series) - sample(before, series) == 1, series


def test_promotion_by_itself_follows_when_all_are_available(web: Service) -> None:
    begin(web, promotion="Auto", keepFor="2s")
    web.apply(image="b")
    web.until("b has the traffic", lambda: selected(web) == revision_of(web, "b"))
    web.until_ready()
    assert web.images() == [pin("b")] * 2


def test_abort_removes_the_preview_and_nothing_else(web: Service) -> None:
    preview(web)
    before = web.of("a")
    done = run(web, "abort", "web", "--reason", "wrong colours", "--wait", "--timeout=100")
    assert done.code == 0, done
    told = web.until_stalled("RolledBack")
    assert "wrong colours" in told["message"]
    web.until("the previews are gone", lambda: len(web.pods()) == 2)
    assert web.of("a") == before
    assert selected(web) == selected(web, "web-preview") == revision_of(web, "a")


def test_newer_spec_replaces_the_preview_only(web: Service) -> None:
    preview(web)
    before = web.of("a")
    web.apply(image="c")
    web.until("c waits", lambda: web.reason() == WAITS and len(web.of("c")) == 2)
    web.until("b is gone", lambda: not web.of("b"))
    assert web.of("a") == before
    assert selected(web, "web-preview") == revision_of(web, "c")


def test_rollback_while_the_previous_ones_are_kept_needs_no_new_pod(web: Service) -> None:
    preview(web, keepFor="10m")
    before = web.of("a")
    assert run(web, "promote", "web", "--wait", "--timeout=100").code == 0
    web.until("they are kept", lambda: web.reason() == "KeepingPrevious")
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    assert run(web, "undo", "web", "--wait", "--timeout=100").code == 0
    web.until("a has the traffic", lambda: selected(web) == revision_of(web, "a"))
    web.until("b is gone", lambda: not web.of("b"))
    assert web.of("a") == before
    writes = asked.writes()
    assert not [r for r in writes if (r.verb, r.target) == ("create", "pods")]
    live = [r for r in writes if r.target == "services" and r.name == "web"]
    assert [r.verb for r in live] == ["patch"], "one write back"


def test_few_previews_are_completed_before_the_switch(web: Service) -> None:
    assert len(preview(web, previewReplicas=1)) == 1
    assert run(web, "promote", "web", "--wait", "--timeout=100").code == 0
    assert len(web.of("b")) == 2
    assert selected(web) == revision_of(web, "b")


def test_second_promotion_follows_while_the_first_pods_are_still_kept(web: Service) -> None:
    preview(web, keepFor="10m")
    assert run(web, "promote", "web", "--wait", "--timeout=100").code == 0
    web.until("a is kept", lambda: web.reason() == "KeepingPrevious")
    served = web.of("b")
    web.apply(image="c")
    web.until("c waits", lambda: web.reason() == WAITS and len(web.of("c")) == 2)
    web.until("a made room", lambda: not web.of("a"))
    assert (selected(web), web.of("b")) == (revision_of(web, "b"), served)
    shown = web.of("c")
    assert run(web, "promote", "web", "--wait", "--timeout=100").code == 0
    assert (selected(web), web.of("c")) == (revision_of(web, "c"), shown)
    assert run(web, "undo", "web", "--wait", "--timeout=100").code == 0
    web.until("b has the traffic again", lambda: selected(web) == revision_of(web, "b"))
    assert web.of("b") == served


def test_promotion_and_drain_of_a_node_do_not_disturb_each_other(web: Service) -> None:
    begin(web, keepFor="1s")
    node = next(str(pod["spec"]["nodeName"]) for pod in web.active())
    with History(web) as history:
        web.plane.kubectl("taint", "node", node, f"{DISRUPTED}:NoSchedule")
        try:
            web.apply(image="b")
            web.until("b waits elsewhere", lambda: web.reason() == WAITS)
            assert run(web, "promote", "web", "--wait", "--timeout=100").code == 0
            web.until_ready()
        finally:
            web.plane.kubectl("taint", "node", node, f"{DISRUPTED}:NoSchedule-")
        history.assert_budget(most=5, fewest=2)
    assert node not in {pod["spec"]["nodeName"] for pod in web.active()}
    assert (web.images(), selected(web)) == ([pin("b")] * 2, revision_of(web, "b"))


def test_services_that_are_deleted_while_a_preview_waits_come_back_as_they_were(
    web: Service,
) -> None:
    before = preview(web)
    web.kubectl("delete", "service", "web", "web-preview", "--wait=false")
    web.until("they are back", lambda: {"web", "web-preview"} <= set(ports(web)))
    web.until("a has the traffic", lambda: selected(web) == revision_of(web, "a"))
    web.until("b is shown", lambda: selected(web, "web-preview") == revision_of(web, "b"))
    assert web.of("b") == before
    assert run(web, "promote", "web", "--wait", "--timeout=100").code == 0
    assert selected(web) == revision_of(web, "b")


def test_freeze_holds_a_promotion(web: Service) -> None:
    preview(web)
    freeze = {
        "apiVersion": API_VERSION,
        "kind": "ImmutableFreeze",
        "metadata": {"name": web.namespace},
        "spec": {"reason": "sale", "namespaces": [web.namespace], "until": "2099-01-01T00:00:00Z"},
    }
    web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(freeze))
    try:
        web.until("it is told", lambda: "sale" in condition(web.get(), "Ready")["message"])
        run(web, "promote", "web")
        web.always("a keeps the traffic", lambda: selected(web) == revision_of(web, "a"), 2)
    finally:
        web.plane.kubectl("delete", "immutablefreeze", web.namespace)
    web.until("b has the traffic", lambda: selected(web) == revision_of(web, "b"))


def test_new_leader_continues_a_promotion(operators: Operators, web: Service) -> None:
    preview(web, keepFor="5s")
    operators.main.kill()
    assert run(web, "promote", "web").code == 0
    operators.free_lease()
    operators.restart()
    web.until("b has the traffic", lambda: selected(web) == revision_of(web, "b"))
    web.until_ready()
    assert web.images() == [pin("b")] * 2


def test_waiting_costs_no_write(web: Service) -> None:
    preview(web)
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    until_quiet(asked)
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    web.always("it waits", lambda: web.reason() == WAITS, 5)
    assert [r for r in asked.writes() if r.resource != "immutablelineages"] == []
