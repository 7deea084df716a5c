"""`kubectl immutable lineage` and `why`, as people run them."""

from __future__ import annotations

import functools
import json

import pytest

from tests.cluster.operator_process import Operators
from tests.cluster.plugin import run
from tests.cluster.services import KIND_PATH, Service, names, pin
from tests.controlplane import ControlPlane
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def replaced(
    control_plane: ControlPlane, running_operators: Operators, module_namespace: str
) -> tuple[Service, str]:
    """A service whose one pod was replaced, and the name of the pod that is gone."""
    running_operators.main.until_leading()
    web = Service(control_plane, module_namespace, "replaced")
    web.apply(image="a", replicas=1)
    web.until_ready()
    [before] = names(web)
    web.apply(image="b")
    web.until_ready()
    web.until("the old one is gone", lambda: len(web.pods()) == 1)
    web.until_recorded()
    return web, before


def test_lineage_shows_successors_even_of_pods_that_are_gone(
    replaced: tuple[Service, str],
) -> None:
    web, before = replaced
    [now] = names(web)
    for asked in ("replaced", before, now):
        done = run(web, "lineage", asked)
        assert (done.code, done.err) == (0, "")
        first, second = done.table
        assert (first["INSTANCE"], second["INSTANCE"]) == (before, f"└ {now}")
        assert (first["RETIRED"] == "-", second["RETIRED"]) == (False, "-")
        assert first["BECAUSE"].startswith("Created: ")
        assert second["BECAUSE"].startswith("Outdated: ")
        assert second["BY"] == "kubectl-client-side-apply"


def test_lineage_is_printed_for_programs(replaced: tuple[Service, str]) -> None:
    web, before = replaced
    found = json.loads(run(web, "lineage", "replaced", "-o", "json").out)
    assert (found["service"], found["namespace"]) == ("replaced", web.namespace)
    one, two = found["instances"]
    assert (one["name"], one["exists"]) == (before, False)
    assert (two["replaces"], two["replacesUid"], two["exists"]) == (before, one["uid"], True)


def test_lineage_shows_a_pod_before_it_is_on_record(web: Service) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    [row] = run(web, "lineage", "web").table
    assert [row["INSTANCE"]] == list(names(web))


def test_why_says_that_there_is_nothing_to_do(replaced: tuple[Service, str]) -> None:
    web, _ = replaced
    done = run(web, "why", "replaced")
    assert done.code == 0, done.err
    first, *_, last = done.out.splitlines()
    assert first.startswith(f"service replaced in namespace {web.namespace} is Ready since ")
    assert last == "There is nothing to do."


def test_why_of_a_pod_that_is_gone_says_why_it_went(replaced: tuple[Service, str]) -> None:
    web, before = replaced
    [now] = names(web)
    gone = run(web, "why", before)
    assert gone.code == 0, gone.err
    assert gone.out.startswith(f"{before} was an instance of service replaced ")
    assert ", reason Outdated: " in gone.out
    assert gone.out.endswith(f"Its successor is {now}.\n")
    assert f"Before it: {before}.\n" in run(web, "why", now).out


def test_why_of_a_rollout_that_is_stuck_names_pod_and_cause(web: Service) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    web.apply(image="b", sim={"fault": "crash-loop"})
    web.until_stalled("RolledBack")
    told = run(web, "why", "web").out
    assert "is Stalled since " in told
    assert "CrashLoop" in told
    assert told.endswith(": kubectl immutable retry web\n")
    assert web.images() == [pin("a")]


@pytest.mark.parametrize("verb", ["lineage", "why"])
def test_wrong_name_is_one_sentence(replaced: tuple[Service, str], verb: str) -> None:
    web, _ = replaced
    done = run(web, verb, "nothing")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: there is no ImmutableService nothing in namespace ")
    pod = run(web, verb, "replaced-im00000000-zzzzz")
    assert (pod.code, pod.out) == (2, "")
    assert pod.err.startswith("error: replaced-im00000000-zzzzz does not exist, and is not among")
    assert len(pod.err.splitlines()) == 1


@pytest.mark.parametrize("verb", ["lineage", "why"])
def test_role_view_suffices(replaced: tuple[Service, str], verb: str) -> None:
    web, before = replaced
    person = f"victor-{verb}"
    stranger = run(web, verb, "replaced", actor=person)
    assert stranger.code == 2
    assert stranger.err.endswith("; ask for the role view in this namespace\n")
    web.plane.grant(person, web.namespace, "view")
    path = f"{KIND_PATH}/{web.namespace}/immutablelineages"
    wait_for("the role is in force", functools.partial(web.plane.api(person).get, path))
    done = run(web, verb, before, actor=person)
    assert (done.code, done.err) == (0, "")
