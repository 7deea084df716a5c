"""The record of which pod replaced which: it outlives the pods, and the operator."""

from __future__ import annotations

from tests.cluster.actions import act, phase
from tests.cluster.audit import OperatorRequests
from tests.cluster.operator_process import Operators
from tests.cluster.services import Service, annotation, names
from tests.controlplane.api import Json


def by_name(entries: list[Json]) -> dict[str, Json]:
    found = {entry["name"]: entry for entry in entries}
    assert len(found) == len(entries), "an instance is on record once"
    return found


def test_record_has_successor_time_and_reason(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    first = names(web)
    web.apply(image="b")
    web.until_ready()
    second = web.pods()
    found = by_name(web.until_recorded())
    assert found.keys() >= first | names(web)
    for pod in second:
        entry = found[pod["metadata"]["name"]]
        before = found[entry["replaces"]]
        assert entry["replaces"] == annotation(pod, "replaces")
        assert entry["because"].startswith("Outdated: ")
        assert (entry["slot"], entry["by"]) == (before["slot"], "kubectl-client-side-apply")
        assert entry["revision"] == web.revision() != before["revision"]
        assert before["retired"] >= before["born"]
        assert before["retiredBecause"].startswith("Outdated: ")
    assert {entry["because"].partition(":")[0] for entry in found.values()} == {
        "Created",
        "Outdated",
    }


def test_record_names_the_user_of_an_action(web: Service) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    web.until_recorded()
    act(web, "again")  # in a later second than the pod, or it is no older than the action
    web.until("it is done", lambda: phase(web, "again") == "Succeeded")
    *_, last = web.until_recorded()
    assert last["because"].startswith("Requested: ")
    assert last["by"] == web.kubectl("get", "imact", "again", "-o", "jsonpath={.spec.actor}")


def test_scaling_down_is_recorded(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    web.until_recorded()
    web.apply(replicas=1)
    web.until("one is left", lambda: len(web.pods()) == 1)
    gone = [e for e in web.until_recorded() if "retired" in e]
    assert [e["retiredBecause"].partition(":")[0] for e in gone] == ["Scaled"]


def test_restart_of_the_operator_continues_the_record(web: Service, operators: Operators) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    before = by_name(web.until_recorded())
    operators.main.kill()
    operators.free_lease()
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    operators.restart().until_leading()
    web.until("it is compared", lambda: any(r.resource == "immutablelineages" for r in asked))
    assert "patch immutablelineages" not in asked.tally(), "nothing is new"
    web.apply(image="b")
    web.until("it grows", lambda: len(web.revisions()) == 2)
    operators.main.kill()
    operators.free_lease()
    operators.restart().until_leading()
    web.until_ready()
    after = by_name(web.until_recorded())
    assert len(after) == 4
    assert {name: entry["born"] for name, entry in before.items()}.items() <= {
        name: entry["born"] for name, entry in after.items()
    }.items()
    for pod in web.active():
        assert after[pod["metadata"]["name"]]["replaces"] in before


def test_record_goes_with_its_service(web: Service) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    web.until_recorded()
    web.kubectl("delete", "imsvc", "web", "--wait=false")
    web.until_gone()
    web.until("its lineage is gone", lambda: web.lineage() == [])
