"""`kubectl immutable get, status, events, freeze, check`: what is judged, and how it reads."""

from __future__ import annotations

from typing import Any, cast

import pytest

from immutable_operator.admission.fault import Found
from immutable_operator.admission.policies import Allowed, bindings, policies
from immutable_operator.cli.check import allowed_by, definitions, guards, leader, operator
from immutable_operator.cli.events import concerning, rows
from immutable_operator.cli.freeze import freeze_body
from immutable_operator.cli.get import head, instances, services
from immutable_operator.cli.main import main
from immutable_operator.cli.owner import Owner
from immutable_operator.cli.release import release_lines
from immutable_operator.cli.status import judged
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.times import moment
from immutable_operator.wire.owner import SERVICE

AT = "2027-01-15T07:00:00Z"
NOW = moment(AT) + 3600
OLD, NEW = "aaaaaaaa", "bbbbbbbb"
USER = "system:serviceaccount:immutable-system:immutable-operator"


def condition(kind: str, status: str, reason: str = "Current", message: str = "all run") -> Any:
    told = {"type": kind, "status": status, "reason": reason, "message": message}
    return {**told, "lastTransitionTime": AT}


def service(*conditions: Any, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "shop", "uid": "s1", "generation": 2},
        "spec": {},
        "status": {"observedGeneration": 2, "conditions": list(conditions), **status},
    }


def owner(body: dict[str, Any]) -> Owner:
    return Owner(cast(KubeClient, None), SERVICE, "shop", "web", body)


def pod(slot: int, name: str, revision: str, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": AT,
            "labels": {"immutable.dev/revision": revision},
            "annotations": {
                "immutable.dev/slot": str(slot),
                "immutable.dev/because": "Outdated: older",
                "immutable.dev/replaces": "before",
            },
        },
        "status": {"phase": "Running", **status},
    }


WAITING = "WaitingForPromotion"
READY = [{"type": "Ready", "status": "True"}]
RECORDS: list[dict[str, Any]] = [
    {
        "metadata": {"creationTimestamp": AT},
        "spec": {"number": number, "revision": id_, "reason": "TemplateChanged", "by": "argocd"},
        "status": {"phase": "Good", "takesOverFrom": OLD if number == 2 else ""},
    }
    for number, id_ in enumerate((OLD, NEW), 1)
]


@pytest.mark.parametrize(
    ("conditions", "changes", "code", "says"),
    [
        ([condition("Ready", "True")], {}, 0, "Ready, Current: all run"),
        ([condition("Stalled", "True", "RolledBack")], {}, 1, "Stalled, RolledBack"),
        ([condition("Reconciling", "True", "Replacing")], {}, None, "Reconciling, Replacing"),
        ([condition("Ready", "False", "Suspended")], {}, None, "not Ready, Suspended"),
        ([condition("Reconciling", "True", WAITING)], {}, 4, "Reconciling, WaitingForPromotion"),
        ([condition("Ready", "True")], {"observedGeneration": 1}, None, "not processed the latest"),
        ([], {"observedGeneration": -1}, None, "not processed the latest"),
    ],
)
def test_status_is_final_only_for_the_present_spec(
    conditions: list[Any], changes: dict[str, Any], code: int | None, says: str
) -> None:
    found, line = judged(service(*conditions, **changes), "web")
    assert found == code
    assert says in line


def test_status_waits_for_a_promotion_that_needs_no_user() -> None:
    body = service(condition("Reconciling", "True", WAITING))
    body["spec"] = {"rollout": {"blueGreen": {"promotion": "Auto"}}}
    assert judged(body, "web")[0] is None


def test_list_of_services_has_a_row_for_each() -> None:
    ready = service(condition("Ready", "True"), readyReplicas=2, desiredReplicas=3)
    fresh = {"metadata": {"name": "new", "namespace": "shop"}, "spec": {}}
    head_, first, second = services([ready, fresh], NOW, wide=True)
    one, two = (dict(zip(head_, row, strict=True)) for row in (first, second))
    assert (one["NAMESPACE"], one["NAME"], one["STATUS"]) == ("shop", "web", "Ready")
    assert (one["READY"], one["SINCE"], one["MESSAGE"]) == ("2/3", "60m", "all run")
    assert (two["STATUS"], two["READY"], two["MESSAGE"]) == ("Unknown", "0/0", "-")


def test_head_has_revision_author_and_blocker() -> None:
    blocker = {"reason": "Quota", "message": "quota is used up", "since": AT}
    body = service(
        *(condition("Reconciling", "True", "Replacing", "1 of 3"),),
        currentRevision=NEW,
        desiredReplicas=3,
        currentReplicas=1,
        blockers=[blocker],
    )
    assert head(owner(body), RECORDS, NOW) == [
        "service web: Replacing since 60m: 1 of 3",
        f"revision 2 ({NEW}), takes over from revision 1: TemplateChanged, by argocd, 60m ago",
        "3 desired, 1 current, 0 ready, 0 available, 0 stale",
        "waits since 60m: Quota: quota is used up",
    ]


def test_head_has_the_steps_and_the_checks_of_a_release() -> None:
    steps = [{"setWeight": 20}, {"pause": {"until": "Promoted"}}, {"check": "errors"}]
    steps += [{"setReplicas": "50%"}, {"pause": {"for": "10m"}}]
    body = service(condition("Ready", "True"), rollout={"step": 3, "steps": 5})
    body["spec"] = {"rollout": {"canary": {"steps": steps}}}
    check = {"name": "errors", "phase": "Running", "passed": 2, "results": [{"message": "0.1 < 1"}]}
    verdict = {"phase": "Progressing", "checks": [check, {"name": "up", "phase": "Failed"}]}
    assert list(release_lines(body, verdict)) == [
        "step 3 of 5: setWeight 20, pause until promoted, [check errors], setReplicas 50%,"
        " pause for 10m",
        "check errors: Running, 2 passed; 0.1 < 1",
        "check up: Failed",
    ]
    assert list(release_lines({"status": {}}, {"phase": "Good", "checks": [check]})) == []


def test_pods_are_listed_by_slot_with_state_and_predecessor() -> None:
    told = [{"instance": "c", "reason": "Tainted", "message": "exec"}]
    body = service(currentRevision=NEW, deviations=told)
    waiting = [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
    pods = [
        pod(1, "b", NEW, containerStatuses=waiting),
        pod(0, "a", OLD, conditions=READY),
        pod(2, "c", NEW, conditions=READY),
        pod(3, "d", NEW),
    ]
    pods[3]["metadata"]["deletionTimestamp"] = AT
    head_, *found = instances(owner(body), RECORDS, pods, NOW)
    cells = [dict(zip(head_, row, strict=True)) for row in found]
    assert [(c["POD"], c["STATE"]) for c in cells] == [
        ("a", "Ready, Outdated"),
        ("b", "CrashLoopBackOff"),
        ("c", "Ready, Tainted"),
        ("d", "Terminating"),
    ]
    assert cells[0]["REV"] == f"1 ({OLD})"
    assert (cells[0]["BECAUSE"], cells[0]["REPLACES"]) == ("Outdated: older", "before")


def event(kind: str, name: str, at: str = AT, **more: Any) -> dict[str, Any]:
    concerned = {"kind": kind, "name": name}
    meta = {"uid": f"{name}-{at}", "resourceVersion": "1", "creationTimestamp": at}
    return {"metadata": meta, "involvedObject": concerned, "lastTimestamp": at, **more}


INSTANCE = f"web-im{OLD}-00000"
EVENTS = [
    event("Pod", INSTANCE, "2027-01-15T07:59:00Z", reason="Started", count=3),
    event("ImmutableService", "web", reason="RevisionCreated", message="revision\n1"),
    event("ImmutableService", "other"),
    event("Pod", f"other-im{OLD}-00000"),
    event("Pod", "stranger"),
    event("Deployment", "web"),
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web", ["web", INSTANCE]),
        (INSTANCE, [INSTANCE]),
        ("", ["web", "other", f"other-im{OLD}-00000", INSTANCE]),
        ("nothing", []),
    ],
)
def test_events_are_those_of_a_service_and_its_pods(name: str, expected: list[str]) -> None:
    assert [e["involvedObject"]["name"] for e in concerning(EVENTS, name)] == expected


def test_event_is_one_line() -> None:
    one, two = rows(concerning(EVENTS, "web"), NOW)
    assert one == ("60m", "-", "RevisionCreated", "immutableservice/web", "1", "revision 1")
    assert two[:5] == ("60s", "-", "Started", f"pod/{INSTANCE}", "3")


def test_time_of_an_event_of_a_newer_client_is_that_of_its_series() -> None:
    found = event("ImmutableService", "web", series={"count": 7, "lastObservedTime": AT})
    found["lastTimestamp"] = None
    [row] = rows([found], NOW)
    assert (row[0], row[4]) == ("60m", "7")


def test_freeze_of_a_namespace_selects_no_others() -> None:
    body = freeze_body("f", "shop", {"app": "web"}, until=NOW, reason="closing", repairs=True)
    assert body["metadata"] == {"name": "f"}
    assert body["spec"] == {
        "namespaces": ["shop"],
        "matchLabels": {"app": "web"},
        "freezeRepairs": True,
        "until": "2027-01-15T08:00:00Z",
        "reason": "closing",
    }
    everywhere = freeze_body("f", "", None, until=NOW, reason="closing")["spec"]
    assert everywhere == {"until": "2027-01-15T08:00:00Z", "reason": "closing"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--reason=x"], "one of the arguments --for --until is required"),
        (
            ["--for=4h"],
            "the following arguments are required: --reason; see: kubectl immutable freeze --help",
        ),
        (["--for=soon", "--reason=x"], "invalid duration value: 'soon'"),
        (["--until=tomorrow", "--reason=x"], "invalid RFC 3339 time value: 'tomorrow'"),
        (["--for=4h", "--reason=x", "-l", "app"], "invalid list of labels value: 'app'"),
    ],
)
def test_freeze_without_an_end_or_a_reason_is_refused(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["freeze", *arguments])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def deployed(ready: int, version: str = "0.1.0") -> dict[str, Any]:
    labels = {"app.kubernetes.io/version": version}
    spec = {"containers": [{"image": "registry.example/operator@sha256:1"}]}
    return {
        "metadata": {"namespace": "immutable-system", "name": "op", "labels": labels},
        "spec": {"replicas": 2, "template": {"spec": spec}},
        "status": {"readyReplicas": ready},
    }


def test_check_of_the_operator_counts_ready_replicas_and_compares_versions() -> None:
    assert operator(None).ok is False
    assert operator(deployed(0)).ok is False
    good = operator(deployed(1))
    assert good.ok
    assert good.text.startswith("immutable-system/op: 1 of 2 replicas are ready, version 0.1.0, ")
    assert "install the version of the operator" in operator(deployed(2, "0.0.9")).text


@pytest.mark.parametrize(
    ("holder", "past", "ok"), [("op-1", 3, True), ("op-1", 16, False), ("", 3, False)]
)
def test_check_of_the_leader_looks_at_its_lease(holder: str, past: int, ok: bool) -> None:
    spec = {"holderIdentity": holder, "renewTime": AT, "leaseDurationSeconds": 15}
    assert leader({"spec": spec}, moment(AT) + past).ok is ok


def test_check_without_a_lease_fails() -> None:
    assert leader({}, NOW).ok is False


def test_check_of_definitions_names_what_is_missing() -> None:
    kinds = ["immutableservices", "immutablerevisions", "immutableactions", "immutablefreezes"]
    kinds.append("immutablechecks")
    old = definitions(kinds)
    assert not old.ok
    assert "does not know immutablelineages; install or upgrade" in old.text
    assert definitions([*kinds, "immutablelineages"]).ok


def test_check_of_policies_compares_them_with_the_chart() -> None:
    bound = bindings("immutable-system", "Deny", ["sandbox"])
    good = guards(Found(policies(USER), bound, {}), USER)
    assert good.ok
    assert good.text.endswith(
        "deny changes in place; not in the namespaces immutable-system, sandbox"
    )
    warned = bindings("immutable-system", "Warn")
    assert "does not deny" in guards(Found(policies(USER), warned, {}), USER).text
    missing = guards(Found({}, {}, {}), USER)
    assert not missing.ok
    assert "does not exist; upgrade the chart" in missing.text


def test_check_of_policies_expects_the_mode_that_is_given() -> None:
    warned = Found(policies(USER), bindings("immutable-system", "Warn"), {})
    assert not guards(warned, USER).ok
    assert guards(warned, USER, "Warn").ok
    assert "they do not deny" in guards(warned, USER, "Warn").text
    assert not guards(Found({}, {}, {}), USER, "Audit").ok
    assert guards(Found({}, {}, {}), USER, "Off").ok


def test_check_of_policies_expects_what_the_deployment_says_is_allowed() -> None:
    allowed = Allowed(("portforward",), ("mesh.example/", "other.example/"))
    arguments = [
        "run",
        "--allowed-verb=portforward",
        "--allow-unpinned=mesh.example/",
        "--allow-unpinned=other.example/",
    ]
    pod = {"spec": {"containers": [{"args": arguments}]}}
    assert allowed_by({"spec": {"template": pod}}) == allowed
    found = Found(policies(USER, allowed), bindings("immutable-system"), {})
    assert guards(found, USER, "Deny", allowed).ok
    assert "differs from the one in the chart" in guards(found, USER).text
    assert allowed_by(None) == Allowed()


def test_version_of_the_plug_in_needs_no_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["version", "--client"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == "plug-in:    0.1.0\n"
