"""Secrets as part of a revision, in a namespace that is granted to the operator.

Rights are taken away here, so the module is in another lane than `test_zz_rbac.py`.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections.abc import Iterator

import pytest

from tests.cluster.audit import OperatorRequests, until_quiet
from tests.cluster.guards import without_guards
from tests.cluster.history import History
from tests.cluster.operator_process import NAMESPACE, Operators
from tests.cluster.secret_grants import GRANT, flags_for, secrets_granted
from tests.cluster.services import Service, annotation, condition, names
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json

DIGEST = re.compile(r"hmac-sha256:([0-9a-f]{16}):[0-9a-f]{64}")


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def put(service: Service, value: str | bytes, name: str = "", **more: object) -> None:
    """The Secret says this from now on; its usual name is that of the service."""
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name or service.name},
        "data": {"password": encoded(value)},
        **more,
    }
    service.plane.kubectl(
        *("apply", "--server-side", "--field-manager=vault", "--force-conflicts", "-f", "-"),
        stdin=json.dumps(body),
        namespace=service.namespace,
    )


def reads(service: Service) -> Json:
    """What a container says that reads the service's Secret."""
    return {"envFrom": [{"secretRef": {"name": service.name}}]}


def read_by(service: Service) -> set[str]:
    """The Secret that each active pod reads."""
    containers = (pod["spec"]["containers"][0] for pod in service.active())
    return {c["envFrom"][0]["secretRef"]["name"] for c in containers}


def copies(service: Service) -> dict[str, Json]:
    path = f"/api/v1/namespaces/{service.namespace}/secrets"
    found = service.plane.api().get(f"{path}?labelSelector=immutable.dev/service={service.name}")[
        "items"
    ]
    return {item["metadata"]["name"]: item for item in found}


def says(service: Service) -> set[str]:
    """What the copies say that active pods read."""
    there = copies(service)
    return {
        base64.b64decode(there[name]["data"]["password"]).decode() if name in there else "?"
        for name in read_by(service)
    }


def key_ids(service: Service) -> list[str]:
    """By which key each revision made its digest."""
    found = [DIGEST.fullmatch(r["spec"]["config"][0]["digest"]) for r in service.revisions()]
    return [digest[1] if digest else "" for digest in found]


@pytest.fixture(scope="module", autouse=True)
def grant(running_operators: Operators, module_namespace: str) -> Iterator[None]:
    with secrets_granted(running_operators, module_namespace):
        yield


@pytest.fixture
def granted(
    control_plane: ControlPlane, operators: Operators, module_namespace: str
) -> Iterator[Service]:
    """A service in the granted namespace that is not applied yet."""
    service = Service(control_plane, module_namespace, f"web-{secrets.token_hex(3)}")
    yield service
    service.kubectl("delete", "imsvc", service.name, "--ignore-not-found", "--wait=false")


@pytest.fixture
def pinned(granted: Service) -> Service:
    """Two instances that read a Secret which says ``old``."""
    put(granted, "old")
    granted.apply(replicas=2, rollout={"maxSurge": 1}, container=reads(granted))
    granted.until_ready()
    return granted


# A rollout.


def test_rotated_secret_makes_revision_and_rolls_out(pinned: Service) -> None:
    before = names(pinned)
    assert says(pinned) == {"old"}
    with History(pinned) as history:
        put(pinned, "new")
        pinned.until("the new value runs", lambda: says(pinned) == {"new"})
        pinned.until_ready()
        history.assert_budget(most=3, fewest=2)
        because = {annotation(birth.pod, "because") for birth in history.births()}
    assert not before & names(pinned)
    assert all(f"Secret {pinned.name} changed" in str(text) for text in because), because
    first, second = pinned.revisions()
    assert (second["spec"]["reason"], second["spec"]["by"]) == ("ConfigChanged", "vault")
    assert first["spec"]["template"] == second["spec"]["template"]
    [entry] = second["spec"]["config"]
    assert (entry["kind"], entry["name"]) == ("Secret", pinned.name)
    assert DIGEST.fullmatch(entry["digest"])
    assert read_by(pinned) == {entry["snapshot"]}
    assert len(copies(pinned)) == 2, "the former value is kept for going back"
    [told] = [e for e in pinned.events("RevisionCreated") if "ConfigChanged" in e["message"]]
    assert "Secret written by vault" in told["message"]
    assert "liveSecrets" not in pinned.status()


def test_restored_secret_reuses_its_revision(pinned: Service) -> None:
    [old] = read_by(pinned)
    put(pinned, "new")
    pinned.until("the new value runs", lambda: old not in read_by(pinned))
    pinned.until_ready()
    put(pinned, "old")
    pinned.until("the old value runs", lambda: read_by(pinned) == {old})
    pinned.until_ready()
    assert len(pinned.revisions()) == 2


def test_copy_is_immutable_owned_by_its_revision_and_deleted_with_it(pinned: Service) -> None:
    [name] = read_by(pinned)
    copy, [revision] = copies(pinned)[name], pinned.revisions()
    assert copy["immutable"] is True
    [owner] = copy["metadata"]["ownerReferences"]
    assert owner["uid"] == revision["metadata"]["uid"]
    assert annotation(copy, "source") == pinned.name
    assert annotation(copy, "digest") == revision["spec"]["config"][0]["digest"]
    refused = pinned.kubectl("delete", "secret", name, check=False)
    assert "is deleted with its revision and cannot be deleted by hand" in refused
    for verb, change in (
        ("label", "immutable.dev/service-"),
        ("annotate", "immutable.dev/digest=x"),
    ):
        refused = pinned.kubectl(verb, "secret", name, change, "--overwrite", check=False)
        assert "only the operator can write" in refused, refused
    pinned.kubectl("delete", "imsvc", pinned.name)
    pinned.until_gone()
    pinned.until("its copy is gone", lambda: not copies(pinned))


BINARY = bytes(range(256))
LARGE = b"\xff" * (2**20 - len("password"))
SHAPES: dict[str, tuple[bytes, Json]] = {
    "binary": (BINARY, {}),
    "one MiB": (LARGE, {}),
    "immutable": (b"x", {"immutable": True}),
    "TLS": (
        b"x",
        {"type": "kubernetes.io/tls", "stringData": {"tls.crt": "certificate", "tls.key": "key"}},
    ),
    "basic-auth": (b"x", {"type": "kubernetes.io/basic-auth", "stringData": {"username": "me"}}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_copy_of_any_secret_has_its_data(granted: Service, shape: str) -> None:
    value, more = SHAPES[shape]
    put(granted, value, **more)
    granted.apply(replicas=1, container=reads(granted))
    granted.until_ready()
    [copy] = copies(granted).values()
    path = f"/api/v1/namespaces/{granted.namespace}/secrets/{granted.name}"
    assert copy["data"] == granted.plane.api().get(path)["data"]
    assert copy["type"] == "Opaque", "a search for a type finds the original"


def test_every_reference_reads_the_copy_and_pull_secrets_stay_live(granted: Service) -> None:
    put(granted, "x")
    name = granted.name
    key = {"name": name, "key": "password"}
    mounts = [{"name": n, "mountPath": f"/{n}"} for n in ("plain", "projected")]
    granted.apply(
        replicas=1,
        container={
            "envFrom": [{"secretRef": {"name": "not-there", "optional": True}}],
            "env": [{"name": "P", "valueFrom": {"secretKeyRef": key}}],
            "volumeMounts": mounts,
        },
        pod={
            "imagePullSecrets": [{"name": name}],
            "volumes": [
                {"name": "plain", "secret": {"secretName": name}},
                {"name": "projected", "projected": {"sources": [{"secret": {"name": name}}]}},
            ],
        },
    )
    granted.until_ready()
    [copy] = copies(granted)
    [pod] = granted.active()
    [container] = pod["spec"]["containers"]
    plain, projected = (
        next(v for v in pod["spec"]["volumes"] if v["name"] == n) for n in ("plain", "projected")
    )
    assert container["env"][0]["valueFrom"]["secretKeyRef"]["name"] == copy
    assert plain["secret"]["secretName"] == copy
    assert projected["projected"]["sources"][0]["secret"]["name"] == copy
    assert pod["spec"]["imagePullSecrets"] == [{"name": name}]
    entries = {e["name"]: e["digest"] for e in granted.revisions()[0]["spec"]["config"]}
    assert entries["not-there"] == "absent"


def test_two_services_with_one_secret_have_copies_of_their_own(
    pinned: Service, control_plane: ControlPlane
) -> None:
    other = Service(control_plane, pinned.namespace, f"{pinned.name}-b")
    other.apply(replicas=1, container=reads(pinned))
    other.until_ready()
    assert read_by(other).isdisjoint(read_by(pinned))
    other.kubectl("delete", "imsvc", other.name)
    other.until("its copy is gone", lambda: not copies(other))
    assert set(copies(pinned)) == read_by(pinned)


def test_secret_listed_as_live_is_not_copied(granted: Service) -> None:
    put(granted, "old")
    config = {"config": {"live": [granted.name]}}
    granted.apply(replicas=1, container=reads(granted), spec={"immutability": config})
    granted.until_ready()
    assert read_by(granted) == {granted.name}
    assert not copies(granted)
    assert "liveSecrets" not in granted.status(), "that was asked for"


# What is missing.


def test_missing_secret_is_reported_until_created(granted: Service) -> None:
    granted.apply(replicas=1, container=reads(granted))
    told = granted.until_stalled("ConfigMissing")
    assert f"Secret {granted.name} not found" in told["message"]
    assert not granted.revisions()
    put(granted, "late")
    granted.until_ready()
    assert says(granted) == {"late"}


def test_deleted_secret_leaves_running_pods_alone(pinned: Service) -> None:
    before, [old] = names(pinned), read_by(pinned)
    pinned.kubectl("delete", "secret", pinned.name)
    pinned.until_stalled("ConfigMissing")
    assert names(pinned) == before
    victim = min(before)
    pinned.kubectl("delete", "pod", victim, "--wait=false")
    pinned.until(
        "it has a successor", lambda: victim not in names(pinned) and len(names(pinned)) == 2
    )
    assert read_by(pinned) == {old}
    kept = names(pinned)
    put(pinned, "old")
    pinned.until_ready()
    assert names(pinned) == kept, "the same content is the same revision"


def test_lost_copy_is_recreated_and_its_readers_are_replaced(pinned: Service) -> None:
    [copy] = read_by(pinned)
    before, born = names(pinned), time.time()
    pinned.until("it is some seconds older", lambda: time.time() - born > 2.5)
    with without_guards(pinned.plane):
        pinned.kubectl("delete", "secret", copy)
        pinned.until("it is there again", lambda: copy in copies(pinned))
    pinned.until("all were replaced", lambda: not before & names(pinned))
    pinned.until_ready()
    assert says(pinned) == {"old"}
    assert len(pinned.revisions()) == 1


def test_foreign_secret_with_the_name_of_a_copy_is_left_alone(pinned: Service) -> None:
    """It takes the place of the copy after that was deleted."""
    [copy] = read_by(pinned)
    with without_guards(pinned.plane):
        pinned.kubectl("delete", "secret", copy)
        pinned.kubectl("create", "secret", "generic", copy, "--from-literal=password=mine")
    pinned.until("it is told", lambda: pinned.blocker("ApiServer"))
    blocker = pinned.blocker("ApiServer")
    assert blocker
    assert f"Secret {copy} exists but is not this revision's copy" in blocker["message"]
    pinned.kubectl("delete", "secret", copy)
    pinned.until("it is there again", lambda: copy in copies(pinned))


# Rights.


def test_operator_gets_by_name_and_creates_and_nothing_else(pinned: Service) -> None:
    asked = OperatorRequests.from_now(pinned.plane)
    put(pinned, "new")
    pinned.until("the new value runs", lambda: says(pinned) == {"new"})
    found = [r for r in asked if r.resource == "secrets" and r.namespace != NAMESPACE]
    assert {r.namespace for r in found} == {pinned.namespace}
    assert {r.verb for r in found} == {"get", "create"}
    assert all(r.allowed for r in found)
    about = {pinned.name, *copies(pinned)}
    assert {r.name for r in found if r.name and r.name.startswith(pinned.name)} <= about
    own = {r.name for r in asked if r.resource == "secrets" and r.namespace == NAMESPACE}
    assert own <= {GRANT, "immutable-operator-webhook"}


def test_secret_without_grant_is_read_live_and_the_status_says_so(web: Service) -> None:
    put(web, "old")
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    web.apply(replicas=1, container=reads(web))
    web.until_ready()
    before = names(web)
    assert read_by(web) == {web.name}
    assert web.status()["liveSecrets"] == [web.name]
    put(web, "new")
    web.always("nothing moves", lambda: names(web) == before, 3)
    assert "config" not in web.revisions()[0]["spec"]
    assert not [r for r in asked if r.resource == "secrets"]


def test_removed_role_stalls_by_name_and_losses_are_repaired(
    pinned: Service, operators: Operators
) -> None:
    before, [copy] = names(pinned), read_by(pinned)
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{pinned.namespace}/roles/{GRANT}"
    role = pinned.plane.api().get(path)
    pinned.kubectl("delete", "role", GRANT)
    try:
        told = pinned.until_stalled("Forbidden")
        assert f"the Role {GRANT} in the namespace {pinned.namespace}" in told["message"]
        assert pinned.name in told["message"]
        # Also a process that has never seen the copy repairs from it.
        operators.restart(*flags_for(pinned.namespace)).until_leading()
        victim = min(before)
        pinned.kubectl("delete", "pod", victim, "--wait=false")
        pinned.until(
            "it has a successor", lambda: victim not in names(pinned) and len(names(pinned)) == 2
        )
        assert read_by(pinned) == {copy}
        assert len(before & names(pinned)) == 1
    finally:
        role["metadata"] = {"name": GRANT, "namespace": pinned.namespace}
        pinned.plane.kubectl("apply", "-f", "-", stdin=json.dumps(role))
    pinned.until_ready()
    put(pinned, "new")
    pinned.until("the new value runs", lambda: says(pinned) == {"new"})


def test_grant_replaces_nothing_when_it_comes_and_when_it_goes(
    granted: Service, operators: Operators
) -> None:
    operators.restart("--secret-poll-seconds=0.5").until_leading()
    put(granted, "old")
    granted.apply(replicas=2, container=reads(granted))
    granted.until_ready()
    first = names(granted)
    assert read_by(granted) == {granted.name}

    operators.restart(*flags_for(granted.namespace)).until_leading()
    granted.always("nothing moves", lambda: names(granted) == first, 3)
    assert granted.status()["liveSecrets"] == [granted.name]
    granted.apply(image="b")
    granted.until("the next revision pins", lambda: says(granted) == {"old"})
    granted.until_ready()
    assert "liveSecrets" not in granted.status()
    second, [copy] = names(granted), read_by(granted)

    operators.restart("--secret-poll-seconds=0.5").until_leading()
    put(granted, "new")
    granted.always("nothing moves", lambda: names(granted) == second, 3)
    victim = min(second)
    granted.kubectl("delete", "pod", victim, "--wait=false")
    granted.until(
        "it has a successor", lambda: victim not in names(granted) and len(names(granted)) == 2
    )
    assert read_by(granted) == {copy}
    granted.apply(image="c")
    granted.until("the next revision reads live", lambda: read_by(granted) == {granted.name})


# The key.


def test_lost_key_replaces_nothing_and_a_rotation_still_rolls_out(
    pinned: Service, operators: Operators
) -> None:
    before, [old_key] = names(pinned), key_ids(pinned)
    drop = json.dumps([{"op": "remove", "path": "/data/key"}])
    pinned.plane.kubectl("patch", "secret", GRANT, "--type=json", "-p", drop, namespace=NAMESPACE)
    asked = OperatorRequests.from_now(pinned.plane, pinned.namespace)
    operators.restart(*flags_for(pinned.namespace)).until_leading()
    pinned.always("nothing moves", lambda: names(pinned) == before, 4)
    assert len(pinned.revisions()) == 1
    assert not [r for r in asked.writes() if r.resource == "secrets"]
    pinned.apply(image="b")
    pinned.until("another template runs", lambda: not before & names(pinned))
    pinned.until_ready()
    first, second = key_ids(pinned)
    assert first == old_key != second
    put(pinned, "new")
    pinned.until("the new value runs", lambda: says(pinned) == {"new"})


def test_replicas_share_the_key_and_a_new_leader_moves_nothing(
    pinned: Service, operators: Operators
) -> None:
    before, [key] = names(pinned), key_ids(pinned)
    standby = operators.start("standby", *flags_for(pinned.namespace)).until_synced()
    asked = OperatorRequests.from_now(pinned.plane, pinned.namespace)
    operators.main.stop()
    standby.until_leading()
    pinned.always("nothing moves", lambda: names(pinned) == before, 3)
    assert not [r for r in asked.writes() if r.resource in ("secrets", "pods")]
    put(pinned, "new")
    pinned.until("the new value runs", lambda: says(pinned) == {"new"})
    assert key_ids(pinned) == [key, key]


def test_operator_restart_replaces_no_pod_and_makes_no_copy(
    pinned: Service, operators: Operators
) -> None:
    before = names(pinned)
    asked = OperatorRequests.from_now(pinned.plane, pinned.namespace)
    operators.restart(*flags_for(pinned.namespace)).until_leading()
    pinned.always("nothing moves", lambda: names(pinned) == before, 4)
    assert not [r for r in asked.writes() if r.resource == "secrets"]


# Values.


def test_no_value_is_in_logs_status_events_records_or_metrics(
    granted: Service, operators: Operators
) -> None:
    operators.restart(*flags_for(granted.namespace), "--log-level=DEBUG").until_leading()
    canaries = [f"canary-{secrets.token_hex(8)}" for _ in range(2)]
    put(granted, canaries[0])
    granted.apply(replicas=1, container=reads(granted))
    granted.until_ready()
    put(granted, canaries[1])
    granted.until("the new value runs", lambda: says(granted) == {canaries[1]})
    granted.until_ready()
    api, space = granted.plane.api(), granted.namespace
    kept = [
        api.get(f"/apis/immutable.dev/v1alpha1/namespaces/{space}/{plural}")
        for plural in ("immutableservices", "immutablerevisions")
    ]
    kept += [api.get(f"/api/v1/namespaces/{space}/{plural}") for plural in ("events", "pods")]
    kept += [{**copy, "data": {}} for copy in copies(granted).values()]
    places = {
        "log": operators.main.text(),
        "metrics": operators.main.get("/metrics")[1],
        "objects": json.dumps(kept),
    }
    assert granted.name in places["log"]
    key = api.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/{GRANT}")["data"]["key"]
    for hidden in (*canaries, *map(encoded, canaries), key):
        for place, text in places.items():
            assert hidden not in text, place


def test_converged_service_costs_no_write(pinned: Service) -> None:
    pinned.always("it is Ready", lambda: condition(pinned.get(), "Ready")["status"] == "True", 6)
    pinned.until_recorded()
    until_quiet(OperatorRequests.from_now(pinned.plane, pinned.namespace))
    asked = OperatorRequests.from_now(pinned.plane, pinned.namespace)
    pinned.kubectl("annotate", "secret", pinned.name, "note=looked-at")
    polled = ("get", "secrets")
    pinned.until("it was polled", lambda: [(r.verb, r.resource) for r in asked].count(polled) > 3)
    ours = {pinned.name, *names(pinned), *copies(pinned)}
    assert not [r for r in asked.writes() if r.name in ours]
