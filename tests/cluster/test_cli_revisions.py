"""`kubectl immutable history, diff, undo, retry, resume`, as people run them."""

from __future__ import annotations

import functools
import json
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from tests.cluster.operator_process import OperatorProcess, Operators
from tests.cluster.plugin import run, start, told
from tests.cluster.services import KIND_PATH, Service, pin
from tests.controlplane import ControlPlane
from tests.waiting import wait_for

READS = {"envFrom": [{"configMapRef": {"name": "settings"}}]}
CRASHES = {"fault": "crash-loop"}


def ids(web: Service) -> list[str]:
    return [revision["spec"]["revision"] for revision in web.revisions()]


# Each that takes the name of a service; those that also take a pod are in test_cli_lineage.py.
VERBS = (
    *("get", "status", "history", "diff"),
    *("undo", "retry", "promote", "abort", "suspend", "resume", "regenerate"),
)


@pytest.fixture(scope="module")
def steady(
    control_plane: ControlPlane, running_operators: Operators, module_namespace: str
) -> Service:
    """A service with three good revisions; the second one has only another ConfigMap. It is read,
    and stays as it is."""
    running_operators.main.until_leading()
    web = Service(control_plane, module_namespace, "steady")
    web.kubectl("create", "configmap", "settings", "--from-literal=mode=old")
    web.apply(image="a", replicas=1, container=READS)
    web.until_ready()
    settings = f"/api/v1/namespaces/{web.namespace}/configmaps/settings"
    control_plane.api().merge_patch(settings, {"data": {"mode": "new"}})
    web.until("the change is recorded", lambda: len(web.revisions()) == 2)
    web.until_ready()
    web.apply(image="b")
    web.until_ready()
    return web


@pytest.fixture(scope="module")
def failed(
    control_plane: ControlPlane, running_operators: Operators, module_namespace: str
) -> Service:
    """A service whose second revision crashes, so that the first one runs again."""
    running_operators.main.until_leading()
    web = Service(control_plane, module_namespace, "failed")
    web.apply(image="a", replicas=2)
    web.until_ready()
    web.apply(image="b", sim=CRASHES)
    web.until_stalled("RolledBack")
    web.until("the first one runs", lambda: web.images() == [pin("a")] * 2)
    return web


@pytest.fixture
def two_good(web: Service) -> Service:
    """A service with two good revisions, of which the second one runs."""
    web.apply(image="a", replicas=2)
    web.until_ready()
    web.apply(image="b")
    web.until_ready()
    return web


def test_history_shows_outcome_and_marks_what_runs_and_what_is_asked_for(failed: Service) -> None:
    first, second = ids(failed)
    done = run(failed, "history", "failed")
    assert done.code == 0, done.err
    one, two = done.table
    assert (one["NUMBER"], one["REVISION"], one["PHASE"]) == ("1", first, "Good")
    assert (one["RUNS"], one["ASKED"], one["REASON"]) == ("2", "-", "Created")
    assert one["OUTCOME"].startswith("2 instances in ")
    assert (two["NUMBER"], two["REVISION"], two["PHASE"]) == ("2", second, "Failed")
    assert (two["RUNS"], two["ASKED"], two["REASON"]) == ("0", "*", "TemplateChanged")
    assert two["OUTCOME"].startswith("CrashLoop: failed-im")
    assert two["OUTCOME"].endswith(f"; went back to revision 1 ({first})")
    assert two["BY"] == "kubectl-client-side-apply"


def test_history_prints_records_for_programs(steady: Service) -> None:
    revisions = steady.revisions()
    names = [f"immutablerevision.immutable.dev/{r['metadata']['name']}" for r in revisions]
    listed = run(steady, "history", "steady", "-o", "name")
    assert listed.out.splitlines() == names
    assert steady.kubectl("get", *names, "-o", "name") == listed.out
    items = json.loads(run(steady, "history", "steady", "-o", "json").out)["items"]
    assert [item["spec"] for item in items] == [r["spec"] for r in revisions]
    assert not any("managedFields" in item["metadata"] for item in items)
    assert f"name: {revisions[0]['metadata']['name']}" in (
        run(steady, "history", "steady", "-o", "yaml").out
    )
    rows = run(steady, "history", "steady", "-o", "wide").table
    assert [row["CONFIG"] for row in rows] == ["ConfigMap/settings"] * 3
    assert [row["REASON"] for row in rows] == ["Created", "ConfigChanged", "TemplateChanged"]


def test_diff_shows_what_failed_against_what_runs(failed: Service) -> None:
    first, second = ids(failed)
    done = run(failed, "diff", "failed")
    assert done.code == 1, done.err
    lines = done.out.splitlines()
    assert lines[0] == f"--- revision 1 ({first}) of service failed: Good"
    assert lines[1] == f"+++ revision 2 ({second}) of service failed: Failed, CrashLoop"
    at = lines.index("@@ -1 +1 @@ template.spec.containers[web].image")
    assert lines[at + 1 : at + 3] == [f"-{pin('a')}", f"+{pin('b')}"]


def test_diff_compares_config_maps_by_their_copies(steady: Service) -> None:
    done = run(steady, "diff", "steady", "1", ids(steady)[1])
    assert done.code == 1, done.err
    assert done.out.splitlines()[2:] == ["@@ -1 +1 @@ ConfigMap settings: mode", "-old", "+new"]


def test_diff_prints_changes_for_programs(steady: Service) -> None:
    done = run(steady, "diff", "steady", "1", "2", "-o", "json")
    assert done.code == 1, done.err
    [change] = json.loads(done.out)["changes"]
    assert change == {"where": "ConfigMap settings: mode", "old": ["old"], "new": ["new"]}
    same = run(steady, "diff", "steady", "1", "1", "-o", "yaml")
    assert (same.code, yaml.safe_load(same.out)["changes"]) == (0, [])


def test_diff_without_difference_exits_with_0(steady: Service) -> None:
    same = run(steady, "diff", "steady", "1", "1")
    assert (same.code, same.out) == (0, "")
    current = run(steady, "diff", "steady", "2")
    assert current.code == 1, "the second one with what the spec asks for"


def test_diff_includes_a_spec_that_is_not_recorded(web: Service) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    web.apply(image="b", spec={"suspend": True})
    done = run(web, "diff", "web")
    assert done.code == 1, done.err
    assert "+++ the spec of service web, not on record" in done.out
    assert f"+{pin('b')}" in done.out
    history = run(web, "history", "web")
    assert history.err.startswith("what the spec asks for is not on record: ")


def test_undo_goes_back_and_resume_ends_it(two_good: Service) -> None:
    first, second = ids(two_good)
    undone = run(two_good, "undo", "web", "--reason=too slow", "--wait", "--timeout=100")
    assert undone.code == 0, undone.err
    assert undone.out.startswith("immutableaction.immutable.dev/web-rollback-")
    assert f"Succeeded: revision 1 ({first}) runs" in undone.err
    assert two_good.images() == [pin("a")] * 2
    one, two = run(two_good, "history", "web").table
    assert (one["RUNS"], two["RUNS"], two["ASKED"], two["PHASE"]) == ("2", "0", "*", "Failed")
    assert two["OUTCOME"].startswith("rejected by ")
    assert ": too slow; went back to revision 1 " in two["OUTCOME"]
    resumed = run(two_good, "resume", "web", "--wait", "--timeout=100")
    assert resumed.code == 0, resumed.err
    assert f"Succeeded: revision 2 ({second}) runs" in resumed.err
    assert two_good.images() == [pin("b")] * 2


def test_undo_accepts_a_number(two_good: Service) -> None:
    accepted = run(two_good, "undo", "web", "--to=1")
    assert accepted.code == 0, accepted.err
    two_good.until("the first one runs", lambda: two_good.images() == [pin("a")] * 2)


def test_undo_refuses_other_revisions_with_those_that_there_are(
    steady: Service, failed: Service
) -> None:
    first, second, third = ids(steady)
    wrong = run(steady, "undo", "steady", "--to=7")
    assert (wrong.code, wrong.err) == (
        2,
        f"error: revision 7 is not on record; on record are: 1 ({first}), 2 ({second}),"
        f" 3 ({third})\n",
    )
    itself = run(steady, "undo", "steady", "--to=3")
    assert itself.code == 1, "the operator answers before the command ends"
    assert "is the one that the spec asks for" in itself.err
    good, bad = ids(failed)
    done = run(failed, "undo", "failed", f"--to={bad}")
    assert done.code == 2
    assert f"is Failed; specify one of the good ones: 1 ({good})\n" in done.err


def test_retry_succeeds_once_the_cause_is_gone(web: Service) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    until = datetime.now(UTC) + timedelta(seconds=30)
    web.apply(image="b", sim={**CRASHES, "fault-until": f"{until:%Y-%m-%dT%H:%M:%SZ}"})
    web.until_stalled("RolledBack")
    web.until("the cause is gone", lambda: time.time() > until.timestamp() + 1)
    done = run(web, "retry", "web", "--wait", "--timeout=100")
    assert done.code == 0, done.err
    assert web.images() == [pin("b")]


def test_retry_reports_that_it_failed_again(failed: Service) -> None:
    done = run(failed, "retry", "failed", "--wait", "--timeout=100")
    assert done.code == 1, done.err
    assert "failed again: CrashLoop: " in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("verb", ["retry", "resume"])
def test_retry_and_resume_without_a_cause_say_so(steady: Service, verb: str) -> None:
    done = run(steady, verb, "steady")
    assert done.code == 1, done.err
    assert f"is Good, so there is nothing to {verb}" in done.err


@pytest.mark.parametrize("verb", VERBS)
def test_wrong_name_is_one_sentence(steady: Service, verb: str) -> None:
    done = run(steady, verb, "nothing")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: there is no ImmutableService nothing in namespace"
        f" {steady.namespace}; list all with: kubectl get imsvc -A\n"
    )


def test_node_pools_that_are_not_enabled_are_one_sentence(steady: Service) -> None:
    done = run(steady, "history", "workers", "--pool")
    assert done.code == 2
    assert done.err.startswith("error: there is no ImmutableNodePool workers; ")


def test_role_view_reads_and_only_edit_acts(two_good: Service) -> None:
    web = two_good
    stranger = run(web, "history", "web", actor="mallory")
    assert stranger.code == 2
    assert stranger.err.startswith("error: permission denied: ")
    assert stranger.err.endswith("; ask for the role view in this namespace\n")
    web.plane.grant("victor", web.namespace, "view")
    web.plane.grant("edith", web.namespace, "edit")
    path = f"{KIND_PATH}/{web.namespace}/immutablerevisions"
    for api in (web.plane.api("victor"), web.plane.api("edith")):
        wait_for("the role is in force", functools.partial(api.get, path))
    first, second = run(web, "history", "web", actor="victor").table
    assert (first["RUNS"], second["RUNS"], second["ASKED"]) == ("0", "2", "*")
    assert run(web, "diff", "web", "1", actor="victor").code == 1
    refused = run(web, "undo", "web", actor="victor")
    assert refused.code == 2
    assert refused.err.endswith("; ask for the role edit in this namespace\n")
    assert len(refused.err.splitlines()) == 1
    undone = run(web, "undo", "web", "--wait", "--timeout=100", actor="edith")
    assert undone.code == 0, undone.err
    assert "rejected by edith" in run(web, "history", "web", actor="edith").out


def test_role_view_reads_the_copies_of_config_maps(steady: Service) -> None:
    steady.plane.grant("vera", steady.namespace, "view")
    path = f"{KIND_PATH}/{steady.namespace}/immutablerevisions"
    wait_for("the role is in force", lambda: steady.plane.api("vera").get(path))
    done = run(steady, "diff", "steady", "1", "2", actor="vera")
    assert (done.code, done.err) == (1, "")
    assert "-old" in done.out.splitlines()


def test_interrupt_and_missing_operator_are_one_sentence(
    two_good: Service, operator: OperatorProcess
) -> None:
    operator.stop()
    late = run(two_good, "undo", "web", "--wait", "--timeout=2")
    assert late.code == 1
    assert "error: no operator has processed the action within 2 s; " in late.err
    waiting = start(two_good.plane, "undo", "web", f"-n={two_good.namespace}", "--wait")
    assert waiting.stdout is not None
    assert waiting.stdout.readline().endswith(" created\n")
    waiting.send_signal(signal.SIGINT)
    done = told(waiting)
    assert done.code == 130, done.err
    last = done.err.splitlines()[-1]
    assert last.startswith("interrupted; the action continues, see its progress: kubectl get imact")
    assert "Traceback" not in done.err
