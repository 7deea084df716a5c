"""What the API server refuses about nodes of pools, and what it must not.

The ids are those of docs/enforcement.md. A simulated pool is at rest while others try things; who
tries has every right that RBAC can give, so that what refuses them is a policy.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest

from immutable_operator.admission.policies import (
    NODE_GUARDS,
    node_bindings,
    node_policies,
    object_name,
)
from immutable_operator.api.names import (
    ANNOTATION_TAINTED,
    ANNOTATION_VERIFIED,
    LABEL_GUARD,
    LABEL_POOL,
    LABEL_SERVICE,
    TAINT_RETIRING,
    TAINT_UNVERIFIED,
)
from tests.cluster.guards import BINDINGS, POLICIES, refused_by
from tests.cluster.node_claims import NodeClaims
from tests.cluster.node_pools import OWN_TAINT, Pool
from tests.cluster.operator_process import ACCOUNT, NAMESPACE, USER, Operators
from tests.cluster.people import BREAK_GLASS, OPERATOR
from tests.cluster.services import pin
from tests.controlplane import ControlPlane
from tests.controlplane.api import ApiError, Json
from tests.controlplane.karpenter import Karpenter
from tests.namespaces import fresh_namespace
from tests.waiting import wait_for

NODES = "/api/v1/nodes"
INSTEAD = (
    "--as-group=immutable:break-glass (if the node belongs to a pool, the access is then reported)"
)


class Bed:
    """A pool of one node at rest, and a namespace for pods."""

    def __init__(self, pool: Pool, namespace: str) -> None:
        self.pool, self.plane, self.namespace = pool, pool.plane, namespace

    @property
    def node(self) -> str:
        [name] = self.pool.nodes()
        return name

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints, whether it fails or not."""
        done = self.plane.kubectl(*arguments, namespace=self.namespace, stdin=stdin, check=False)
        return done.stdout + done.stderr

    def refused(self, guard: str, *arguments: str, stdin: str | None = None) -> str:
        said = self.kubectl(*arguments, stdin=stdin)
        assert f"ValidatingAdmissionPolicy '{object_name(guard)}'" in said, said
        assert "denied request: " in said, said
        return said.partition("denied request: ")[2]

    def pod(self, pod: Json, *, bound: bool = True, metadata: Json | None = None) -> str:
        """The manifest of a pod with these fields in its spec, bound to the node of the pool."""
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"try-{secrets.token_hex(3)}", **(metadata or {})},
            "spec": {
                "containers": [{"name": "in", "image": pin("in")}],
                **({"nodeName": self.node} if bound else {}),
                **pod,
            },
        }
        return json.dumps(body)


@pytest.fixture(scope="module")
def bed(control_plane: ControlPlane, running_operators: Operators) -> Iterator[Bed]:
    running_operators.main.until_leading()
    pool = Pool(control_plane, f"guarded{secrets.token_hex(2)}")
    pool.apply(replicas=1)
    pool.until_ready()
    with fresh_namespace(control_plane) as namespace:
        made = Bed(pool, namespace)
        reach = ("create", "--dry-run=server", "-f", "-")
        manifest = made.pod({"hostPID": True})
        wait_for("the policies hold", lambda: "denied" in made.kubectl(*reach, stdin=manifest))
        yield made
    pool.remove()


def served(plane: ControlPlane, collection: str) -> dict[str, Json]:
    items = plane.api().get(f"{collection}?labelSelector={LABEL_GUARD.replace('/', '%2F')}")
    found = {item["metadata"]["labels"][LABEL_GUARD]: item for item in items["items"]}
    return {guard: item for guard, item in found.items() if guard in NODE_GUARDS}


def test_installed_node_policies_equal_expected_policies(bed: Bed) -> None:
    found = {guard: item["spec"] for guard, item in served(bed.plane, POLICIES).items()}
    assert found == node_policies(USER, break_glass=True)
    bound = {guard: item["spec"] for guard, item in served(bed.plane, BINDINGS).items()}
    assert bound == node_bindings(NAMESPACE)


def test_api_server_type_checks_every_expression_of_node_policies(bed: Bed) -> None:
    def checked() -> list[Json]:
        found = served(bed.plane, POLICIES).values()
        states = [item.get("status", {}) for item in found]
        return states if all("typeChecking" in state for state in states) else []

    for state in wait_for("all are type checked", checked):
        assert state["typeChecking"] == {}, state


# N2: access to a node itself, by a pod that is bound to it without the scheduler.


def privileged(name: str) -> Json:
    return {"name": name, "image": pin("in"), "securityContext": {"privileged": True}}


def host_path(path: str) -> Json:
    return {"volumes": [{"name": "host", "hostPath": {"path": path}}]}


REACHING: dict[str, tuple[Json, str]] = {
    "host processes": ({"hostPID": True}, "uses the process namespace of the node (hostPID)"),
    "privileged container": (
        {"containers": [privileged("in")]},
        "has the privileged container in",
    ),
    "privileged init container": (
        {"initContainers": [privileged("first")]},
        "has the privileged container first",
    ),
    "root folder": (host_path("/"), "mounts / of the node"),
    "folder": (host_path("/etc"), "mounts /etc/ of the node"),
    "folder inside": (host_path("/etc/kubernetes/pki"), "mounts /etc/kubernetes/pki/ of the node"),
    "folder around": (host_path("/var/lib"), "mounts /var/lib/ of the node"),
    "folder in other letters": (
        host_path("//var/.//lib/kubelet/./"),
        "mounts /var/lib/kubelet/ of the node",
    ),
    "socket of the runtime": (
        host_path("/run/containerd/containerd.sock"),
        "mounts /run/containerd/containerd.sock/ of the node",
    ),
    "second volume": (
        {
            "volumes": [
                *host_path("/mnt")["volumes"],
                {"name": "b", "hostPath": {"path": "/proc"}},
            ]
        },
        "mounts /proc/ of the node",
    ),
}


@pytest.mark.parametrize(("pod", "says"), REACHING.values(), ids=REACHING)
def test_n2_pod_that_reaches_into_its_node_is_refused(bed: Bed, pod: Json, says: str) -> None:
    said = bed.refused("node-access", "create", "-f", "-", stdin=bed.pod(pod))
    assert f"{says}, which gives access to node {bed.node} itself" in said
    assert f"repeat the command with --as=admin {INSTEAD}" in said


PLACED: dict[str, tuple[Json, bool]] = {
    "no access": ({}, True),
    "its own namespaces only": ({"hostNetwork": True}, True),
    "folder of data": (host_path("/mnt/data"), True),
    "folder with a similar name": (host_path("/etcd"), True),
    "access, placed by the scheduler": ({"hostPID": True, **host_path("/")}, False),
}


@pytest.mark.parametrize(("pod", "bound"), PLACED.values(), ids=PLACED)
def test_n2_other_pods_are_created(bed: Bed, pod: Json, bound: bool) -> None:
    manifest = bed.pod(pod, bound=bound)
    said = bed.kubectl("create", "--dry-run=server", "-f", "-", stdin=manifest)
    assert "created (server dry run)" in said, said


@pytest.mark.parametrize("namespace", ["kube-system", NAMESPACE])
def test_n2_exempt_namespaces_may_reach_into_nodes(bed: Bed, namespace: str) -> None:
    bed.plane.kubectl(
        *("create", "--dry-run=server", "-f", "-"),
        namespace=namespace,
        stdin=bed.pod({"hostPID": True}),
    )


def report_static_pod(bed: Bed, **more: Json) -> None:
    """Try what the kubelet of the node does for a static pod, which it names after the node."""
    node = bed.plane.api().get(f"{NODES}/{bed.node}")["metadata"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": node["name"], "uid": node["uid"]}
    metadata = {
        "name": f"proxy-{bed.node}",
        "annotations": {"kubernetes.io/config.mirror": "1", "kubernetes.io/config.source": "file"},
        "ownerReferences": [{**owner, "controller": True}],
        **more,
    }
    pod = {"hostPID": True, "containers": [privileged("in")], **host_path("/")}
    bed.plane.api(f"system:node:{bed.node}").request(
        "POST",
        f"/api/v1/namespaces/{bed.namespace}/pods?dryRun=All",
        json.loads(bed.pod(pod, metadata=metadata)),
    )


def test_n2_kubelet_reports_its_static_pods(bed: Bed) -> None:
    report_static_pod(bed)


def test_p19_kubelet_cannot_report_a_static_pod_as_an_instance(bed: Bed) -> None:
    with pytest.raises(ApiError, match="only the operator can create a pod with a label"):
        report_static_pod(bed, labels={LABEL_SERVICE: "web"})


def workload(kind: str, pod: Json) -> str:
    labels = {"app": kind.lower()}
    body = {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": kind.lower()},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [privileged("in")], "hostPID": True, **pod},
            },
        },
    }
    return json.dumps(body)


def test_n2_daemonset_with_access_runs_on_nodes_of_pools(bed: Bed) -> None:
    tolerates = [{"key": OWN_TAINT, "operator": "Exists"}]
    pod = {"tolerations": tolerates, "nodeSelector": {LABEL_POOL: bed.pool.name}}
    bed.kubectl("create", "-f", "-", stdin=workload("DaemonSet", pod))
    try:
        bed.plane.kubectl(
            *("rollout", "status", "daemonset/daemonset", "--timeout=100s"),
            namespace=bed.namespace,
        )
    finally:
        bed.kubectl("delete", "daemonset", "daemonset")


def test_n2_replicaset_cannot_be_used_to_reach_into_a_node(bed: Bed) -> None:
    """What its controller is told names something that its author can do."""
    bed.kubectl("create", "-f", "-", stdin=workload("ReplicaSet", {"nodeName": bed.node}))
    path = f"/api/v1/namespaces/{bed.namespace}/events"

    def told() -> str:
        events = bed.plane.api().get(path)["items"]
        return next((e["message"] for e in events if e["reason"] == "FailedCreate"), "")

    said = wait_for("its creation fails", told)
    bed.kubectl("delete", "replicaset", "replicaset")
    assert object_name("node-access") in said
    assert "use a DaemonSet, or a namespace of the chart value nodes.exemptNamespaces" in said


DEBUG = ("debug", f"--image={pin('debug')}", "--attach=false", "--stdin=false", "--tty=false")


@pytest.mark.parametrize("profile", ["legacy", "general", "sysadmin"])
def test_n2_kubectl_debug_node_is_refused_with_instructions(bed: Bed, profile: str) -> None:
    said = bed.refused("node-access", *DEBUG, f"--profile={profile}", f"node/{bed.node}")
    assert f"which gives access to node {bed.node} itself" in said
    assert INSTEAD in said


def test_n2_privileged_debug_container_is_refused(bed: Bed) -> None:
    manifest = bed.pod({"tolerations": [{"operator": "Exists"}]})
    name = json.loads(manifest)["metadata"]["name"]
    bed.plane.kubectl("create", "-f", "-", stdin=manifest, namespace=bed.namespace)
    said = bed.refused("node-access", *DEBUG, "--profile=sysadmin", "-c", "root", f"pod/{name}")
    assert f"pod {name} has the privileged container root" in said
    assert f"node {bed.node} itself" in said
    bed.plane.kubectl(*DEBUG, "-c", "plain", f"pod/{name}", namespace=bed.namespace)
    bed.plane.kubectl(
        *DEBUG, *BREAK_GLASS, "--profile=sysadmin", "-c", "root", f"pod/{name}",
        namespace=bed.namespace,
    )  # fmt: skip
    # What is there already is nobody's doing any more.
    bed.plane.kubectl(*DEBUG, "-c", "more", f"pod/{name}", namespace=bed.namespace)
    bed.kubectl("delete", "pod", name, "--force")


def test_n2_break_glass_reaches_into_a_node_and_is_reported(bed: Bed) -> None:
    mark = bed.plane.audit().mark()
    said = bed.kubectl(*DEBUG, *BREAK_GLASS, f"node/{bed.node}")
    assert "denied" not in said, said
    bed.pool.until(
        "it is reported",
        lambda: "modified in place (drift: Report)" in bed.pool.condition("Ready")["message"],
    )
    with bed.plane.audit().path.open("rb") as lines:
        lines.seek(mark)
        noted = [line for line in lines if b"node-access.immutable.dev/access" in line]
    assert any(b"jane " in line and bed.node.encode() in line for line in noted)
    # It is on record: the node stays modified after the pod is gone.
    bed.pool.until("it is recorded", lambda: ANNOTATION_TAINTED in _annotations(bed))
    bed.kubectl("delete", "pod", "--all", "--force")
    assert bed.pool.status()["deviations"]


def _annotations(bed: Bed) -> Json:
    found: Json = bed.pool.nodes()[bed.node]["metadata"]["annotations"]
    return found


# N3: the operator's records on nodes.

OTHERS_NODE = "node-0"
CLAIM = "nodeclaims.karpenter.sh/"
ONLY = "only the operator can write"
RECORDS: dict[str, tuple[tuple[str, ...], str]] = {
    "annotation changed": (
        ("annotate", "node", "{node}", "immutable.dev/slot=7", "--overwrite"),
        f"{ONLY} annotations under immutable.dev/ on node",
    ),
    "annotation added": (
        ("annotate", "node", "{node}", "immutable.dev/note=7"),
        f"{ONLY} annotations under immutable.dev/ on node",
    ),
    "annotation removed": (
        ("annotate", "node", "{node}", f"{ANNOTATION_VERIFIED}-"),
        f"{ONLY} annotations under immutable.dev/ on node",
    ),
    "annotation by status": (
        (
            *("patch", "node", "{node}", "--subresource=status"),
            *("-p", '{"metadata": {"annotations": {"immutable.dev/slot": "7"}}}'),
        ),
        f"{ONLY} annotations under immutable.dev/ on node",
    ),
    "label changed": (
        ("label", "node", "{node}", "immutable.dev/revision=0000", "--overwrite"),
        f"{ONLY} labels under immutable.dev/ on node",
    ),
    "label added": (
        ("label", "node", "{node}", "immutable.dev/note=1"),
        f"{ONLY} labels under immutable.dev/ on node",
    ),
    "out of the pool": (
        ("label", "node", "{node}", f"{LABEL_POOL}-"),
        f"{ONLY} labels under immutable.dev/ on node",
    ),
    "into a pool": (
        ("label", "node", OTHERS_NODE, f"{LABEL_POOL}=web"),
        "only the operator makes a node part of a pool",
    ),
    "taint unverified added": (
        ("taint", "node", "{node}", f"{TAINT_UNVERIFIED}=:NoSchedule"),
        f"{ONLY} taints under immutable.dev/ on node",
    ),
    "taint retiring added": (
        ("taint", "node", "{node}", f"{TAINT_RETIRING}=:NoSchedule"),
        f"{ONLY} taints under immutable.dev/ on node",
    ),
}


def spelled(bed: Bed, arguments: tuple[str, ...]) -> list[str]:
    return [argument.replace("{node}", bed.node) for argument in arguments]


@pytest.mark.parametrize(("command", "says"), RECORDS.values(), ids=RECORDS)
def test_n3_record_of_the_operator_on_a_node_is_refused(
    bed: Bed, command: tuple[str, ...], says: str
) -> None:
    before = bed.plane.api().get(f"{NODES}/{bed.node}")
    assert says in bed.refused("node-records", *spelled(bed, command))
    after = bed.plane.api().get(f"{NODES}/{bed.node}")
    for field in ("labels", "annotations"):
        assert after["metadata"][field] == before["metadata"][field]


FREE: dict[str, tuple[str, ...]] = {
    "cordon": ("cordon", "{node}"),
    "uncordon": ("uncordon", "{node}"),
    "label": ("label", "node", "{node}", "team.example/a=b"),
    "label off": ("label", "node", "{node}", "team.example/a-"),
    "annotation": ("annotate", "node", "{node}", "team.example/a=b"),
    "annotation off": ("annotate", "node", "{node}", "team.example/a-"),
    "taint": ("taint", "node", "{node}", "team.example/a=:PreferNoSchedule"),
    "taint off": ("taint", "node", "{node}", "team.example/a-"),
    "a reserved key on a node of no pool": (
        *("annotate", "node", OTHERS_NODE, "immutable.dev/note=1", "--overwrite"),
    ),
    "and off again": ("annotate", "node", OTHERS_NODE, "immutable.dev/note-"),
    "a reserved taint on a node of no pool": (
        *("taint", "node", OTHERS_NODE, f"{TAINT_RETIRING}=:NoSchedule"),
    ),
    "and that off again": ("taint", "node", OTHERS_NODE, f"{TAINT_RETIRING}-"),
}


def test_n3_everything_else_about_a_node_is_free(bed: Bed) -> None:
    for command in FREE.values():
        bed.plane.kubectl(*spelled(bed, command))


def test_n3_kubelet_reports_the_status_of_its_node(bed: Bed) -> None:
    """As kubelets do it: a patch of the status, which may carry metadata."""
    kubelet, path = bed.plane.api(f"system:node:{bed.node}"), f"{NODES}/{bed.node}"
    [ready] = [c for c in kubelet.get(path)["status"]["conditions"] if c["type"] == "Ready"]
    kubelet.request(
        "PATCH",
        f"{path}/status",
        {
            "metadata": {"annotations": {"volumes.kubernetes.io/controller-managed": "true"}},
            "status": {"conditions": [{**ready, "message": "kubelet is posting ready status"}]},
        },
        "application/strategic-merge-patch+json",
    )
    kubelet.request(
        *("PATCH", path, {"metadata": {"annotations": {"node.alpha.kubernetes.io/ttl": "0"}}}),
        "application/strategic-merge-patch+json",
    )
    with pytest.raises(ApiError, match=object_name("node-records")):
        kubelet.merge_patch(f"{path}/status", {"metadata": {"labels": {LABEL_POOL: "other"}}})


def test_n3_kubelet_registers_its_node_with_labels_of_a_pool(bed: Bed) -> None:
    name = f"fresh-{secrets.token_hex(3)}"
    body = {
        "metadata": {"name": name, "labels": {LABEL_POOL: "nobody"}},
        "spec": {"taints": [{"key": TAINT_UNVERIFIED, "effect": "NoSchedule"}]},
    }
    bed.plane.api(f"system:node:{name}").request("POST", f"{NODES}?dryRun=All", body)


def test_n3_break_glass_and_the_operator_may_write_records(bed: Bed) -> None:
    for who in (BREAK_GLASS, OPERATOR):
        change = ("annotate", "node", bed.node, "immutable.dev/note=1", "--dry-run=server")
        bed.plane.kubectl(*who, *change)


@pytest.fixture
def claims(control_plane: ControlPlane, karpenter: Karpenter) -> NodeClaims:
    assert control_plane.is_running("karpenter-kwok")
    made = NodeClaims(control_plane)
    made.add_class()
    return made


def test_n3_karpenter_registers_nodes_of_pools_and_their_claims_are_kept(
    bed: Bed, claims: NodeClaims
) -> None:
    name = f"claim-{secrets.token_hex(3)}"
    metadata = {"labels": {LABEL_POOL: "nobody"}, "annotations": {"immutable.dev/slot": "0"}}
    node = claims.create_ready(name, metadata=metadata)
    assert node["metadata"]["labels"][LABEL_POOL] == "nobody"
    assert node["metadata"]["annotations"]["immutable.dev/slot"] == "0"
    assert TAINT_UNVERIFIED in {taint["key"] for taint in node["spec"]["taints"]}
    node_name = node["metadata"]["name"]
    for target, guard in ((f"node/{node_name}", "node-records"), (CLAIM + name, "claim-records")):
        said = bed.refused(guard, "annotate", target, "immutable.dev/slot=1", "--overwrite")
        assert "annotations under immutable.dev/" in said
        said = bed.refused(guard, "label", target, f"{LABEL_POOL}-")
        assert "labels under immutable.dev/" in said
        bed.plane.kubectl("label", target, "team.example/a=b")
    bed.refused("node-records", "taint", "node", node_name, f"{TAINT_UNVERIFIED}-")
    bed.plane.kubectl(*OPERATOR, "taint", "node", node_name, f"{TAINT_UNVERIFIED}-")
    claims.until(name, "it is initialized", "Initialized")
    claims.delete(name)
    claims.until_gone(name)


def test_n3_registration_by_karpenter_cannot_be_pretended(bed: Bed) -> None:
    """Whoever may only change nodes does not put one into a pool with an owner of Karpenter's."""
    role = ("create", "clusterrole", "nodes-only", "--verb=get,patch,delete", "--resource=nodes")
    bed.plane.kubectl(*role)
    binding = ("create", "clusterrolebinding", "nodes-only", "--clusterrole=nodes-only")
    bed.plane.kubectl(*binding, "--user=rita")
    owner = {"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "name": "x", "uid": "x"}
    body = {"metadata": {"labels": {LABEL_POOL: "web"}, "ownerReferences": [owner]}}
    path, rita = f"{NODES}/{OTHERS_NODE}?dryRun=All", bed.plane.api("rita")
    wait_for("the role is in force", lambda: rita.get(f"{NODES}/{OTHERS_NODE}"))
    with pytest.raises(ApiError) as caught:
        rita.merge_patch(path, body)
    assert refused_by(caught.value) == object_name("node-records"), str(caught.value)
    # The same by somebody who may write the status of NodeClaims, as Karpenter may.
    bed.plane.api().merge_patch(path, body)


# N4: the pool itself.


def test_n4_status_of_a_pool_is_written_by_the_operator_only(bed: Bed) -> None:
    said = bed.refused(
        *("pool-status", "patch", "imnp", bed.pool.name, "--subresource=status", "--type=merge"),
        *("-p", '{"status": {"readyReplicas": 99}}'),
    )
    assert "only the operator can write the status of an ImmutableNodePool" in said


def test_n4_deleting_a_pool_whose_nodes_stay_warns_how_to_find_them(bed: Bed) -> None:
    said = bed.kubectl("delete", "imnp", bed.pool.name, "--dry-run=server")
    assert "Warning: " in said, said
    assert f"the nodes of the pool {bed.pool.name} stay and are no longer replaced" in said
    assert f"kubectl get nodes -l {LABEL_POOL}={bed.pool.name}" in said
    assert "set spec.deletionPolicy: Drain before the pool is deleted" in said
    assert "deleted (server dry run)" in said


def test_n4_deleting_a_pool_whose_nodes_are_drained_does_not_warn(bed: Bed) -> None:
    bed.pool.apply(deletionPolicy="Drain")
    said = bed.kubectl("delete", "imnp", bed.pool.name, "--dry-run=server")
    bed.pool.apply(deletionPolicy="Orphan")
    assert "deleted (server dry run)" in said
    assert "the nodes of the pool" not in said


def record(bed: Bed) -> str:
    """The revision of the pool, as <kind>/<name>; it is in the namespace of the operator."""
    names = bed.plane.kubectl("get", "imrev", "--output=name", namespace=NAMESPACE).stdout.split()
    return next(name for name in names if f"/{bed.pool.name}-" in name)


def test_n4_revisions_of_a_pool_are_records(bed: Bed) -> None:
    name, there = record(bed), f"--namespace={NAMESPACE}"
    said = bed.refused("pool-revisions", "label", name, "a=b", there)
    assert "a revision is a record and cannot be changed" in said
    said = bed.refused("pool-revisions", "delete", name, there)
    assert "a revision is deleted with its ImmutableService or ImmutableNodePool, or" in said
    forged = ("--subresource=status", "--type=merge", "-p", '{"status": {"phase": "Failed"}}')
    said = bed.refused("pool-revision-status", "patch", name, *forged, there)
    assert "only the operator records the outcome of a revision" in said


def test_n4_action_on_a_pool_overrides_a_freeze_only_with_the_right_to(bed: Bed) -> None:
    """The role edit in the namespace of the operator is not that right."""
    actor = f"quentin-{secrets.token_hex(2)}"
    bed.plane.grant(actor, NAMESPACE, "edit")
    ask = ("auth", "can-i", "create", "immutableactions.immutable.dev")
    wait_for(
        "the role is in force",
        lambda: bed.plane.kubectl(
            *ask, actor=actor, namespace=NAMESPACE, check=False
        ).stdout.startswith("yes"),
    )
    spec = {"type": "Regenerate", "pool": "nobody", "overrideFreeze": True, "reason": "a fire"}
    action = {
        "apiVersion": "immutable.dev/v1alpha1",
        "kind": "ImmutableAction",
        "metadata": {"name": actor},
        "spec": spec,
    }
    done = bed.plane.kubectl(
        *("create", "--dry-run=server", "-f", "-"),
        namespace=NAMESPACE,
        actor=actor,
        stdin=json.dumps(action),
        check=False,
    )
    assert object_name("pool-actions") in done.stderr
    assert f"{actor} may not override a change freeze" in done.stderr


def test_n4_pools_need_a_role_in_the_cluster(bed: Bed) -> None:
    def may(actor: str, verb: str) -> str:
        ask = ("auth", "can-i", verb, "immutablenodepools.immutable.dev")
        return bed.plane.kubectl(*ask, actor=actor, check=False).stdout.strip()

    roles = {"nina": "view", "omar": "admin", "pia": f"{ACCOUNT}-node-pools"}
    for actor, role in roles.items():
        names = (f"{actor}-pools", f"--clusterrole={role}", f"--user={actor}")
        bed.plane.kubectl("create", "clusterrolebinding", *names)
    wait_for("roles are aggregated", lambda: may("nina", "list") == may("omar", "list") == "yes")
    wait_for("the role is in force", lambda: may("pia", "create") == "yes")
    for verb in ("create", "patch", "delete"):
        assert may("nina", verb) == may("omar", verb) == "no"
        assert may("pia", verb) == "yes"
