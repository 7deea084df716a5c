"""An upgrade of the operator on a real API server: what an older one left behind goes on as it is.

The objects are those of `tests/simulation/test_upgrade.py`, where rollouts that were under way are
looked at, too. Here are services at rest, with pods that run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from tests.cluster.audit import OperatorRequests, until_quiet
from tests.cluster.earlier_rules import before_the_rules
from tests.cluster.guards import without_guards
from tests.cluster.history import Change, History
from tests.cluster.left_behind import put_left_behind
from tests.cluster.operator_process import Operators
from tests.cluster.services import Service, condition, is_ready, names, pin
from tests.controlplane import ControlPlane
from tests.waiting import wait_for

# The last commit before revisions could fail; its hash is v3.
VERSION = "2b2141d"
AT_REST = (
    *("plain", "counted", "pinned", "repinned", "reads-secret", "zero", "aged", "protected"),
    *("disks", "back", "scaled", "quarantined"),
)
READS = {
    "envFrom": [{"configMapRef": {"name": "settings"}}],
    "volumeMounts": [{"name": "files", "mountPath": "/etc/web"}],
}
FILES = {"volumes": [{"name": "files", "configMap": {"name": "files"}}]}
VERDICTS = "patch immutablerevisions/status"


@dataclass(frozen=True)
class Upgrade:
    """What the present operator did with what it found."""

    services: Mapping[str, Service]
    found: Mapping[str, str]
    writes: Counter[str]
    moved: tuple[Change, ...]


def objects(services: Mapping[str, Service]) -> dict[str, str]:
    """The version of each pod and each record by its uid."""
    found = [item for s in services.values() for item in (*s.pods(), *s.revisions())]
    return {item["metadata"]["uid"]: item["metadata"]["resourceVersion"] for item in found}


@pytest.fixture(scope="module")
def upgraded(
    control_plane: ControlPlane, running_operators: Operators, module_namespace: str
) -> Upgrade:
    """The objects of the older version, its pods Ready, and the present operator at rest."""
    running_operators.main.until_leading().stop()
    with without_guards(control_plane), before_the_rules(control_plane):
        put_left_behind(control_plane, module_namespace, VERSION, AT_REST)
    services = {name: Service(control_plane, module_namespace, name) for name in AT_REST}
    pods = [pod for service in services.values() for pod in service.pods()]
    assert len(pods) > len(AT_REST)
    wait_for("all pods run", lambda: all(is_ready(p) for s in services.values() for p in s.pods()))
    found = objects(services)
    asked = OperatorRequests.from_now(control_plane, module_namespace)
    with History(services["plain"]) as history:
        running_operators.restart().until_leading()
        wait_for(
            "each service has a status of this version",
            lambda: all(condition(s.get(), "Available") for s in services.values()),
        )
        until_quiet(asked)
    moved = (*history.births(), *history.retirements())
    return Upgrade(services, found, asked.tally(), moved)


def test_upgrade_creates_evicts_and_deletes_nothing(
    upgraded: Upgrade, operators: Operators
) -> None:
    """Each service gets its status in the form of this version and the record of its lineage."""
    assert upgraded.moved == ()
    writes = Counter(upgraded.writes)
    assert writes.pop("patch immutableservices/status") == len(AT_REST)
    with_pods = [name for name, service in upgraded.services.items() if service.pods()]
    assert writes.pop("create immutablelineages") == len(with_pods)
    assert writes == {"create events": 1}, "disks uses its node, and is told so"
    assert objects(upgraded.services) == upgraded.found
    for name, service in upgraded.services.items():
        body = service.get()
        assert condition(body, "Ready")["status"] == "True", name
        assert condition(body, "AdmissionChanged") == {}, name
        assert body["status"].get("failedRevisions") is None, name
        assert all(r["spec"]["hash"].startswith("v3:") for r in service.revisions())
    assert condition(upgraded.services["disks"].get(), "NotStateless")["status"] == "True"
    assert upgraded.services["quarantined"].status()["quarantinedReplicas"] == 1


def test_lost_pod_is_recreated_as_the_older_version_created_it(
    upgraded: Upgrade, operators: Operators
) -> None:
    """From the record of the older version, although new records have another hash."""
    scaled = upgraded.services["scaled"]
    with History(scaled) as history:
        lost = min(names(scaled))
        scaled.kubectl("delete", "pod", lost, "--wait=false")
        scaled.until("it is replaced", lambda: lost not in names(scaled))
        scaled.until("all work", lambda: sum(map(is_ready, scaled.active())) == 3)
    assert (len(history.births()), len(history.retirements())) == (1, 1), history.story()
    contexts = [p["spec"]["containers"][0].get("securityContext") for p in scaled.active()]
    assert contexts == [None] * 3
    assert len(scaled.revisions()) == 1


@pytest.mark.parametrize("name", ["plain", "pinned"])
def test_next_template_is_an_ordinary_rollout(
    upgraded: Upgrade, operators: Operators, name: str
) -> None:
    service = upgraded.services[name]
    count = len(service.revisions())
    before = names(service)
    asked = OperatorRequests.from_now(service.plane, service.namespace)
    reads = {"container": READS, "pod": FILES} if name == "pinned" else {}
    service.apply(image="b", replicas=3, **reads)
    service.until_ready()
    service.until("the old ones are gone", lambda: len(service.pods()) == 3)
    until_quiet(asked)
    writes = asked.tally()
    assert not names(service) & before
    assert service.images() == [pin("b")] * 3
    assert (writes["create pods"], writes["create pods/eviction"]) == (3, 3), writes
    assert writes["create immutablerevisions"] == 1
    assert writes["create configmaps"] == (2 if name == "pinned" else 0)
    assert writes[VERDICTS] == 2, "Progressing and Good"
    assert not [what for what in writes if what.startswith("delete")], writes
    *old, new = service.revisions()
    assert len(old) == count
    assert new["spec"]["hash"].startswith("v4:")
    [container] = new["spec"]["template"]["spec"]["containers"]
    assert container["securityContext"] == {"readOnlyRootFilesystem": True}


def test_next_template_that_fails_goes_back_to_what_the_older_version_recorded(
    upgraded: Upgrade, operators: Operators
) -> None:
    back = upgraded.services["back"]
    before = names(back)
    with History(back) as history:
        back.apply(image="broken", replicas=3, sim={"fault": "crash-loop"})
        back.until_stalled("RolledBack")
        back.until("it is restored", lambda: names(back) == before)
    assert (len(history.births()), len(history.retirements())) == (1, 1), history.story()
    good, *_, failed = back.revisions()
    assert failed["status"]["fallback"] == good["spec"]["revision"]
    assert good["spec"]["hash"].startswith("v3:")
    # Git goes back to what ran before the upgrade: it ends without a move.
    with History(back) as history:
        back.apply(image="a", sim={})
        back.until_ready()
    assert (history.births(), history.retirements()) == ([], []), history.story()
