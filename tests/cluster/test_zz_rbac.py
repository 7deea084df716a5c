"""Rights granted are rights used, over everything that this run of the tests did.

The file's name lets it run last. Alone it still holds: it first makes the operator do, once,
each thing that needs a right of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from immutable_operator.api.names import API_VERSION
from immutable_operator.domain.config.hashing import revision_hash
from immutable_operator.domain.model import instance_name, revision_id
from tests.cluster.actions import act, phase
from tests.cluster.audit import OperatorRequests
from tests.cluster.guards import without_guards
from tests.cluster.operator_process import ACCOUNT, BREAK_GLASS, NAMESPACE, Operators
from tests.cluster.secret_grants import CHECKS, GRANT, GRANTED, secrets_granted
from tests.cluster.services import Service, budgets, condition, pin, ports
from tests.cluster.webhook import GROUP, mark_of, member
from tests.controlplane import ControlPlane
from tests.waiting import wait_for

# Checked by the admission plugin OwnerReferencesPermissionEnforcement when an owner reference
# with blockOwnerDeletion is written; it is never a request of its own.
BY_ADMISSION = ("immutable.dev", "immutableservices/finalizers", "update")
# Everybody who is logged in may ask who they are (system:basic-user).
BY_DEFAULT = ("authentication.k8s.io", "selfsubjectreviews", "create")

Right = tuple[str, str, str]


def granted(plane: ControlPlane, shop: str) -> set[Right]:
    """All that the service account may do: group, resource, verb.

    ``shop`` is the namespace in which it may pin Secrets and run the Jobs of checks.
    """
    rights = set()
    roles = (
        ("clusterrole", ACCOUNT, None),
        ("role", ACCOUNT, NAMESPACE),
        ("role", GRANT, shop),
        ("role", CHECKS, shop),
    )
    for kind, name, namespace in roles:
        told = plane.kubectl("get", kind, name, "-o", "json", namespace=namespace).stdout
        for rule in json.loads(told)["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    rights |= {(group, resource, verb) for verb in rule["verbs"]}
    return rights


def used(requests: OperatorRequests) -> set[Right]:
    return {(r.api_group, r.target, r.verb) for r in requests if r.resource}


@pytest.fixture(scope="module", autouse=True)
def shop(running_operators: Operators, module_namespace: str) -> Iterator[str]:
    """The one namespace in which the operator may pin Secrets, and checks may run Jobs."""
    with secrets_granted(running_operators, module_namespace, checks=(module_namespace,)):
        yield module_namespace


def pin_secret(vault: Service) -> None:
    """Let a service in the namespace that is granted read a Secret."""
    vault.kubectl("create", "secret", "generic", "key", "--from-literal=password=x")
    vault.apply(replicas=1, container={"envFrom": [{"secretRef": {"name": "key"}}]})
    vault.until_ready()


def run_job(checked: Service) -> None:
    """Let a check run a Job in the namespace that is granted, and look at it."""
    container = {"name": "smoke", "image": pin("smoke")}
    check = {"name": "smoke", "job": {"template": {"spec": {"containers": [container]}}}}
    checked.apply(replicas=1, rollout={"checks": [check]})

    def looked() -> bool:
        found = OperatorRequests(checked.plane)
        return any((r.resource, r.verb, r.code) == ("jobs", "get", 200) for r in found)

    checked.until("the operator looks at the Job", looked)


def exercise(web: Service) -> None:
    """Meet a stranger's pod and a stranger's revision, roll out, go beyond the history limit.

    Pin a ConfigMap. Let somebody break the glass. Record the lineage, and continue the record.
    """
    web.apply(
        image="a",
        replicas=1,
        spec={"historyLimit": 1, "immutability": {"onTaint": "Report"}},
    )
    web.until_ready()
    web.until_recorded()
    template = web.wish.manifest("web", web.namespace)["spec"]["template"]
    template["spec"]["containers"][0]["image"] = pin("b")
    full = revision_hash(template)
    short = revision_id(full, ())
    taken = instance_name("web", web.get()["metadata"]["uid"], short, 0, 0)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": taken, "namespace": web.namespace},
        "spec": {"containers": [{"name": "other", "image": pin("other")}]},
    }
    record = {
        "apiVersion": API_VERSION,
        "kind": "ImmutableRevision",
        "metadata": {"name": f"web-im{short}", "namespace": web.namespace},
        "spec": {
            **{"service": "web", "number": 1, "revision": short, "hash": full},
            **{"reason": "Created", "by": "a-stranger", "image": "web", "template": template},
        },
    }
    items = {"apiVersion": "v1", "kind": "List", "items": [pod, record]}
    with without_guards(web.plane):
        web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(items))
    web.apply(image="b")
    web.until("it waits", lambda: "another owner" in condition(web.get(), "Ready")["message"])
    web.kubectl("delete", "imrev", f"web-im{short}")
    web.until_ready()
    for image in ("c", "d"):
        web.apply(image=image)
        web.until_ready()
    web.until("the oldest record is dropped", lambda: len(web.revisions()) == 2)
    web.kubectl("create", "configmap", "settings", "--from-literal=mode=new")
    web.apply(container={"envFrom": [{"configMapRef": {"name": "settings"}}]})
    web.until_ready()
    web.apply(replicas=2)
    web.until_ready()
    web.apply(replicas=1)
    web.until("it is scaled down", lambda: len(web.active()) == 1)
    web.apply(rollout={"maxSurge": 1, "drainProtection": True})
    web.until("it is protected", lambda: budgets(web) == {f"{web.name}-drain-protection": 1})
    web.apply(replicas=2)
    web.until("it is protected still", lambda: budgets(web) == {f"{web.name}-drain-protection": 2})
    web.apply(replicas=1, rollout={})
    web.until("it is protected no more", lambda: budgets(web) == {})
    web.apply(spec={"traffic": {"ports": [{"port": 80}]}})
    web.until("it is exposed", lambda: ports(web) == {web.name: [80]})
    web.apply(spec={"traffic": {"ports": [{"port": 81}]}})
    web.until("its port is another", lambda: ports(web) == {web.name: [81]})
    web.apply(spec={})
    web.until("it is exposed no more", lambda: ports(web) == {})
    web.until("it is scaled down again", lambda: len(web.active()) == 1)
    [pod] = [pod["metadata"]["name"] for pod in web.active()]
    web.kubectl("create", "rolebinding", "glass", "--clusterrole=edit", f"--group={GROUP}")
    web.kubectl("exec", pod, *member(), "--", "true", check=False)
    assert mark_of(web.plane, web.namespace, pod)
    act(web, "again")
    web.until("it is answered", lambda: phase(web, "again") == "Succeeded")
    web.until_recorded()


def stand_by(operators: Operators) -> None:
    """Let a second replica watch the lease of the first."""
    asked = OperatorRequests.from_now(operators.plane)
    standby = operators.start("standby")

    def watches_lease() -> bool:
        return any((r.verb, r.resource) == ("watch", "leases") for r in asked)

    wait_for("it watches the lease", watches_lease)
    assert standby.stop() == 0


def test_granted_rights_equal_used_rights(web: Service, shop: str, operators: Operators) -> None:
    exercise(web)
    stand_by(operators)
    pin_secret(Service(web.plane, shop, "vault"))
    run_job(Service(web.plane, shop, "checked"))
    requests = OperatorRequests(web.plane)
    rights = granted(web.plane, shop)
    assert BY_ADMISSION in rights
    seen = used(requests)
    assert seen - rights == {BY_DEFAULT}, "asked for without a right"
    assert rights - seen == {BY_ADMISSION}, "granted without use"
    assert not any("*" in right for right in rights)


def test_operator_is_never_refused_by_rbac(web: Service) -> None:
    """403 may come from quota, from a namespace that ends, from a template: not from RBAC."""
    refused = [r for r in OperatorRequests(web.plane) if not r.allowed]
    assert refused == []


def test_operator_writes_only_pod_metadata_and_reads_only_secrets_it_is_granted(
    web: Service,
) -> None:
    requests = list(OperatorRequests(web.plane))
    asked = [r for r in requests if r.resource == "secrets"]
    own = {r.name for r in asked if r.namespace == NAMESPACE}
    assert own <= {f"{ACCOUNT}-webhook", GRANT}
    others = [r for r in asked if r.namespace != NAMESPACE]
    assert {r.namespace for r in others} <= GRANTED
    assert {r.verb for r in others} <= {"get", "create"}
    watching = ("list", "watch")
    hooks = {
        r.name
        for r in requests
        if r.resource == "validatingwebhookconfigurations" and r.verb not in watching
    }
    assert hooks <= {BREAK_GLASS}
    config = {r.verb for r in requests if r.resource == "configmaps"}
    assert config <= {*watching, "get", "create"}, "a copy is made, and goes with its revision"
    touched = {(r.target, r.verb) for r in requests if r.resource == "pods"}
    assert touched <= {
        *[("pods", verb) for verb in ("create", "delete", "get", "list", "patch", "watch")],
        ("pods/eviction", "create"),
    }
    written = {r.resource for r in requests if r.verb not in ("get", "list", "watch")}
    assert written <= {
        *("pods", "events", "leases", "immutablerevisions", "immutableservices"),
        *("immutableactions", "immutablelineages", "configmaps", "poddisruptionbudgets"),
        *("secrets", "services", "validatingwebhookconfigurations", "selfsubjectreviews", "jobs"),
    }
    assert {(r.target, r.verb) for r in requests if r.resource == "immutableservices"} == {
        *[("immutableservices", verb) for verb in ("list", "watch")],
        ("immutableservices/status", "patch"),
    }


def test_blocking_owner_reference_needs_right_to_set_finalizers(web: Service) -> None:
    """Why the one rule is there that no request uses."""
    told = web.plane.kubectl("get", "clusterrole", ACCOUNT, "-o", "json").stdout
    rules = json.loads(told)["rules"]
    number = next(i for i, r in enumerate(rules) if r["resources"] == [BY_ADMISSION[1]])
    path = f"/rules/{number}"
    take = [{"op": "remove", "path": path}]
    give = [{"op": "add", "path": path, "value": rules[number]}]
    patch = ("patch", "clusterrole", ACCOUNT, "--type=json")
    web.plane.kubectl(*patch, "-p", json.dumps(take))
    try:
        web.apply(image="a", replicas=1)
        web.until("it is told", lambda: "finalizers" in str(condition(web.get(), "Ready")))
        assert "cannot set blockOwnerDeletion" in condition(web.get(), "Ready")["message"]
    finally:
        web.plane.kubectl(*patch, "-p", json.dumps(give))
    web.until_ready()
