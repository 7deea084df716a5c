"""What must go on working under the policies: the cluster's own controllers, people who delete,
evict and drain, the operator's marks, and the glass that may be broken.

Tested elsewhere under the same policies: foreground and background deletion, the deletion of a
namespace, autoscalers and scale (test_lifecycle.py), budgets, lost nodes and evictions by taint
(test_disruption.py), endpoints of a Service (test_policies_objects.py).
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from immutable_operator.api.names import ANNOTATION_TAINTED, BREAK_GLASS_GROUP, LABEL_SERVICE
from tests.cluster.changes import NO_ACCESS, ON_THE_SPEC
from tests.cluster.history import History
from tests.cluster.people import BREAK_GLASS, OPERATOR, PERSONS, full_rights
from tests.cluster.services import Service, annotation, condition, is_ready, pin
from tests.controlplane import ControlPlane
from tests.controlplane.api import ApiError, Json

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


def ready_pair(web: Service) -> list[Json]:
    web.apply(image="a", replicas=2)
    web.until_ready()
    return web.pods()


def resting_pair(web: Service) -> list[Json]:
    """Two instances that the operator leaves alone, whatever happens to them."""
    ready_pair(web)
    web.apply(spec={"suspend": True})
    web.until("it rests", lambda: condition(web.get(), "Ready").get("reason") == "Suspended")
    return web.pods()


# P22: whoever may, ends an instance; it gets a successor.


@pytest.mark.parametrize("person", PERSONS)
@pytest.mark.parametrize("how", ["delete", "evict", "force"])
def test_p22_an_instance_may_always_be_ended(web: Service, how: str, person: str) -> None:
    [pod, _] = ready_pair(web)
    full_rights(web.plane, web.namespace)
    name = pod["metadata"]["name"]
    api = web.plane.api(person)
    if how == "evict":
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        api.request("POST", f"{pod_path(web, pod)}/eviction", eviction)
    else:
        options = {"gracePeriodSeconds": 0} if how == "force" else {}
        api.request("DELETE", pod_path(web, pod), options)
    web.until(
        "it has a successor", lambda: name in {annotation(p, "replaces") for p in web.active()}
    )
    web.until("two are ready", lambda: sum(map(is_ready, web.pods())) == 2)


def test_kubectl_drain_empties_a_node(web: Service) -> None:
    pods = ready_pair(web)
    node = pods[0]["spec"]["nodeName"]
    selector = f"--pod-selector={LABEL_SERVICE}=web"
    try:
        web.kubectl("drain", node, selector, "--ignore-daemonsets", "--timeout=60s")
        web.until("two run elsewhere", lambda: _ready_off(web, node) == 2)
    finally:
        web.plane.kubectl("uncordon", node)


def _ready_off(web: Service, node: str) -> int:
    return sum(is_ready(p) and p["spec"]["nodeName"] != node for p in web.active())


def test_the_pod_garbage_collector_clears_a_node_that_is_gone(web: Service) -> None:
    """It writes phase Failed and DisruptionTarget into the status, then deletes."""
    [name] = web.plane.add_nodes(1)
    web.apply(replicas=1, pod={"nodeSelector": {"kubernetes.io/hostname": name}})
    web.until_ready()
    [pod] = web.pods()
    web.plane.api().request("DELETE", f"/api/v1/nodes/{name}")
    uid = pod["metadata"]["uid"]
    web.until("it is cleared", lambda: uid not in {p["metadata"]["uid"] for p in web.pods()}, 120)
    assert not refused_controllers(web.plane)


def test_the_scheduler_preempts_an_instance(web: Service) -> None:
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


def test_the_operator_marks_and_relabels_but_never_changes_a_spec(web: Service) -> None:
    [pod, _] = resting_pair(web)
    as_operator(
        web, pod, {"metadata": {"labels": {"app": None, "immutable.dev/role": "quarantine"}}}
    )
    refused = as_operator(web, pod, {"spec": {"activeDeadlineSeconds": 9}}, check=False)
    assert ON_THE_SPEC in refused
    owner = as_operator(web, pod, {"metadata": {"ownerReferences": None}}, check=False)
    assert "the owner of the immutable instance" in owner
    finalizer = as_operator(web, pod, {"metadata": {"finalizers": ["a/b"]}}, check=False)
    assert "would hold up its replacement" in finalizer
    path = pod_path(web, pod)
    exec_ = web.kubectl("exec", pod["metadata"]["name"], *OPERATOR, "--", "true", check=False)
    assert NO_ACCESS in exec_
    now = web.plane.api().get(path)
    assert now["spec"] == pod["spec"]
    assert now["metadata"]["labels"]["immutable.dev/role"] == "quarantine"


def test_a_taint_is_for_ever(web: Service) -> None:
    [pod, _] = resting_pair(web)
    mark = '{"what": "exec", "by": "jane", "at": "2026-11-22T04:30:00Z"}'
    as_operator(web, pod, {"metadata": {"annotations": {ANNOTATION_TAINTED: mark}}})
    for word in (None, "{}", mark.replace("jane", "joe")):
        change = {"metadata": {"annotations": {ANNOTATION_TAINTED: word}}}
        said = as_operator(web, pod, change, check=False)
        assert "remains marked as tainted; wait until it is replaced, or delete it" in said
        glass = ("patch", "pod", pod["metadata"]["name"], "--type=merge", "-p", json.dumps(change))
        assert "remains marked as tainted" in web.kubectl(*glass, *BREAK_GLASS, check=False)
    notes = web.plane.api().get(pod_path(web, pod))["metadata"]["annotations"]
    assert notes[ANNOTATION_TAINTED] == mark


def test_only_pinned_images_are_born_whatever_a_webhook_made_of_them(web: Service) -> None:
    """P16, P18: the last word over a pod as it is, after all that other webhooks have put in."""
    [pod, _] = resting_pair(web)
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
        said = birth(web, meta, spec)
        assert "is not pinned by a digest, so another admission webhook put it there" in said, what
    wrong = {
        "another name": {**meta, "name": "other-im00000000-zzzzz"},
        "no owner": {**meta, "ownerReferences": []},
        "no label": {**meta, "labels": {"app": "web"}},
    }
    for what, other in wrong.items():
        said = birth(web, other, {"containers": [good]})
        assert "the name, the labels and the owner of an instance do not agree" in said, what
    tainted = {**meta, "annotations": {ANNOTATION_TAINTED: "{}"}}
    assert "an instance cannot be created as tainted" in birth(web, tainted, {"containers": [good]})
    assert "created (server dry run)" in birth(web, meta, {"containers": [good]})


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


def test_p5_who_breaks_the_glass_may_add_a_debug_container(web: Service) -> None:
    [pod, _] = resting_pair(web)
    debug = ("debug", pod["metadata"]["name"], "--image", pin("debugger"), "--attach=false")
    web.kubectl(*debug, *BREAK_GLASS, "--", "true")
    now = web.plane.api().get(pod_path(web, pod))
    assert len(now["spec"]["ephemeralContainers"]) == 1
    assert now["metadata"]["generation"] > pod["metadata"]["generation"], "so it is noticed"


def test_p6_the_recipe_of_the_documentation_lets_a_user_break_the_glass(web: Service) -> None:
    [pod, _] = ready_pair(web)
    full_rights(web.plane, web.namespace)
    reach = ("exec", pod["metadata"]["name"], "--as=alice", f"--as-group={BREAK_GLASS_GROUP}")

    def reached(*more: str) -> str:
        done = web.plane.kubectl(
            *(*reach, *more, "--", "true"), actor="alice", namespace=web.namespace, check=False
        )
        return done.stderr

    assert "cannot impersonate" in reached()
    text = (ROOT / "docs" / "enforcement.md").read_text()
    recipe = text.partition("```yaml\n")[2].partition("```")[0].replace("[jane]", "[alice]")
    web.plane.kubectl("apply", "-f", "-", stdin=recipe)
    web.kubectl("create", "clusterrolebinding", "break-glass", *BIND)
    try:
        web.until("RBAC knows it", lambda: "cannot impersonate" not in reached())
        assert "ValidatingAdmissionPolicy" not in reached()
        assert "cannot impersonate" in reached("--as-group=system:masters")
    finally:
        web.kubectl("delete", "clusterrole,clusterrolebinding", "break-glass")


def test_p6_a_reach_into_an_instance_is_in_the_audit_log_with_who_did_it(web: Service) -> None:
    [pod, _] = ready_pair(web)
    name = pod["metadata"]["name"]
    mark = web.plane.audit().mark()
    web.kubectl("exec", name, *BREAK_GLASS, "--", "true", check=False)

    def told() -> list[str]:
        with web.plane.audit().path.open("rb") as lines:
            lines.seek(mark)
            events = [json.loads(line) for line in lines if b"/exec" in line]
        found = [e.get("annotations", {}).get("connect.immutable.dev/connect") for e in events]
        return [note for note in found if note]

    web.until("it is in the log", told)
    assert told()[0] == f"jane exec {web.namespace}/{name}"


def test_no_program_of_the_cluster_was_ever_refused(web: Service) -> None:
    """Over all that this run of the tests has had it do so far."""
    web.apply(image="a", replicas=2)
    web.until_ready()
    web.apply(image="b")
    web.until_ready()
    web.kubectl("delete", "imsvc", "web", "--cascade=foreground", "--timeout=60s")
    assert refused_controllers(web.plane) == {}


# P21, S3: what belongs to the cluster or to somebody else is free, and touches no instance.


def test_p21_a_renewed_trust_bundle_is_no_change_of_an_instance(web: Service) -> None:
    """The cluster's own, which each pod has in its token's volume: it is even recreated."""
    ready_pair(web)
    before = {pod["metadata"]["uid"] for pod in web.active()}
    mounted = json.dumps([pod["spec"]["volumes"] for pod in web.pods()])
    assert mounted.count("kube-root-ca.crt") == len(before)
    path = f"/api/v1/namespaces/{web.namespace}/configmaps/kube-root-ca.crt"
    api = web.plane.api()
    old = api.get(path)["metadata"]["uid"]
    with History(web) as history:
        api.request("DELETE", path)
        web.until("the cluster made it anew", lambda: _uid_of(web, path) not in ("", old))
        web.always("nobody minds", lambda: not web.status().get("deviations"), 2)
        assert history.births() + history.retirements() == []
    assert {pod["metadata"]["uid"] for pod in web.active()} == before


def _uid_of(web: Service, path: str) -> str:
    try:
        return str(web.plane.api().get(path)["metadata"]["uid"])
    except ApiError as error:
        if error.status == 404:
            return ""
        raise


def test_s3_what_others_route_to_instances_is_theirs(web: Service) -> None:
    """A second Service, an Ingress and a NetworkPolicy of somebody who may make them."""
    ready_pair(web)
    full_rights(web.plane, web.namespace)
    ours = {LABEL_SERVICE: "web"}
    backend = {"service": {"name": "second", "port": {"number": 80}}}
    bodies: dict[str, Json] = {
        f"/api/v1/namespaces/{web.namespace}/services": {
            "metadata": {"name": "second"},
            "spec": {"selector": ours, "ports": [{"port": 80}]},
        },
        f"/apis/networking.k8s.io/v1/namespaces/{web.namespace}/ingresses": {
            "metadata": {"name": "second"},
            "spec": {"defaultBackend": backend},
        },
        f"/apis/networking.k8s.io/v1/namespaces/{web.namespace}/networkpolicies": {
            "metadata": {"name": "second"},
            "spec": {"podSelector": {"matchLabels": ours}, "policyTypes": ["Ingress"]},
        },
    }
    with History(web) as history:
        for path, body in bodies.items():
            web.plane.api("alice").request("POST", path, body)
        web.always("nobody minds", lambda: not web.status().get("deviations"), 2)
        for path in bodies:
            web.plane.api("alice").request("DELETE", f"{path}/second")
        assert history.births() + history.retirements() == []


@pytest.mark.parametrize("person", PERSONS)
def test_p2_a_negative_grace_period_is_1_from_birth(web: Service, person: str) -> None:
    """So the one change of it that API servers let through, from negative to 1, is none."""
    web.apply(replicas=1, pod={"terminationGracePeriodSeconds": -1})
    web.until_ready()
    full_rights(web.plane, web.namespace)
    [pod] = web.pods()
    assert pod["spec"]["terminationGracePeriodSeconds"] == 1
    api, path = web.plane.api(person), pod_path(web, pod)
    with pytest.raises(ApiError, match=r"pod updates may not change|is not changed"):
        api.merge_patch(path, {"spec": {"terminationGracePeriodSeconds": 30}})
    api.merge_patch(path, {"spec": {"terminationGracePeriodSeconds": -1}})
    assert api.get(path)["spec"] == pod["spec"]
