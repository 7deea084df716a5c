"""Same revision, same content: what a ConfigMap says later, and a tag, never leak in."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

import pytest

from immutable_operator.domain.config.hashing import revision_hash
from immutable_operator.domain.config.references import content_digest
from immutable_operator.domain.model import CONFIG_MAP, CreateSnapshot, revision_id, snapshot_name
from immutable_operator.instances.driver import Seen
from immutable_operator.instances.refused import Refused
from immutable_operator.kube.client import KubeClient, load_configuration
from immutable_operator.kube.store import Children
from immutable_operator.runtime.copies import CopyWriter
from immutable_operator.runtime.records import Records
from immutable_operator.runtime.secrets import PinnedSecrets, SecretOptions
from immutable_operator.wire.config import Configs
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.revision import decode_revision
from tests.cluster.actions import act, freeze_of
from tests.cluster.audit import OperatorRequests
from tests.cluster.guards import without_guards
from tests.cluster.history import History
from tests.cluster.operator_process import ACCOUNT, NAMESPACE, Operators
from tests.cluster.services import Service, annotation, condition, names, pin
from tests.controlplane.api import Json

READS = {"envFrom": [{"configMapRef": {"name": "settings"}}]}


def put(service: Service, mode: str, name: str = "settings") -> None:
    """The ConfigMap says this from now on."""
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"mode": mode},
    }
    service.plane.kubectl(
        *("apply", "--field-manager=config-team", "-f", "-"),
        stdin=json.dumps(document),
        namespace=service.namespace,
    )


def read_by(service: Service) -> set[str]:
    """The ConfigMap that each active pod reads."""
    containers = (pod["spec"]["containers"][0] for pod in service.active())
    return {c["envFrom"][0]["configMapRef"]["name"] for c in containers}


def snapshots(service: Service) -> dict[str, Json]:
    path = f"/api/v1/namespaces/{service.namespace}/configmaps"
    found = service.plane.api().get(f"{path}?labelSelector=immutable.dev/service")["items"]
    return {item["metadata"]["name"]: item for item in found}


def says(service: Service) -> set[str]:
    """What the copies say that active pods read."""
    there = snapshots(service)
    return {there[name]["data"]["mode"] for name in read_by(service)}


@pytest.fixture
def pinned(web: Service) -> Service:
    """Two instances that read a ConfigMap which says ``old``."""
    put(web, "old")
    web.apply(replicas=2, rollout={"maxSurge": 1}, container=READS)
    web.until_ready()
    return web


@pytest.fixture
def freeze(web: Service) -> Iterator[Json]:
    """A freeze of the test's namespace, not applied yet; it is gone after the test."""
    document = freeze_of(web, "closing")
    yield document
    web.plane.kubectl("delete", "imfrz", document["metadata"]["name"], "--ignore-not-found")


def test_changed_config_map_makes_revision_and_rolls_out(pinned: Service) -> None:
    before = names(pinned)
    assert says(pinned) == {"old"}
    with History(pinned) as history:
        put(pinned, "new")
        pinned.until("the new content runs", lambda: says(pinned) == {"new"})
        pinned.until_ready()
        history.assert_budget(most=3, fewest=2)
        because = {annotation(birth.pod, "because") for birth in history.births()}
    assert not before & names(pinned)
    assert all("ConfigMap settings changed" in str(text) for text in because), because
    first, second = pinned.revisions()
    assert (first["spec"]["reason"], second["spec"]["reason"]) == ("Created", "ConfigChanged")
    assert second["spec"]["by"] == "config-team", "not who wrote the template"
    assert first["spec"]["template"] == second["spec"]["template"]
    assert second["spec"]["hash"].startswith("v4:")
    [entry] = second["spec"]["config"]
    assert entry["name"] == "settings"
    assert read_by(pinned) == {entry["snapshot"]}
    copy = snapshots(pinned)[entry["snapshot"]]
    assert copy["immutable"] is True
    assert annotation(copy, "source") == "settings"
    assert annotation(copy, "digest") == entry["digest"]
    [owner] = copy["metadata"]["ownerReferences"]
    assert owner["uid"] == second["metadata"]["uid"]
    [told] = [e for e in pinned.events("RevisionCreated") if "ConfigChanged" in e["message"]]
    assert "ConfigChanged (ConfigMap settings changed)" in told["message"]


def test_restored_config_content_reuses_revision(pinned: Service) -> None:
    [old] = read_by(pinned)
    put(pinned, "new")
    pinned.until("the new content runs", lambda: old not in read_by(pinned))
    pinned.until_ready()
    put(pinned, "old")
    pinned.until("the old content runs", lambda: read_by(pinned) == {old})
    pinned.until_ready()
    assert len(pinned.revisions()) == 2


def test_regeneration_keeps_config_content(pinned: Service) -> None:
    before, copies = names(pinned), set(snapshots(pinned))
    born = time.time()
    pinned.until("it is a second older", lambda: time.time() - born > 1.2)
    act(pinned, "again")
    pinned.until("all were replaced", lambda: not before & names(pinned))
    pinned.until_ready()
    assert set(snapshots(pinned)) == copies == read_by(pinned)
    assert len(pinned.revisions()) == 1


def test_config_map_changed_during_freeze_is_not_used(pinned: Service, freeze: Json) -> None:
    [old] = read_by(pinned)
    pinned.plane.kubectl("apply", "-f", "-", stdin=json.dumps(freeze))
    put(pinned, "new")
    pinned.until("it says that it is frozen", lambda: pinned.blocker("Frozen"))
    victim = min(names(pinned))
    pinned.kubectl("delete", "pod", victim, "--wait=false")
    pinned.until(
        "it has a successor", lambda: victim not in names(pinned) and len(names(pinned)) == 2
    )
    assert read_by(pinned) == {old}
    assert len(pinned.revisions()) == 1
    pinned.plane.kubectl("delete", "imfrz", freeze["metadata"]["name"])
    pinned.until("the new content runs", lambda: says(pinned) == {"new"})


def test_suspended_service_ignores_changed_config_map(pinned: Service) -> None:
    before = names(pinned)
    pinned.apply(spec={"suspend": True})
    pinned.until(
        "it is suspended", lambda: condition(pinned.get(), "Ready")["reason"] == "Suspended"
    )
    put(pinned, "new")
    pinned.always("nothing moves", lambda: names(pinned) == before, 3)
    assert len(pinned.revisions()) == 1
    pinned.apply(spec={})
    pinned.until("the new content runs", lambda: says(pinned) == {"new"})


LIVE: dict[str, Json] = {"mode Live": {"mode": "Live"}, "one by name": {"live": ["settings"]}}


@pytest.mark.parametrize("config", LIVE)
def test_live_config_map_is_not_copied(web: Service, config: str) -> None:
    put(web, "old")
    web.apply(replicas=1, container=READS, spec={"immutability": {"config": LIVE[config]}})
    web.until_ready()
    before = names(web)
    assert read_by(web) == {"settings"}
    assert not snapshots(web)
    put(web, "new")
    web.always("nothing moves", lambda: names(web) == before, 3)
    [revision] = web.revisions()
    assert revision["spec"]["hash"].startswith("v4:")
    assert "config" not in revision["spec"]


def test_missing_config_map_is_reported_until_created(web: Service) -> None:
    web.apply(replicas=1, container=READS)
    told = web.until_stalled("ConfigMissing")
    assert "ConfigMap settings not found" in told["message"]
    assert "create it, or make the reference optional" in told["message"]
    blocker = web.blocker("ConfigMissing")
    assert blocker
    assert blocker["object"] == "configmap/settings"
    assert not web.revisions()
    put(web, "late")
    web.until_ready()
    assert says(web) == {"late"}
    assert web.blocker("ConfigMissing") is None


def test_deleted_config_map_leaves_running_pods_alone(pinned: Service) -> None:
    before, [old] = names(pinned), read_by(pinned)
    pinned.kubectl("delete", "configmap", "settings")
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


def test_optional_config_map_is_read_from_next_rollout_on(web: Service) -> None:
    reads = {"envFrom": [{"configMapRef": {"name": "settings", "optional": True}}]}
    web.apply(replicas=1, container=reads)
    web.until_ready()
    assert not snapshots(web)
    [revision] = web.revisions()
    assert revision["spec"]["config"][0]["digest"] == "absent"
    assert read_by(web) == {revision["spec"]["config"][0]["snapshot"]}
    put(web, "here")
    web.until("it is read", lambda: snapshots(web) and says(web) == {"here"})


def test_pruned_revision_takes_its_snapshots_along(pinned: Service) -> None:
    pinned.apply(spec={"historyLimit": 1})
    seen = read_by(pinned)
    for mode in ("second", "third"):
        put(pinned, mode)
        pinned.until("it runs", lambda mode=mode: says(pinned) == {mode})  # type: ignore[misc]
        pinned.until_ready()
        seen |= read_by(pinned)
    assert len(seen) == 3
    pinned.until("the oldest record is dropped", lambda: len(pinned.revisions()) == 2)
    pinned.until("its copy is gone", lambda: len(snapshots(pinned)) == 2)


def test_snapshot_is_protected_and_deleted_with_its_service(
    pinned: Service,
) -> None:
    [copy] = read_by(pinned)
    refused = pinned.kubectl("delete", "configmap", copy, check=False)
    assert "is deleted with its revision and cannot be deleted by hand" in refused
    for words in (("label", "immutable.dev/service-"), ("annotate", "immutable.dev/digest=x")):
        verb, change = words
        refused = pinned.kubectl(verb, "configmap", copy, change, "--overwrite", check=False)
        assert "only the operator can write" in refused, refused
    pinned.kubectl("delete", "imsvc", "web")
    pinned.until_gone()
    pinned.until("its copies are gone", lambda: not snapshots(pinned))


def test_lost_snapshot_is_recreated(pinned: Service) -> None:
    """As after a crash between record and copy; and those that read the first one are replaced."""
    [copy] = read_by(pinned)
    before = names(pinned)
    born = time.time()
    pinned.until("it is some seconds older", lambda: time.time() - born > 2.5)
    with without_guards(pinned.plane):
        pinned.kubectl("delete", "configmap", copy)
        pinned.until("it is there again", lambda: copy in snapshots(pinned))
    pinned.until("all were replaced", lambda: not before & names(pinned))
    pinned.until_ready()
    assert says(pinned) == {"old"}
    assert len(pinned.revisions()) == 1


def test_lost_snapshot_with_changed_source_is_reported(pinned: Service, freeze: Json) -> None:
    [copy] = read_by(pinned)
    pinned.plane.kubectl("apply", "-f", "-", stdin=json.dumps(freeze))
    put(pinned, "new")
    pinned.until("it says that it is frozen", lambda: pinned.blocker("Frozen"))
    before = names(pinned)
    with without_guards(pinned.plane):
        pinned.kubectl("delete", "configmap", copy)
    told = pinned.until_stalled("SnapshotLost")
    assert f"ConfigMap {copy}, the copy of ConfigMap settings" in told["message"]
    assert names(pinned) == before
    put(pinned, "old")
    pinned.until("it is there again", lambda: copy in snapshots(pinned))


def test_foreign_config_map_with_snapshot_name_is_reported_and_left_alone(pinned: Service) -> None:
    body = pinned.get()
    digest = content_digest({"mode": "new"}, {})
    full = revision_hash(body["spec"]["template"], config={("ConfigMap", "settings"): digest})
    taken = snapshot_name(
        "web", body["metadata"]["uid"], revision_id(full, ()), ("ConfigMap", "settings")
    )
    put(pinned, "mine", taken)
    put(pinned, "new")
    pinned.until("it is told", lambda: pinned.blocker("ApiServer"))
    blocker = pinned.blocker("ApiServer")
    assert blocker
    assert f"ConfigMap {taken} exists but is not this revision's copy" in blocker["message"]
    assert says(pinned) == {"old"}
    pinned.kubectl("delete", "configmap", taken)
    pinned.until("the new content runs", lambda: says(pinned) == {"new"})


def test_existing_snapshot_is_reused_and_changed_source_is_not_copied(
    pinned: Service,
) -> None:
    """After a lost answer, or by a leader that was deposed meanwhile."""
    service = OwnerRecord.of(pinned.get())
    [body] = pinned.revisions()
    record = decode_revision(json.dumps(body).encode()).content
    action = CreateSnapshot(record.config[0], record)
    login = pinned.plane.service_account_kubeconfig(NAMESPACE, ACCOUNT)

    async def again() -> Seen:
        client = KubeClient(await load_configuration(login))
        configs = Configs(CONFIG_MAP, lambda kind, item, anew: None)
        secrets = PinnedSecrets(client, SecretOptions(), lambda uid: None)
        copies = CopyWriter(client, configs, secrets)
        try:
            return await Records(client, Children(lambda uid: None), copies).write(service, action)
        finally:
            await client.close()

    before = snapshots(pinned)
    asyncio.run(again())
    after = snapshots(pinned)[record.config[0].snapshot]
    assert after["metadata"]["uid"] == before[record.config[0].snapshot]["metadata"]["uid"]
    put(pinned, "new")
    with pytest.raises(Refused, match="settings was changed before it could be copied"):
        asyncio.run(again())


def test_unchanged_config_content_causes_no_write(pinned: Service) -> None:
    pinned.until_recorded()
    pinned.always("it is Ready", lambda: condition(pinned.get(), "Ready")["status"] == "True", 6)
    asked = OperatorRequests.from_now(pinned.plane, pinned.namespace)
    pinned.kubectl("annotate", "configmap", "settings", "note=looked-at")
    read = ("get", "configmaps")
    pinned.until("it was read again", lambda: read in {(r.verb, r.resource) for r in asked})
    time.sleep(2.0)  # what must not happen has this long
    assert asked.tally() == {}


def test_operator_restart_replaces_no_pod(pinned: Service, operators: Operators) -> None:
    before = names(pinned)
    asked = OperatorRequests.from_now(pinned.plane, pinned.namespace)
    operators.restart().until_leading()
    pinned.always("nothing moves", lambda: names(pinned) == before, 4)
    assert len(pinned.revisions()) == 1
    assert not [r for r in asked.writes() if r.resource == "configmaps"]


def test_tag_without_digest_is_refused_and_with_digest_is_ignored(web: Service) -> None:
    web.wish = web.wish.__class__(replicas=1, container={"image": "registry.example/web:1.0"})
    document = json.dumps(web.wish.manifest("web", web.namespace))
    done = web.plane.kubectl("apply", "-f", "-", stdin=document, check=False)
    assert done.returncode != 0
    assert "web" in done.stderr
    assert "digest" in done.stderr
    digest = pin("a").rpartition("@")[2]
    image = f"registry.example/web:1.0@{digest}"
    web.apply(container={"image": image})
    web.until_ready()
    before = names(web)
    born = time.time()
    web.until("it is a second older", lambda: time.time() - born > 1.2)
    act(web, "again")
    web.until("it was replaced", lambda: not before & names(web))
    web.until_ready()
    assert web.images() == [image], "whatever the tag means by now"
    [revision] = web.revisions()
    assert digest in json.dumps(revision["spec"]["template"])
