"""What is changed in place is seen and healed, also where nothing prevents it.

The admission policies are out of the way here: each test does what they would refuse, and the
operator finds out from what the API server shows of the pod, not from who did it.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from immutable_operator.domain.families.pods import SPEC_CHANGED
from immutable_operator.domain.status.tell import modified_in_place
from immutable_operator.runtime.evidence import RECREATED
from tests.cluster.audit import OperatorRequests
from tests.cluster.history import History
from tests.cluster.operator_process import Operators
from tests.cluster.services import KIND_PATH, Service, annotation, born, condition, names, pin
from tests.controlplane.api import Json

pytestmark = pytest.mark.usefixtures("without_policies")

REPLICAS = 3
MERGE = ("--type=merge", "-p")


@pytest.fixture
def running(web: Service) -> Service:
    web.apply(image="a", replicas=REPLICAS, rollout={"maxSurge": 1})
    web.until_ready()
    return web


def patch(service: Service, pod: str, body: Json, *more: str) -> None:
    service.kubectl("patch", "pod", pod, *MERGE, json.dumps(body), *more)


def image(service: Service, pod: str) -> None:
    service.kubectl("set", "image", f"pod/{pod}", f"web={pin('evil')}")


def deadline(service: Service, pod: str) -> None:
    patch(service, pod, {"spec": {"activeDeadlineSeconds": 86400}})


def toleration(service: Service, pod: str) -> None:
    path = f"/api/v1/namespaces/{service.namespace}/pods/{pod}"
    there = service.plane.api().get(path)["spec"].get("tolerations", [])
    more = [*there, {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    patch(service, pod, {"spec": {"tolerations": more}})


def debug(service: Service, pod: str) -> None:
    container = {"name": "debugger", "image": pin("debugger"), "targetContainerName": "web"}
    body = {"spec": {"ephemeralContainers": [container]}}
    service.kubectl(
        *("patch", "pod", pod, "--subresource=ephemeralcontainers", "--type=strategic"),
        *("-p", json.dumps(body)),
    )


def certificate(service: Service, pod: str) -> None:
    service.kubectl("annotate", "pod", pod, "--overwrite", "immutable.dev/slot=7")


def another_service(service: Service, pod: str) -> None:
    service.kubectl("label", "pod", pod, "--overwrite", "immutable.dev/service=other")


def another_revision(service: Service, pod: str) -> None:
    service.kubectl("label", "pod", pod, "--overwrite", "immutable.dev/revision=0123abcd")


def unlabelled(service: Service, pod: str) -> None:
    service.kubectl("label", "pod", pod, "immutable.dev/service-")


def all_labels_and_annotations(service: Service, pod: str) -> None:
    reserved = {f"immutable.dev/{key}": None for key in ("service", "revision")}
    notes = {f"immutable.dev/{key}": None for key in ("slot", "incarnation", "because")}
    patch(service, pod, {"metadata": {"labels": reserved, "annotations": notes}})


def orphaned(service: Service, pod: str) -> None:
    patch(service, pod, {"metadata": {"ownerReferences": None}})


def another_owner(service: Service, pod: str) -> None:
    config = service.kubectl("create", "configmap", "thief", "-o", "json")
    owner = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "thief",
        "uid": json.loads(config)["metadata"]["uid"],
        "controller": True,
    }
    patch(service, pod, {"metadata": {"ownerReferences": [owner]}})


DEEDS: dict[str, tuple[Callable[[Service, str], None], str, str]] = {
    "P1 image": (image, "Drifted", "container web has image"),
    "P2 deadline": (deadline, "Tainted", f"{SPEC_CHANGED} (by kubectl-patch)"),
    "P2 toleration": (toleration, "Tainted", SPEC_CHANGED),
    "P5 ephemeral container": (debug, "Tainted", "debug container debugger was added"),
    "P9 certificate": (certificate, "Tainted", "its birth certificate was edited"),
    "P9 another service": (another_service, "Tainted", "its label immutable.dev/service"),
    "P9 another revision": (another_revision, "Tainted", "its birth certificate was edited"),
    "P9 no label": (unlabelled, "Tainted", "its label was removed"),
    "P9 nothing left": (all_labels_and_annotations, "Tainted", "its label was removed"),
    "P11 no owner": (orphaned, "Tainted", "its owner was removed"),
    "P11 another owner": (another_owner, "Tainted", "its owner was removed"),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_changed_instance_is_replaced_successor_first(running: Service, deed: str) -> None:
    do, reason, cause = DEEDS[deed]
    victim = sorted(names(running))[1]
    with History(running) as history:
        do(running, victim)
        running.until("the victim is gone", lambda: victim not in names(running))
        running.until_ready()
        running.until("nothing else happens", lambda: len(running.pods()) == REPLICAS)
        births = history.births()
        assert len(births) == 1, history.story()
        assert annotation(births[0].pod, "replaces") == victim
        because = annotation(births[0].pod, "because") or ""
        assert because.startswith(f"{reason}: "), because
        assert cause in because
        if reason == "Drifted" or "label" not in deed:
            # Without its label or owner it is out of sight for a moment: a test cannot count it.
            history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
    assert running.images() == [pin("a")] * REPLICAS
    assert len(running.revisions()) == 1

    def told() -> bool:
        said = [event["message"] for event in running.events(reason)]
        return any(victim in message and cause in message for message in said)

    running.until("an event tells it", told)
    running.until("no deviation is told of", lambda: "deviations" not in running.status())


def test_gated_pod_is_judged_from_scheduling_on(web: Service) -> None:
    """Whoever holds a gate may shape the pod until then: the API server counts that, too."""
    web.apply(replicas=1, pod={"schedulingGates": [{"name": "example.com/queue"}]})

    def let_go() -> None:
        for pod in web.active():
            if pod["spec"].get("schedulingGates"):
                body = {"spec": {"schedulingGates": [], "nodeSelector": {"type": "kwok"}}}
                patch(web, pod["metadata"]["name"], body)

    web.until("it is there", web.active)
    let_go()
    web.until_ready()
    [victim] = names(web)
    generation = web.active()[0]["metadata"]["generation"]
    assert generation > 1
    web.always("it is left alone", lambda: names(web) == {victim}, 2)
    deadline(web, victim)
    web.until("its successor is there", lambda: len(names(web)) == 2)
    let_go()
    web.until("the victim is gone", lambda: victim not in names(web))
    because = annotation(web.active()[0], "because") or ""
    assert because.startswith(f"Tainted: {SPEC_CHANGED}"), because


def test_changes_made_without_operator_are_found_at_start(
    running: Service, operators: Operators
) -> None:
    operators.main.stop()
    first, second, third = sorted(names(running))
    image(running, first)
    all_labels_and_annotations(running, second)
    orphaned(running, third)
    operators.restart().until_leading()
    running.until("all are replaced", lambda: names(running).isdisjoint({first, second, third}))
    running.until_ready()
    assert running.images() == [pin("a")] * REPLICAS


def test_forged_instance_is_retired(running: Service) -> None:
    """With a forged owner and label it would be counted, and get traffic."""
    real = running.active()[0]
    forged = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"web-im{running.revision()}-aaaaa",
            "namespace": running.namespace,
            **{key: real["metadata"][key] for key in ("labels", "annotations", "ownerReferences")},
        },
        "spec": {"containers": [{"name": "web", "image": pin("a")}]},
    }
    before = names(running)
    with History(running) as history:
        running.plane.kubectl("create", "-f", "-", stdin=json.dumps(forged))
        running.until("the forged one is gone", lambda: len(running.pods()) == REPLICAS)
        running.until_ready()
        assert names(running) == before, history.story()


def test_pod_with_service_label_only_is_left_alone(running: Service) -> None:
    before = names(running)
    running.kubectl(
        *("run", "stranger", f"--image={pin('a')}", "--labels=immutable.dev/service=web")
    )
    running.always("it is Ready", lambda: condition(running.get(), "Ready")["status"] == "True", 3)
    assert names(running) == before
    assert "stranger" in running.kubectl("get", "pods", "-o", "name")


def test_restarted_container_is_replaced_with_restarts_replace(web: Service) -> None:
    web.apply(replicas=REPLICAS, spec={"immutability": {"restarts": "Replace"}})
    web.until_ready()
    victim = min(names(web))
    with History(web) as history:
        web.mark_pod(victim, fault="crash-loop")
        web.until("the victim is gone", lambda: victim not in names(web))
        web.until_ready()
        [birth] = history.births()
        because = annotation(birth.pod, "because")
    assert because == "Tainted: container web was restarted in place"


def test_restarted_container_is_kept_by_default(running: Service) -> None:
    before = names(running)
    victim = min(before)
    running.mark_pod(victim, fault="crash-loop")
    running.until(
        "it restarted",
        lambda: any(
            status["restartCount"] > 1
            for pod in running.active()
            if pod["metadata"]["name"] == victim
            for status in pod["status"]["containerStatuses"]
        ),
    )
    running.mark_pod(victim, fault=None)
    running.until_ready()
    assert names(running) == before


def test_recreated_live_config_map_replaces_its_readers(web: Service) -> None:
    def make(text: str) -> None:
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings", "namespace": web.namespace},
            "immutable": True,
            "data": {"mode": text},
        }
        web.plane.kubectl("create", "-f", "-", stdin=json.dumps(document))

    make("old")
    web.apply(
        replicas=REPLICAS,
        rollout={"maxSurge": 1},
        container={"envFrom": [{"configMapRef": {"name": "settings"}}]},
        spec={"immutability": {"config": {"mode": "Live"}}},
    )
    web.until_ready()
    before = names(web)
    began = time.time()
    # Kubernetes tells times in whole seconds: the new one must be seen to be younger.
    web.until("some seconds passed", lambda: time.time() - began > 3)
    with History(web) as history:
        web.kubectl("delete", "configmap", "settings")
        web.always("nothing happens without it", lambda: names(web) == before, 1)
        make("new")
        web.until("all are replaced", lambda: names(web).isdisjoint(before))
        web.until_ready()
        history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
        reasons = {annotation(birth.pod, "because") for birth in history.births()}
    assert reasons == {f"Drifted: ConfigMap settings {RECREATED}"}


def test_on_taint_report_keeps_instance(web: Service) -> None:
    web.apply(replicas=REPLICAS, spec={"immutability": {"onTaint": "Report"}})
    web.until_ready()
    before = names(web)
    victim = min(before)
    debug(web, victim)
    web.until("it is told", lambda: web.events("Tainted"))
    web.until("the status lists it", lambda: web.status().get("deviations"))
    [deviation] = web.status()["deviations"]
    assert deviation["instance"] == victim
    assert deviation["reason"] == "Tainted"
    assert "debugger" in deviation["message"]
    web.always("it is Ready", lambda: condition(web.get(), "Ready")["status"] == "True", 2)
    assert modified_in_place(1) in condition(web.get(), "Ready")["message"]
    assert names(web) == before
    # It is still replaced for any other reason.
    web.apply(image="b")
    web.until_ready()
    assert web.images() == [pin("b")] * REPLICAS
    assert "deviations" not in web.status()


def endpoints(service: Service) -> set[str]:
    """Names of the pods that get traffic."""
    path = f"/apis/discovery.k8s.io/v1/namespaces/{service.namespace}/endpointslices"
    return {
        endpoint["targetRef"]["name"]
        for piece in service.plane.api().get(path)["items"]
        for endpoint in piece.get("endpoints") or ()
        if endpoint["conditions"].get("ready")
    }


def test_quarantined_pod_gets_no_traffic_and_is_kept_for_its_time(web: Service) -> None:
    # Long enough to look at the pod meanwhile, on a busy machine, too.
    immutability = {"onTaint": "Quarantine", "quarantineFor": "30s"}
    web.apply(replicas=REPLICAS, spec={"immutability": immutability})
    for name, selector in (("mine", "app=web"), ("theirs", "immutable.dev/service=web")):
        web.kubectl("create", "service", "clusterip", name, "--tcp=80")
        web.kubectl("set", "selector", "service", name, selector)
    web.until_ready()
    web.until("all get traffic", lambda: endpoints(web) == names(web))
    victim = min(names(web))
    debug(web, victim)
    web.until("it gets no traffic", lambda: victim not in endpoints(web))
    pod = web.plane.api().get(f"/api/v1/namespaces/{web.namespace}/pods/{victim}")
    assert "deletionTimestamp" not in pod["metadata"]
    mark = json.loads(annotation(pod, "quarantined") or "")
    assert mark["labels"] == {"app": "web"}
    assert "debugger" in mark["because"]
    web.until_ready()
    web.until("it is counted", lambda: web.status()["quarantinedReplicas"] == 1)
    assert web.status()["replicas"] == REPLICAS
    assert "1 in quarantine" in condition(web.get(), "Ready")["message"]
    web.until("its time is over", lambda: victim not in {p["metadata"]["name"] for p in web.pods()})
    web.until("it is not counted", lambda: web.status()["quarantinedReplicas"] == 0)
    web.until("all get traffic", lambda: endpoints(web) == names(web))
    assert len(names(web)) == REPLICAS


def test_forged_status_is_corrected_once(running: Service) -> None:
    """Without the policy service-status: the operator restores a forged status."""
    running.until_ready()
    running.until("it is told", lambda: condition(running.get(), "Guarded")["status"] == "False")
    asked = OperatorRequests.from_now(running.plane, running.namespace)
    # Mere counts are written some seconds late: they may be on their way.
    running.until("all is told", lambda: running.status()["availableReplicas"] == REPLICAS)
    true, began = running.status(), asked.count("patch immutableservices/status")
    path = f"{KIND_PATH}/{running.namespace}/immutableservices/{running.name}/status"
    broken = [{**c, "status": "False", "reason": "Forged"} for c in true["conditions"]]
    forgeries: tuple[Json, ...] = (
        {"readyReplicas": 99, "currentRevision": "00000000"},
        {"readyReplicas": 98},
        {"conditions": broken, "blockers": None},
        {"conditions": None, "nextRegeneration": "2026-01-01T00:00:00Z"},
    )
    for forged in forgeries:
        running.plane.api().merge_patch(path, {"status": forged})
        running.until("it is true again", lambda: running.status() == true)
    # One write each, and one more for what has to be taken away.
    assert asked.count("patch immutableservices/status") - began == len(forgeries) + 1
    # A condition of another type is not ours to take away, and is not written about at all.
    more = [*true["conditions"], {**true["conditions"][0], "type": "Theirs"}]
    running.plane.api().merge_patch(path, {"status": {"conditions": more}})
    running.always("it stays", lambda: condition(running.get(), "Theirs"), 2)
    assert asked.count("patch immutableservices/status") - began == len(forgeries) + 1


MUTATOR: dict[str, Any] = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingAdmissionPolicy",
    "metadata": {"name": "rewrites-images"},
    "spec": {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"],
                    "resources": ["pods"],
                }
            ]
        },
        "mutations": [
            {
                "patchType": "JSONPatch",
                "jsonPatch": {
                    "expression": '[JSONPatch{op: "replace", path: "/spec/containers/0/image",'
                    f' value: "{pin("evil")}"}}]'
                },
            }
        ],
    },
}


@pytest.fixture
def mutator(web: Service) -> Iterator[Callable[[], None]]:
    """Patches every new pod of the test's namespace, from when it is called."""
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": "rewrites-images"},
        "spec": {
            "policyName": "rewrites-images",
            "matchResources": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": web.namespace}}
            },
        },
    }

    def rewritten() -> bool:
        said = web.kubectl(
            *("run", "probe", f"--image={pin('x')}", "--dry-run=server"),
            *("-o", "jsonpath={.spec.containers[0].image}"),
        )
        return said == pin("evil")

    def start() -> None:
        for document in (MUTATOR, binding):
            web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(document))
        web.until("the mutator works", rewritten)

    yield start
    stop(web)


def stop(web: Service) -> None:
    for kind in ("mutatingadmissionpolicybinding", "mutatingadmissionpolicy"):
        web.plane.kubectl("delete", kind, "rewrites-images", "--ignore-not-found")


def test_persistent_mutator_ends_in_condition_without_loop(
    running: Service, operators: Operators, mutator: Callable[[], None]
) -> None:
    operators.restart("--heal-seconds=2").until_leading()
    mutator()
    victim = min(names(running))
    with History(running) as history:
        debug(running, victim)
        stalled = running.until_stalled("TaintReturns")
        assert "that changes every new pod" in stalled["message"]
        running.until("five were tried", lambda: len(history.births()) >= 4)
        births = history.births()
        pauses = [born(b.pod) - born(a.pod) for a, b in itertools.pairwise(births)]
        # 2, 4 and 8 seconds, less the second in which Kubernetes tells times.
        assert all(pause > 2 * 2**n - 1.5 for n, pause in enumerate(pauses)), pauses
        assert [annotation(b.pod, "heal-count") for b in births] == ["1", "2", "3", "4"]
        history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
        running.until_stalled("TaintReturns")
    stop(running)
    running.until_ready()
    assert running.images() == [pin("a")] * REPLICAS
