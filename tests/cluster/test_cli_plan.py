"""`kubectl immutable plan`: what it foretells comes true, and it writes nothing."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.audit import OperatorRequests
from tests.cluster.operator_process import Operators
from tests.cluster.plugin import Told, run
from tests.cluster.services import KIND_PATH, Service, names, pin
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.audit import WRITING_VERBS
from tests.waiting import wait_for

READS = {"envFrom": [{"configMapRef": {"name": "settings"}}]}
WRITTEN = ("immutableservices", "immutablerevisions", "immutableactions", "immutablelineages")


@pytest.fixture(scope="module")
def steady(
    control_plane: ControlPlane, running_operators: Operators, module_namespace: str
) -> Service:
    """A service of two pods with a ConfigMap and a variable; it stays as it is."""
    running_operators.main.until_leading()
    web = Service(control_plane, module_namespace, "steady")
    web.kubectl("create", "configmap", "settings", "--from-literal=mode=old")
    container = {**READS, "env": [{"name": "LOG", "value": "debug"}]}
    web.apply(image="a", replicas=2, container=container)
    web.until_ready()
    web.until_recorded()
    return web


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "service.yaml"


def planned(web: Service, file: Path, *args: str, actor: str = "admin", **changes: Any) -> Told:
    """Run ``plan`` with the manifest of the service and these changes."""
    wish = replace(web.wish, **changes)
    file.write_text(json.dumps(wish.manifest(web.name, web.namespace)))
    return run(web, "plan", f"--filename={file}", *args, actor=actor)


def foretold(web: Service, file: Path, **changes: Any) -> Json:
    """As `planned`, in JSON, if something would change."""
    done = planned(web, file, "-o=json", **changes)
    assert done.code == 1, done.err
    [found] = json.loads(done.out)
    return dict(found)


def versions(web: Service) -> dict[str, str]:
    """The resource versions of all that is in the namespace and could be written."""
    space = web.namespace
    paths = [f"{KIND_PATH}/{space}/{kind}" for kind in WRITTEN]
    paths += [f"/api/v1/namespaces/{space}/{kind}" for kind in ("pods", "configmaps", "events")]
    found = {}
    for path in paths:
        for item in web.plane.api().get(path)["items"]:
            meta = item["metadata"]
            found[meta["uid"]] = meta["resourceVersion"]
    return found


def test_plan_names_the_pods_that_the_operator_then_creates(web: Service, file: Path) -> None:
    web.apply(image="a", replicas=3, rollout={"maxSurge": 1})
    web.until_ready()
    old = names(web)
    told = foretold(web, file, image="b")
    assert told["revision"] == {
        "id": told["revision"]["id"],
        "number": 2,
        "reason": "TemplateChanged",
        "isNew": True,
    }
    assert told["available"] == {"now": 3, "least": 3, "desired": 3}
    assert told["mostInstances"] == 4
    assert told["holds"] == []
    gone = [s["name"] for s in told["steps"] if s["move"] == "retire"]
    born = [s["name"] for s in told["steps"] if s["move"] == "create"]
    assert set(gone) == old
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    web.apply(image="b")
    web.until_ready()
    assert web.revision() == told["revision"]["id"]
    assert names(web) == set(born)
    evicted = [r.name for r in asked if r.target == "pods/eviction" and r.code < 300]
    assert evicted == gone


def test_plan_writes_nothing(steady: Service, file: Path) -> None:
    before, mark = versions(steady), steady.plane.audit().mark()
    assert planned(steady, file, image="b").code == 1
    assert planned(steady, file, replicas=5).code == 1
    assert planned(steady, file, image="b", actor="nobody-special").code == 2
    assert versions(steady) == before
    records = steady.plane.audit().since(mark)
    writes = [r for r in records if r.verb in WRITING_VERBS and r.namespace == steady.namespace]
    assert [r for r in writes if r.user.startswith("admin")]
    assert [r.uri for r in writes if "dryRun=All" not in r.uri] == []


def test_plan_of_the_same_file_changes_nothing(steady: Service, file: Path) -> None:
    done = planned(steady, file)
    assert (done.code, done.err) == (0, ""), done.out
    first, last = done.out.splitlines()
    assert first.startswith("service steady: no new revision; it stays at revision 1 (")
    assert last == "nothing would change"


def test_plan_shows_the_difference_order_and_duration(steady: Service, file: Path) -> None:
    done = planned(steady, file, image="b", rollout={"maxSurge": 1})
    assert (done.code, done.err) == (1, ""), done.out
    assert done.out.startswith("service steady: revision 2 (")
    assert f"+{pin('b')}\n" in done.out
    assert "template.spec.containers[web].image" in done.out
    table = Told(0, done.out.split("\n\n")[1], "").table
    assert {row["GOES"] for row in table} == names(steady)
    assert table[0]["CREATED"] == "+0s"
    assert "2 created, 2 retired; at least 2 of 2 pods available (2 now), at most 3" in done.out
    assert "after its creation, as observed" in done.out


def test_plan_notices_a_field_that_the_file_has_no_longer(steady: Service, file: Path) -> None:
    done = planned(steady, file, container=READS)
    assert done.code == 1, done.err
    assert "template.spec.containers[web].env" in done.out
    assert "-- name: LOG" in done.out


def test_plan_counts_configmaps_of_the_file(steady: Service, file: Path) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": steady.namespace},
        "data": {"mode": "new"},
    }
    manifest = steady.wish.manifest("steady", steady.namespace)
    other = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    file.write_text("\n---\n".join(json.dumps(d) for d in (config, manifest, other)))
    done = run(steady, "plan", "-f", str(file))
    assert done.code == 1, done.err
    assert (
        done.err == "ignored: Service web; plan looks at services, node pools and ConfigMaps only\n"
    )
    assert "ConfigChanged" in done.out
    assert "ConfigMap settings: mode" in done.out


def test_plan_of_a_new_service_creates_it(steady: Service, file: Path) -> None:
    fresh = Service(steady.plane, steady.namespace, "fresh")
    fresh.wish = replace(fresh.wish, replicas=2)
    done = planned(fresh, file)
    assert done.code == 1, done.err
    assert done.out.startswith("service fresh does not exist: it would be created, with revision 1")
    assert "2 created, 0 retired" in done.out


def test_plan_says_which_freeze_holds_and_until_when(web: Service, file: Path) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    run(web, "freeze", "--until=2126-12-27T06:00:00Z", "--reason=closing")
    try:
        told = foretold(web, file, image="b")
        [hold] = told["holds"]
        assert hold["reason"] == "Frozen"
        assert "closing" in hold["message"]
        assert told["revision"]["isNew"]
        assert told["steps"] == []
    finally:
        run(web, "unfreeze")


def test_plan_says_which_budget_holds(web: Service, file: Path) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    web.kubectl("create", "pdb", "strict", "--selector=app=web", "--min-available=3")

    def judged() -> bool:
        path = f"/apis/policy/v1/namespaces/{web.namespace}/poddisruptionbudgets/strict"
        return bool(web.plane.api().get(path).get("status", {}).get("desiredHealthy"))

    web.until("the budget is judged", judged)
    told = foretold(web, file, image="b")
    assert told["seconds"] is None
    assert "PodDisruptionBudget strict needs 3" in json.dumps(told["holds"])


def test_plan_refuses_what_the_api_server_would_refuse(steady: Service, file: Path) -> None:
    body = steady.wish.manifest("steady", steady.namespace)
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "web:latest"
    file.write_text(json.dumps(body))
    applied = steady.kubectl("apply", "-f", str(file), check=False)
    done = run(steady, "plan", "-f", str(file))
    assert done.code == 2
    assert done.out == ""
    said = done.err.partition("would be refused: ")[2].strip()
    assert said
    assert said.partition("spec.")[2][:60] in applied


def test_plan_of_a_reader_is_made_without_a_dry_run_and_says_so(
    steady: Service, file: Path
) -> None:
    plane = steady.plane
    plane.grant("rita", steady.namespace, "view")
    path = f"{KIND_PATH}/{steady.namespace}/immutablelineages"
    wait_for("the role is in force", functools.partial(plane.api("rita").get, path))
    done = planned(steady, file, image="b", actor="rita")
    assert done.code == 1, done.err
    assert "the API server was not asked" in done.err
    assert "2 created, 2 retired" in done.out
    expected = foretold(steady, file, image="b")
    assert expected["revision"]["id"] in done.out


def test_plan_follows_the_manager_of_server_side_apply(web: Service, file: Path) -> None:
    web.wish = replace(web.wish, replicas=1, container={"env": [{"name": "A", "value": "1"}]})
    file.write_text(json.dumps(web.wish.manifest("web", web.namespace)))
    web.kubectl("apply", "--server-side", "--field-manager=flux", "-f", str(file))
    web.until_ready()
    assert planned(web, file).code == 0
    done = planned(web, file, container={})
    assert done.code == 1, done.err
    assert "template.spec.containers[web].env" in done.out
