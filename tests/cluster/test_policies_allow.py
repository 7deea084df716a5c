"""What must go on working under the policies: the cluster's own controllers, people who delete,
evict and drain, the operator's marks, and the glass that may be broken.

Tested elsewhere under the same policies: foreground and background deletion, the deletion of a
namespace, autoscalers and scale (test_lifecycle.py), budgets, lost nodes and evictions by taint
(test_disruption.py), endpoints of a Service (test_policies_objects.py).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from immutable_operator.api.names import ANNOTATION_TAINTED, BREAK_GLASS_GROUP, LABEL_SERVICE
from tests.cluster.changes import FINALIZER, KEPT_MARK, NO_ACCESS, ON_THE_SPEC
from tests.cluster.history import History
from tests.cluster.operator_process import Operators
from tests.cluster.people import BREAK_GLASS, OPERATOR, PERSONS, full_rights
from tests.cluster.services import Service, condition, is_ready, pin
from tests.controlplane import ControlPlane
from tests.controlplane.api import ApiError, Json
from tests.namespaces import fresh_namespace

ROOT = Path(__file__).parents[2]
BIND = ("--clusterrole=break-glass", "--user=alice")
CLUSTER = ("system:kube-", "system:serviceaccount:kube-system:", "system:node", "kwok")


def refused_controllers(plane: ControlPlane) -> Counter[str]:
    """Requests of the cluster's own programs that a policy has refused, so far in this run."""
    found: Counter[str] = Counter()
    with plane.audit().path.open("rb") as lines:
        for line in lines:
            if b"ValidatingAdmissionPolicy" in line and line.endswith(b"\n"):
                event = json.loads(line)
                user = (event.get("impersonatedUser") or event["user"])["username"]
                if user.startswith(CLUSTER) and event["responseStatus"]["code"] >= 400:
                    found[f"{user} {event['verb']} {event['requestURI']}"] += 1
    return found


def pod_path(service: Service, pod: Json) -> str:
    return f"/api/v1/namespaces/{service.namespace}/pods/{pod['metadata']['name']}"


def as_operator(service: Service, pod: Json, change: Json, check: bool = True) -> str:
    """Patch a pod under the operator's name, with every right; gives what kubectl said."""
    return service.kubectl(
        *("patch", "pod", pod["metadata"]["name"], "--type=merge"),
        *("-p", json.dumps(change), *OPERATOR),
        check=check,
    )


@pytest.fixture(scope="module")
def shared(
    control_plane: ControlPlane, running_operators: Operators, module_namespace: str
) -> Service:
    """Two instances, in a namespace in which alice may do everything."""
    running_operators.main.until_leading()
    service = Service(control_plane, module_namespace)
    full_rights(control_plane, module_namespace)
    service.apply(image="a", replicas=2)
    return service


@pytest.fixture
def pair(shared: Service) -> Service:
    """The two instances, Ready, with nothing left of what the test before did."""
    shared.until_ready()
    shared.until("two are left", lambda: [*map(is_ready, shared.pods())] == [True, True])
    return shared


@pytest.fixture(scope="module")
def resting(control_plane: ControlPlane, running_operators: Operators) -> Iterator[Service]:
    """Instances that the operator leaves alone, whatever happens to them; alice's too."""
    running_operators.main.until_leading()
    with fresh_namespace(control_plane) as namespace:
        service = Service(control_plane, namespace)
        full_rights(control_plane, namespace)
        service.apply(image="a", replicas=12)
        service.until_ready()
        service.apply(spec={"suspend": True})
        service.until(
            "it rests", lambda: condition(service.get(), "Ready").get("reason") == "Suspended"
        )
        yield service


taken = count()


@pytest.fixture
def rested(resting: Service) -> Json:
    """One of them that no test before has done anything to."""
    return resting.pods()[next(taken)]


@pytest.fixture(scope="module", autouse=True)
def on_deleted_node(
    control_plane: ControlPlane, running_operators: Operators
) -> Iterator[tuple[Service, str]]:
    """A service and the uid of its pod, whose node is gone.

    It is that early because the controller clears the pod only after a minute.
    """
    running_operators.main.until_leading()
    [name] = control_plane.add_nodes(1)
    with fresh_namespace(control_plane) as namespace:
        service = Service(control_plane, namespace)
        service.apply(replicas=1, pod={"nodeSelector": {"kubernetes.io/hostname": name}})
        service.until_ready()
        [pod] = service.pods()
        control_plane.api().request("DELETE", f"/api/v1/nodes/{name}")
        yield service, pod["metadata"]["uid"]


# P22: whoever may, ends an instance; it gets a successor.


@pytest.mark.parametrize("person", PERSONS)
@pytest.mark.parametrize("how", ["delete", "evict", "force"])
def test_p22_instance_can_be_deleted_and_evicted(pair: Service, how: str, person: str) -> None:
    [pod, _] = pair.pods()
    name = pod["metadata"]["name"]
    api = pair.plane.api(person)
    if how == "evict":
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        api.request("POST", f"{pod_path(pair, pod)}/eviction", eviction)
    else:
        options = {"gracePeriodSeconds": 0} if how == "force" else {}
        api.request("DELETE", pod_path(pair, pod), options)
    pair.until("two others are ready", lambda: _ready_without(pair, name) == 2)


def _ready_without(web: Service, name: str) -> int:
    return sum(is_ready(p) and p["metadata"]["name"] != name for p in web.active())


def test_kubectl_drain_empties_a_node(pair: Service) -> None:
    pods = pair.pods()
    node = pods[0]["spec"]["nodeName"]
    selector = f"--pod-selector={LABEL_SERVICE}=web"
    try:
        pair.kubectl("drain", node, selector, "--ignore-daemonsets", "--timeout=120s")
        pair.until("two run elsewhere", lambda: _ready_off(pair, node) == 2)
    finally:
        pair.plane.kubectl("uncordon", node)


def _ready_off(web: Service, node: str) -> int:
    return sum(is_ready(p) and p["spec"]["nodeName"] != node for p in web.active())


def test_scheduler_can_preempt_instance(web: Service) -> None:
    """It says so in the status of the victim and names the node in that of the preemptor."""
    [node] = web.plane.add_nodes(1, cpu="1")
    here = {"nodeSelector": {"kubernetes.io/hostname": node}}
    half = {"resources": {"requests": {"cpu": "800m"}}}
    try:
        web.apply(replicas=1, pod=here, container=half)
        web.until_ready()
        [victim] = web.pods()
        important = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "important"},
            "spec": {
                **here,
                "priorityClassName": "system-cluster-critical",
                "containers": [{"name": "web", "image": pin("a"), **half}],
            },
        }
        create = ("create", "-f", "-")
        web.plane.kubectl(*create, namespace=web.namespace, stdin=json.dumps(important))
        path = f"/api/v1/namespaces/{web.namespace}/pods/important"
        web.until("the other runs", lambda: is_ready(web.plane.api().get(path)))
        names = {p["metadata"]["name"] for p in web.pods() if is_ready(p)}
        assert victim["metadata"]["name"] not in names
    finally:
        web.kubectl("delete", "imsvc,pod", "--all")
        web.plane.api().request("DELETE", f"/api/v1/nodes/{node}")
    assert not refused_controllers(web.plane)


# The operator's own marks.


def test_operator_can_label_but_not_change_spec(resting: Service, rested: Json) -> None:
    pod = rested
    as_operator(
        resting, pod, {"metadata": {"labels": {"app": None, "immutable.dev/role": "quarantine"}}}
    )
    refused = as_operator(resting, pod, {"spec": {"activeDeadlineSeconds": 9}}, check=False)
    assert ON_THE_SPEC in refused
    owner = as_operator(resting, pod, {"metadata": {"ownerReferences": None}}, check=False)
    assert "the owner of the immutable instance" in owner
    finalizer = as_operator(resting, pod, {"metadata": {"finalizers": ["a/b"]}}, check=False)
    assert FINALIZER in finalizer
    path = pod_path(resting, pod)
    exec_ = resting.kubectl("exec", pod["metadata"]["name"], *OPERATOR, "--", "true", check=False)
    assert NO_ACCESS in exec_
    now = resting.plane.api().get(path)
    assert now["spec"] == pod["spec"]
    assert now["metadata"]["labels"]["immutable.dev/role"] == "quarantine"


def test_taint_cannot_be_removed(resting: Service, rested: Json) -> None:
    pod = rested
    mark = '{"what": "exec", "by": "jane", "at": "2026-11-22T04:30:00Z"}'
    as_operator(resting, pod, {"metadata": {"annotations": {ANNOTATION_TAINTED: mark}}})
    for word in (None, "{}", mark.replace("jane", "joe")):
        change = {"metadata": {"annotations": {ANNOTATION_TAINTED: word}}}
        said = as_operator(resting, pod, change, check=False)
        assert KEPT_MARK in said
        glass = ("patch", "pod", pod["metadata"]["name"], "--type=merge", "-p", json.dumps(change))
        assert KEPT_MARK in resting.kubectl(*glass, *BREAK_GLASS, check=False)
    notes = resting.plane.api().get(pod_path(resting, pod))["metadata"]["annotations"]
    assert notes[ANNOTATION_TAINTED] == mark


def test_instance_with_unpinned_image_is_refused_at_creation(
    resting: Service, rested: Json
) -> None:
    """P16, P18: the last word over a pod as it is, after all that other webhooks have put in."""
    pod = rested
    name = pod["metadata"]["name"][:-5] + "zzzzz"
    kept = ("labels", "annotations", "ownerReferences")
    meta = {"name": name} | {key: pod["metadata"][key] for key in kept}
    good = {"name": "web", "image": pin("a")}
    tag = {"name": "sidecar", "image": "registry.example/proxy:v1"}
    volume = {"name": "v", "image": {"reference": "registry.example/data:v1"}}
    bodies: dict[str, Json] = {
        "container": {"containers": [good, tag]},
        "init container": {"containers": [good], "initContainers": [tag]},
        "volume": {"containers": [good], "volumes": [volume]},
    }
    for what, spec in bodies.items():
        said = birth(resting, meta, spec)
        assert "is not pinned by digest, so another admission webhook changed it" in said, what
    wrong = {
        "another name": {**meta, "name": "other-im00000000-zzzzz"},
        "no owner": {**meta, "ownerReferences": []},
        "no label": {**meta, "labels": {"app": "web"}},
    }
    for what, other in wrong.items():
        said = birth(resting, other, {"containers": [good]})
        assert "the name, the labels and the owner of an instance do not match" in said, what
    tainted = {**meta, "annotations": {ANNOTATION_TAINTED: "{}"}}
    assert "an instance cannot be created as tainted" in birth(
        resting, tainted, {"containers": [good]}
    )
    assert "created (server dry run)" in birth(resting, meta, {"containers": [good]})


def birth(web: Service, meta: Json, spec: Json) -> str:
    """What the operator is told when it makes this pod, which it does not keep."""
    body = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    done = web.plane.kubectl(
        *("create", "-f", "-", "--dry-run=server", *OPERATOR),
        namespace=web.namespace,
        stdin=body,
        check=False,
    )
    return done.stdout + done.stderr


# P5, P6: the glass.


def test_p5_break_glass_member_can_add_debug_container(resting: Service, rested: Json) -> None:
    pod = rested
    debug = ("debug", pod["metadata"]["name"], "--image", pin("debugger"), "--attach=false")
    resting.kubectl(*debug, *BREAK_GLASS, "--", "true")
    now = resting.plane.api().get(pod_path(resting, pod))
    assert len(now["spec"]["ephemeralContainers"]) == 1
    assert now["metadata"]["generation"] > pod["metadata"]["generation"], "so it is noticed"


def test_p6_documented_role_lets_user_break_glass(resting: Service, rested: Json) -> None:
    pod = rested
    reach = ("exec", pod["metadata"]["name"], "--as=alice", f"--as-group={BREAK_GLASS_GROUP}")

    def reached(*more: str) -> str:
        done = resting.plane.kubectl(
            *(*reach, *more, "--", "true"), actor="alice", namespace=resting.namespace, check=False
        )
        return done.stderr

    assert "cannot impersonate" in reached()
    text = (ROOT / "docs" / "enforcement.md").read_text()
    recipe = text.partition("```yaml\n")[2].partition("```")[0].replace("[jane]", "[alice]")
    resting.plane.kubectl("apply", "-f", "-", stdin=recipe)
    resting.kubectl("create", "clusterrolebinding", "break-glass", *BIND)
    try:
        resting.until("RBAC knows it", lambda: "cannot impersonate" not in reached())
        assert "ValidatingAdmissionPolicy" not in reached()
        assert "cannot impersonate" in reached("--as-group=system:masters")
    finally:
        resting.kubectl("delete", "clusterrole,clusterrolebinding", "break-glass")


def test_p6_access_is_audited_with_user(resting: Service, rested: Json) -> None:
    pod = rested
    name = pod["metadata"]["name"]
    mark = resting.plane.audit().mark()
    resting.kubectl("exec", name, *BREAK_GLASS, "--", "true", check=False)

    def told() -> list[str]:
        with resting.plane.audit().path.open("rb") as lines:
            lines.seek(mark)
            events = [json.loads(line) for line in lines if b"/exec" in line]
        found = [e.get("annotations", {}).get("connect.immutable.dev/connect") for e in events]
        return [note for note in found if note]

    resting.until("it is in the log", told)
    assert told()[0] == f"jane exec {resting.namespace}/{name}"


def test_cluster_controllers_are_never_refused(web: Service) -> None:
    """Over all that this run of the tests has had it do so far."""
    web.apply(image="a", replicas=2)
    web.until_ready()
    web.apply(image="b")
    web.until_ready()
    web.kubectl("delete", "imsvc", "web", "--cascade=foreground", "--timeout=120s")
    assert refused_controllers(web.plane) == {}


# P21, S3: what belongs to the cluster or to somebody else is free, and touches no instance.


def test_p21_renewed_trust_bundle_does_not_taint_instance(pair: Service) -> None:
    """The cluster's own, which each pod has in its token's volume: it is even recreated."""
    before = {pod["metadata"]["uid"] for pod in pair.active()}
    mounted = json.dumps([pod["spec"]["volumes"] for pod in pair.pods()])
    assert mounted.count("kube-root-ca.crt") == len(before)
    path = f"/api/v1/namespaces/{pair.namespace}/configmaps/kube-root-ca.crt"
    api = pair.plane.api()
    old = api.get(path)["metadata"]["uid"]
    with History(pair) as history:
        api.request("DELETE", path)
        pair.until("the cluster recreated it", lambda: _uid_of(pair, path) not in ("", old))
        pair.always("no deviation is reported", lambda: not pair.status().get("deviations"), 2)
        assert history.births() + history.retirements() == []
    assert {pod["metadata"]["uid"] for pod in pair.active()} == before


def _uid_of(web: Service, path: str) -> str:
    try:
        return str(web.plane.api().get(path)["metadata"]["uid"])
    except ApiError as error:
        if error.status == 404:
            return ""
        raise


def test_s3_foreign_routing_objects_are_left_alone(pair: Service) -> None:
    """A second Service, an Ingress and a NetworkPolicy of a user who may create them."""
    ours = {LABEL_SERVICE: "web"}
    backend = {"service": {"name": "second", "port": {"number": 80}}}
    bodies: dict[str, Json] = {
        f"/api/v1/namespaces/{pair.namespace}/services": {
            "metadata": {"name": "second"},
            "spec": {"selector": ours, "ports": [{"port": 80}]},
        },
        f"/apis/networking.k8s.io/v1/namespaces/{pair.namespace}/ingresses": {
            "metadata": {"name": "second"},
            "spec": {"defaultBackend": backend},
        },
        f"/apis/networking.k8s.io/v1/namespaces/{pair.namespace}/networkpolicies": {
            "metadata": {"name": "second"},
            "spec": {"podSelector": {"matchLabels": ours}, "policyTypes": ["Ingress"]},
        },
    }
    with History(pair) as history:
        for path, body in bodies.items():
            pair.plane.api("alice").request("POST", path, body)
        pair.always("no deviation is reported", lambda: not pair.status().get("deviations"), 2)
        for path in bodies:
            pair.plane.api("alice").request("DELETE", f"{path}/second")
        assert history.births() + history.retirements() == []


def test_p2_negative_grace_period_becomes_1_at_creation(web: Service) -> None:
    """So the one change of it that API servers let through, from negative to 1, is none."""
    web.apply(replicas=1, pod={"terminationGracePeriodSeconds": -1})
    web.until_ready()
    full_rights(web.plane, web.namespace)
    [pod] = web.pods()
    assert pod["spec"]["terminationGracePeriodSeconds"] == 1
    path = pod_path(web, pod)
    for api in map(web.plane.api, PERSONS):
        with pytest.raises(ApiError, match=r"pod updates may not change|is not changed"):
            api.merge_patch(path, {"spec": {"terminationGracePeriodSeconds": 30}})
        api.merge_patch(path, {"spec": {"terminationGracePeriodSeconds": -1}})
        assert api.get(path)["spec"] == pod["spec"]


def test_pod_garbage_collector_clears_deleted_node(on_deleted_node: tuple[Service, str]) -> None:
    """It writes phase Failed and DisruptionTarget into the status, then deletes."""
    web, uid = on_deleted_node
    web.until("it is cleared", lambda: uid not in {p["metadata"]["uid"] for p in web.pods()}, 120)
    assert not refused_controllers(web.plane)
