"""What admission made of a pod: which fields differ, and what follows for its revision."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.config.admission import MOST, differences
from immutable_operator.domain.model import (
    Accepted,
    Admission,
    Cause,
    Change,
    ChangeKind,
    Create,
    Evidence,
    Instance,
    Move,
    OnAdmission,
    OnTaint,
    Reason,
    Retire,
    Revision,
    SetVerdict,
    View,
)
from immutable_operator.domain.model.admission import changes_in_words
from immutable_operator.domain.planner import plan
from tests.unit.given import NOW, begun, moves, proven, refusal, seen, view

Pod = dict[str, Any]
ASKED: Pod = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {
        "containers": [
            {
                "name": "web",
                "image": "registry.example/web@sha256:" + "a" * 64,
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "args": ["serve"],
                "resources": {"requests": {"cpu": "100m"}},
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    },
}


def born(change: Callable[[Pod, Pod], object], asked: Pod = ASKED) -> Pod:
    """The form of a pod that was created from ``asked`` and changed: the pod and its container."""
    pod = copy.deepcopy(asked)
    change(pod, pod["spec"]["containers"][0])
    return pod


def said(change: Callable[[Pod, Pod], object], asked: Pod = ASKED) -> list[str]:
    return [str(change) for change in differences(asked, born(change, asked))]


CHANGES: dict[str, tuple[Callable[[Pod, Pod], object], list[str]]] = {
    "variable": (
        lambda pod, web: web["env"].append({"name": "HTTP_PROXY", "value": "x"}),
        ["spec.containers[web].env[HTTP_PROXY] added"],
    ),
    "value of a variable": (
        lambda pod, web: web["env"][1].update(value="3"),
        ["spec.containers[web].env[B].value changed"],
    ),
    "variable removed": (
        lambda pod, web: web["env"].pop(),
        ["spec.containers[web].env[B] removed"],
    ),
    "order of variables": (
        lambda pod, web: web["env"].reverse(),
        ["spec.containers[web].env changed"],
    ),
    "variable in front": (
        lambda pod, web: web["env"].insert(0, {"name": "FIRST"}),
        ["spec.containers[web].env[FIRST] added"],
    ),
    "sidecar": (
        lambda pod, web: pod["spec"]["containers"].append({"name": "proxy", "image": "p"}),
        ["spec.containers[proxy] added"],
    ),
    "init container": (
        lambda pod, web: pod["spec"].update(initContainers=[{"name": "setup", "image": "p"}]),
        ["spec.initContainers[setup] added"],
    ),
    "resource": (
        lambda pod, web: web["resources"]["requests"].update(cpu="200m"),
        ["spec.containers[web].resources.requests[cpu] changed"],
    ),
    "resource without a LimitRange": (
        lambda pod, web: web["resources"].update(limits={"memory": "1Gi"}),
        [
            "spec.containers[web].resources.limits[memory] added",
            "spec.containers[web].resources.requests[memory] added",
        ],
    ),
    "arguments": (
        lambda pod, web: web["args"].append("--debug"),
        ["spec.containers[web].args changed"],
    ),
    "mirror of the image": (
        lambda pod, web: web.update(image="mirror.example/web@sha256:" + "a" * 64),
        ["spec.containers[web].image changed"],
    ),
    "security": (
        lambda pod, web: web.update(securityContext={"runAsUser": 0}),
        ["spec.containers[web].securityContext.runAsUser added"],
    ),
    "field of the pod": (
        lambda pod, web: pod["spec"].update(hostPID=True),
        ["spec.hostPID added"],
    ),
    "label": (
        lambda pod, web: pod["metadata"]["labels"].update(app="other", mesh="on"),
        ["metadata.labels[app] changed", "metadata.labels[mesh] added"],
    ),
    "label removed by admission": (
        lambda pod, web: pod.update(metadata={}, removed={"labels": ["app"]}),
        ["metadata.labels[app] removed"],
    ),
    "service account": (
        lambda pod, web: pod["spec"].update(serviceAccountName="root"),
        ["spec.serviceAccountName added"],
    ),
    "node selector": (
        lambda pod, web: pod["spec"].update(nodeSelector={"zone": "a"}),
        ["spec.nodeSelector[zone] added"],
    ),
}
LIMITED = {"kubernetes.io/limit-ranger": "LimitRanger plugin set: memory limit for container web"}
NO_CHANGES: dict[str, Callable[[Pod, Pod], object]] = {
    "nothing": lambda pod, web: None,
    "defaults": lambda pod, web: web.update(
        terminationMessagePath="/dev/termination-log", imagePullPolicy="IfNotPresent"
    ),
    "units": lambda pod, web: web.update(resources={"requests": {"cpu": "0.1"}}),
    "priority": lambda pod, web: pod["spec"].update(
        priority=0, preemptionPolicy="PreemptLowerPriority", priorityClassName="usual"
    ),
    "tolerations": lambda pod, web: pod["spec"].update(
        tolerations=[{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]
    ),
    "pull secrets": lambda pod, web: pod["spec"].update(imagePullSecrets=[{"name": "r"}]),
    "LimitRange": lambda pod, web: (
        web["resources"].update(limits={"memory": "1Gi"}),
        pod["metadata"].update(annotations=LIMITED),
    ),
    "LimitRange for requests": lambda pod, web: (
        web["resources"]["requests"].update(memory="1Gi"),
        pod["metadata"].update(annotations=LIMITED),
    ),
    "gates": lambda pod, web: pod["spec"].update(schedulingGates=[{"name": "queue"}]),
    "nodes chosen while gated": lambda pod, web: (
        pod.update(placed=True),
        pod["spec"].update(nodeSelector={"zone": "a"}, affinity={"nodeAffinity": {}}),
    ),
    "labels of the node": lambda pod, web: pod["metadata"]["labels"].update(
        {"topology.kubernetes.io/zone": "a"}
    ),
    "label removed later": lambda pod, web: pod.update(metadata={}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_change_is_named_by_its_path(name: str) -> None:
    change, paths = CHANGES[name]
    assert said(change) == paths


@pytest.mark.parametrize("name", NO_CHANGES)
def test_what_the_api_server_does_by_itself_is_no_change(name: str) -> None:
    assert said(NO_CHANGES[name]) == []


def test_asked_toleration_that_is_missing_is_a_change() -> None:
    asked = copy.deepcopy(ASKED)
    asked["spec"]["tolerations"] = [{"key": "spot", "operator": "Exists"}]
    removed = said(lambda pod, web: pod["spec"].pop("tolerations"), asked)
    assert removed == ["spec.tolerations removed"]


@pytest.mark.parametrize(
    ("asked_selector", "found_selector", "paths"),
    [
        pytest.param(None, {"sandbox": "yes"}, [], id="added by the runtime class"),
        pytest.param({"zone": "a"}, {"zone": "a", "sandbox": "yes"}, [], id="added to ours"),
        pytest.param(
            {"zone": "a"},
            {"zone": "b", "sandbox": "yes"},
            ["spec.nodeSelector[sandbox] added", "spec.nodeSelector[zone] changed"],
            id="ours changed",
        ),
        pytest.param({"zone": "a"}, None, ["spec.nodeSelector[zone] removed"], id="ours removed"),
    ],
)
def test_what_a_runtime_class_adds_is_no_change(
    asked_selector: Pod | None, found_selector: Pod | None, paths: list[str]
) -> None:
    asked = copy.deepcopy(ASKED)
    asked["spec"]["runtimeClassName"] = "sandbox"
    if asked_selector:
        asked["spec"]["nodeSelector"] = asked_selector

    def change(pod: Pod, web: Pod) -> None:
        pod["spec"].update(overhead={"cpu": "250m"})
        pod["spec"].pop("nodeSelector", None)
        if found_selector:
            pod["spec"]["nodeSelector"] = found_selector

    assert said(change, asked) == paths
    if not asked_selector:
        without = said(change)
        assert without == [
            "spec.nodeSelector[sandbox] added",
            "spec.overhead added",
        ], "only a pod with a runtime class has an overhead"


def test_changes_are_told_with_how_many_more_there_are() -> None:
    made = [Change(f"spec.f{n}", ChangeKind.ADDED, "0") for n in range(5)]
    three = "spec.f0 added, spec.f1 added, spec.f2 added"
    assert changes_in_words(made[:1]) == "spec.f0 added"
    assert changes_in_words(made[:3]) == three
    assert changes_in_words(made[:4]) == f"{three} and 1 more"
    assert changes_in_words(made) == f"{three} and 2 more"


def test_digests_on_record_mean_the_same_after_an_upgrade() -> None:
    """They are compared with those that another release of the operator recorded."""
    [change] = differences(
        ASKED, born(lambda pod, web: pod["spec"].update(hostPID={"b": 1, "a": 2}))
    )
    assert change.digest == "d3626ac30a87e6f7"
    assert (
        Admission.of((change,)).digest
        == "sha256:3fefa3c76213509c1ff8dca444a5030c1c99c1709130ef1737d7844699a29ee1"
    )


def test_comparison_changes_neither_side() -> None:
    asked, pod = copy.deepcopy(ASKED), born(CHANGES["sidecar"][0])
    before = copy.deepcopy(pod)
    differences(asked, pod)
    assert (asked, pod) == (ASKED, before)


def test_digest_depends_on_the_value_that_admission_set() -> None:
    def digest(value: str) -> str:
        added = {"name": "X", "value": value}
        [change] = differences(ASKED, born(lambda pod, web: web["env"].append(added)))
        return change.digest

    assert digest("a") == digest("a") != digest("b")


def test_number_of_changes_is_bounded() -> None:
    def add(count: int) -> tuple[Change, ...]:
        many = {f"label-{n:03}": "x" for n in range(count)}
        return differences(ASKED, born(lambda pod, web: pod["metadata"]["labels"].update(many)))

    assert len(add(MOST)) == len(add(MOST + 50)) == MOST
    assert add(MOST + 50) != add(MOST + 51)


PROXY = (Change("spec.containers[web].env[HTTP_PROXY]", ChangeKind.ADDED, "1" * 16),)
OTHER = (Change("spec.containers[mesh]", ChangeKind.ADDED, "2" * 16),)


@pytest.mark.parametrize(
    ("accepted", "left"),
    [
        (Accepted(), PROXY + OTHER),
        (Accepted(frozenset({"mesh"})), PROXY),
        (Accepted(frozenset({"web"})), OTHER),
        (Accepted(frozenset({"env"})), PROXY + OTHER),
        (Accepted(paths=("spec.containers[web].env[HTTP_",)), OTHER),
        (Accepted(paths=("spec.",)), ()),
    ],
)
def test_accepted_changes_are_left_out(accepted: Accepted, left: tuple[Change, ...]) -> None:
    assert accepted.others(PROXY + OTHER) == left


def with_changes(given: View, **changes: tuple[Change, ...]) -> View:
    """The view with what admission changed in the instances of these labels."""
    known = {f"uid-{label}": change for label, change in changes.items()}
    return replace(given, evidence=Evidence(admission=known))


def recorded(letter: str, *changes: Change, since: float | None = None) -> Revision:
    known = proven(letter)
    return replace(known, verdict=replace(known.verdict, admission=Admission.of(changes, since)))


def of(given: View, *revisions: Revision) -> View:
    return replace(given, revisions=revisions)


def found(given: View, kind: str) -> tuple[str, str] | None:
    status = plan(given, NOW).status
    assert status is not None
    condition = status.condition(kind)
    return (condition.status, condition.reason) if condition else None


def marks(given: View) -> list[SetVerdict]:
    return [a for a in plan(given, NOW).actions if isinstance(a, SetVerdict)]


def test_change_of_all_pods_is_recorded_and_reported_once() -> None:
    given = of(view("B ...", wanted="B"), proven("A"), begun("B"))
    given = with_changes(given, B0=PROXY, B1=PROXY, B2=PROXY)
    decided = plan(given, NOW)
    [mark] = marks(given)
    assert mark.verdict.admission == Admission.of(PROXY)
    assert moves(decided) == ""
    assert found(given, "AdmissionChanged") == ("True", "Report")
    assert [a.reason for a in decided.announcements if a.reason == "AdmissionChanged"] != []
    again = plan(seen(given, NOW), NOW + 1)
    assert [a.reason for a in again.announcements if a.reason == "AdmissionChanged"] == []


def test_revision_that_is_as_asked_costs_no_write_of_its_own() -> None:
    given = with_changes(of(view("A ###"), recorded("A")), A0=(), A1=(), A2=())
    assert plan(given, NOW).actions == ()
    growing = of(view("B ...", wanted="B"), proven("A"), begun("B"))
    assert marks(with_changes(growing, B0=(), B1=(), B2=())) == []
    complete = of(view("B ###", wanted="B"), proven("A"), begun("B"))
    [mark] = marks(with_changes(complete, B0=(), B1=(), B2=()))
    assert mark.verdict.admission == Admission.of(())


@pytest.mark.parametrize(
    ("usual", "made", "words"),
    [
        (PROXY, OTHER, "spec.containers[mesh] added; without spec.containers[web].env[HTTP_PROXY]"),
        (PROXY, (), "without spec.containers[web].env[HTTP_PROXY] added"),
        ((), PROXY, "spec.containers[web].env[HTTP_PROXY] added"),
    ],
)
def test_pod_that_differs_from_its_revision_has_drifted(
    usual: tuple[Change, ...], made: tuple[Change, ...], words: str
) -> None:
    given = of(view("A ###", on_taint=OnTaint.REPORT), recorded("A", *usual))
    given = with_changes(given, A0=usual, A1=usual, A2=made)
    status = plan(given, NOW).status
    assert status is not None
    [deviation] = status.deviations
    assert deviation.reason == "Drifted"
    assert words in deviation.message
    healed = replace(given, spec=replace(given.spec, on_taint=OnTaint.REPLACE))
    assert moves(plan(healed, NOW)) == "create A2'"


def test_oldest_pod_says_what_a_revision_is_until_that_is_recorded() -> None:
    given = of(view("B ..", wanted="B", on_taint=OnTaint.REPORT), proven("A"), begun("B"))
    status = plan(with_changes(given, B0=(), B1=PROXY), NOW).status
    assert status is not None
    assert [d.name for d in status.deviations] == [given.instances[1].name]


def test_pods_of_a_revision_that_was_complete_before_are_not_compared_with_each_other() -> None:
    """As after an upgrade from a release that did not compare."""
    given = with_changes(of(view("A ###"), proven("A")), A0=PROXY, A1=(), A2=OTHER)
    [mark] = marks(given)
    assert mark.verdict.admission == Admission.of(PROXY, NOW)
    assert moves(plan(given, NOW)) == ""
    later = of(given, recorded("A", *PROXY, since=NOW))
    assert plan(later, NOW).actions == ()
    young: Instance = replace(given.instances[2], born=NOW + 1)
    born_later = replace(later, instances=(*given.instances[:2], young))
    assert moves(plan(born_later, NOW + 5)) == "create A2'"


def test_accepted_change_is_neither_reported_nor_a_difference() -> None:
    accepted = Accepted(frozenset({"mesh"}))
    given = of(view("A ###", accepted=accepted), recorded("A"))
    given = with_changes(given, A0=(), A1=OTHER, A2=OTHER)
    assert plan(given, NOW).actions == ()
    assert found(given, "AdmissionChanged") is None


def test_nothing_is_compared_where_all_is_allowed() -> None:
    given = of(view("A ###", admission=OnAdmission.ALLOW), proven("A"))
    given = with_changes(given, A0=PROXY, A1=(), A2=OTHER)
    assert plan(given, NOW).actions == ()
    assert found(given, "AdmissionChanged") is None


REFUSE: dict[str, Any] = {"admission": OnAdmission.REFUSE}


def test_refused_pod_is_not_available_and_is_retired_whatever_the_budget() -> None:
    given = of(view("A ### B #", wanted="B", **REFUSE), recorded("A"), begun("B"))
    given = with_changes(given, A0=(), A1=(), A2=(), B0=PROXY)
    held = replace(given, refusals=(refusal(Move.CREATE, "B0", Cause.CHANGED, revision="B"),))
    decided = plan(held, NOW)
    [retire] = decided.actions
    assert isinstance(retire, Retire)
    assert (retire.uid, retire.because.reason) == ("uid-B0", Reason.REFUSED)
    status = decided.status
    assert status is not None
    assert (status.available, status.current) == (3, 0)
    assert found(held, "Stalled") == ("True", "AdmissionChanged")
    assert found(held, "AdmissionChanged") is None
    assert marks(held) == []


def test_refused_first_revision_keeps_no_pod() -> None:
    given = of(view("A ###", good=None, **REFUSE), begun("A"))
    given = with_changes(given, A0=PROXY, A1=PROXY, A2=PROXY)
    held = replace(given, refusals=(refusal(Move.CREATE, "A0", Cause.CHANGED, revision="A"),))
    assert moves(plan(held, NOW)) == "retire A0 A2 A1"


def births(given: View) -> list[Create]:
    return [a for a in plan(given, NOW).actions if isinstance(a, Create)]


@pytest.mark.parametrize(
    ("known", "admits"),
    [
        (recorded("A", *PROXY), PROXY),  # let in before Refuse: what runs is repaired
        (recorded("A"), ()),
        (proven("A"), None),  # complete before it was compared
        (begun("A"), ()),
    ],
)
def test_birth_says_which_changes_are_let_in(
    known: Revision, admits: tuple[Change, ...] | None
) -> None:
    [birth] = births(of(view("A ##", **REFUSE), known))
    assert birth.admits == admits
    assert [b.admits for b in births(of(view("A ##"), known))] == [None]


def test_refusing_later_keeps_the_pods_that_run() -> None:
    given = of(view("A ###", **REFUSE), recorded("A", *PROXY))
    given = with_changes(given, A0=PROXY, A1=PROXY, A2=PROXY)
    assert plan(given, NOW).actions == ()
    assert found(given, "AdmissionChanged") == ("True", "Refuse")


def test_instances_without_known_changes_are_left_alone() -> None:
    assert plan(of(view("A ###", **REFUSE), recorded("A", *PROXY)), NOW).actions == ()


def test_template_without_labels_is_compared_as_well() -> None:
    bare = {"spec": ASKED["spec"]}
    assert said(lambda pod, web: pod.update(metadata={"labels": {"mesh": "on"}}), bare) == [
        "metadata.labels[mesh] added"
    ]


def test_refused_pod_of_a_release_that_nobody_wants_any_more_is_retired_for_that() -> None:
    given = of(view("A ### B #", wanted="C", **REFUSE), recorded("A"), begun("B", wanted=False))
    given = with_changes(given, A0=(), A1=(), A2=(), B0=PROXY)
    retired = [a for a in plan(given, NOW).actions if isinstance(a, Retire)]
    assert [(a.uid, a.because.reason) for a in retired] == [("uid-B0", Reason.OUTDATED)]
