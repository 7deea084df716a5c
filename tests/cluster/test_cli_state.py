"""`kubectl immutable get, status, events, suspend, resume, freeze, check, version`, as people run
them."""

from __future__ import annotations

import functools
import json
import signal
from collections.abc import Iterator

import pytest
import yaml

from immutable_operator.cli.check import NO_DEPLOYMENT
from immutable_operator.cli.version import plugin_version
from tests.cluster.operator_process import OperatorProcess, Operators
from tests.cluster.plugin import Told, run, start, told
from tests.cluster.services import KIND_PATH, Service, condition, names, pin
from tests.controlplane import ControlPlane
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def steady(
    control_plane: ControlPlane, running_operators: Operators, module_namespace: str
) -> Service:
    """A service of two pods that is ready and stays as it is."""
    running_operators.main.until_leading()
    web = Service(control_plane, module_namespace, "steady")
    web.apply(image="a", replicas=2)
    web.until_ready()
    return web


@pytest.fixture
def frozen(web: Service) -> Iterator[Service]:
    """A service whose namespace is frozen by the plug-in."""
    web.apply(image="a", replicas=1)
    web.until_ready()
    done = run(web, "freeze", "--for=1h", "--reason=closing")
    assert done.code == 0, done.err
    yield web
    run(web, "unfreeze")


def test_get_shows_each_pod_with_its_slot_and_reason(steady: Service) -> None:
    done = run(steady, "get", "steady")
    assert (done.code, done.err) == (0, "")
    first, second, third, empty, *_ = done.out.splitlines()
    assert first.startswith("service steady: Ready since ")
    assert second.startswith(f"revision 1 ({steady.revision()}): Created, by kubectl-client-side")
    assert (third, empty) == ("2 desired, 2 current, 2 ready, 2 available, 0 stale", "")
    rows = Told(0, done.out.split("\n\n")[1], "").table
    assert [row["SLOT"] for row in rows] == ["0", "1"]
    assert {row["POD"] for row in rows} == names(steady)
    assert {row["STATE"] for row in rows} == {"Ready"}


def test_get_lists_services(steady: Service) -> None:
    [here] = run(steady, "get").table
    assert (here["NAME"], here["STATUS"], here["READY"]) == ("steady", "Ready", "2/2")
    rows = run(steady, "get", "-A").table
    assert (steady.namespace, "steady") in {(row["NAMESPACE"], row["NAME"]) for row in rows}


def test_get_watches_until_it_is_interrupted(web: Service) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    watching = start(web.plane, "get", "web", f"-n={web.namespace}", "-w")
    out = watching.stdout
    assert out is not None
    assert out.readline().startswith("service web: Ready since ")
    web.apply(image="b")
    web.until_ready()
    web.until("it is told", lambda: "revision 2" in out.readline())
    watching.send_signal(signal.SIGINT)
    done = told(watching)
    assert (done.code, done.err) == (130, "interrupted\n")


def test_status_exits_with_0_once_the_service_is_ready(web: Service) -> None:
    web.apply(image="a", replicas=2, sim={"ready-delay": "2s"})
    done = run(web, "status", "web", "--timeout=100")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1].startswith("web: Ready, ")
    assert condition(web.get(), "Ready")["status"] == "True"


def test_status_exits_with_1_if_the_revision_fails(web: Service) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    web.apply(image="b", sim={"fault": "crash-loop"})
    done = run(web, "status", "web", "--timeout=100")
    assert done.code == 1, done.out
    assert done.out.splitlines()[-1].startswith("web: Stalled, ")


def test_status_exits_with_3_if_it_takes_too_long(web: Service) -> None:
    web.apply(image="a", replicas=1, sim={"fault": "never-ready"})
    done = run(web, "status", "web", "--timeout=2")
    assert done.code == 3, done.out
    assert done.out.endswith("not ready within 2 s; see: kubectl immutable why web\n")


def test_status_of_a_service_that_is_deleted_exits_with_1(web: Service) -> None:
    web.apply(image="a", replicas=1, sim={"fault": "never-ready"})
    waiting = start(web.plane, "status", "web", f"-n={web.namespace}", "--timeout=100")
    assert waiting.stdout is not None
    waiting.stdout.readline()
    web.kubectl("delete", "imsvc", "web", "--wait=false")
    done = told(waiting)
    assert done.code == 1
    assert done.out.endswith("service web was deleted\n")


def test_events_are_those_of_the_service_and_its_pods(steady: Service) -> None:
    done = run(steady, "events", "steady")
    assert done.code == 0, done.err
    objects = {row["OBJECT"] for row in done.table}
    assert "immutableservice/steady" in objects
    assert all(name.partition("/")[2].startswith("steady") for name in objects)


def test_suspension_holds_a_rollout_until_it_is_resumed(web: Service) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    done = run(web, "suspend", "web")
    assert (done.code, done.out) == (0, "service web suspended\n")
    assert "suspended already" in run(web, "suspend", "web").err
    web.apply(image="b", spec={"suspend": True})
    web.until("it says so", lambda: condition(web.get(), "Ready").get("reason") == "Suspended")
    assert run(web, "why", "web").out.endswith(
        "kubectl immutable resume web ends the suspension.\n"
    )
    done = run(web, "resume", "web", "--wait", "--timeout=100")
    assert (done.code, done.out) == (0, "service web resumed\n"), done.err
    assert web.images() == [pin("b")]


def test_resume_of_a_suspended_service_keeps_an_undo_and_says_so(web: Service) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    web.apply(image="b")
    web.until_ready()
    assert run(web, "undo", "web", "--wait", "--timeout=100").code == 0
    run(web, "suspend", "web")
    first = run(web, "resume", "web")
    assert first.code == 0, first.err
    assert "which the spec asks for, is still rejected by " in first.err
    assert web.images() == [pin("a")]
    second = run(web, "resume", "web", "--wait", "--timeout=100")
    assert second.code == 0, second.err
    assert web.images() == [pin("b")]


def test_freeze_holds_a_rollout_until_it_is_ended(frozen: Service) -> None:
    web = frozen
    again = run(web, "freeze", "--for=1h", "--reason=closing")
    assert again.code == 2
    assert f"freeze {web.namespace} exists already; end it with: " in again.err
    web.apply(image="b")
    web.until("it waits", lambda: "closing" in str(condition(web.get(), "Ready")))
    assert web.images() == [pin("a")]
    assert "closing" in run(web, "why", "web").out
    done = run(web, "unfreeze")
    assert (done.code, done.out) == (0, f"immutablefreeze.immutable.dev/{web.namespace} deleted\n")
    web.until_ready()
    assert web.images() == [pin("b")]
    gone = run(web, "unfreeze")
    assert gone.code == 2
    assert gone.err.startswith(f"error: there is no freeze {web.namespace}; there are: ")


def test_freeze_needs_a_role_of_its_own(web: Service) -> None:
    web.apply(image="a", replicas=1)
    web.plane.grant("fred", web.namespace, "admin")
    done = run(web, "freeze", "--for=1h", "--reason=x", actor="fred")
    assert done.code == 2
    assert done.err.endswith("; ask for the role immutable-operator-freezes in the cluster\n")


def test_check_finds_leader_definitions_and_policies(steady: Service) -> None:
    done = run(steady, "check")
    rows = {row["CHECK"]: row for row in done.table}
    assert {row["RESULT"] for row in rows.values()} == {"ok"}, done.out
    # The operator of the tests and of the demo is a process without a Deployment.
    assert NO_DEPLOYMENT in rows["operator"]["DETAILS"]
    assert (done.code, done.err) == (0, "")


def test_check_without_permissions_says_what_is_unknown(steady: Service) -> None:
    done = run(steady, "check", actor="nobody-special")
    rows = {row["CHECK"]: row["RESULT"] for row in done.table}
    assert (rows["definitions"], rows["operator"], rows["policies"]) == ("ok", "unknown", "unknown")
    assert rows["permissions"] == "FAILED"
    assert "Traceback" not in done.err


def test_check_finds_an_operator_that_does_not_lead(
    steady: Service, operator: OperatorProcess
) -> None:
    operator.stop()
    done = run(steady, "check")
    rows = {row["CHECK"]: row["RESULT"] for row in done.table}
    assert (done.code, rows["leader"], rows["operator"]) == (1, "FAILED", "FAILED"), done.out


def test_version_names_all_three(steady: Service) -> None:
    done = run(steady, "version")
    assert (done.code, done.err) == (0, "")
    assert [line.partition(":")[0] for line in done.out.splitlines()] == [
        *("plug-in", "operator", "API server")
    ]


@pytest.mark.parametrize(
    ("words", "tells"),
    [
        (("status", "steady"), {"service": "steady", "result": "Ready"}),
        (("why", "steady"), {"service": "steady", "name": "steady"}),
        (("version",), {"plugin": plugin_version(), "apiServer": "v"}),
    ],
)
def test_answer_is_the_same_as_json_and_as_yaml(
    steady: Service, words: tuple[str, ...], tells: dict[str, str]
) -> None:
    done = [run(steady, *words, f"--output={output}") for output in ("json", "yaml")]
    assert [(d.code, "Traceback" in d.err) for d in done] == [(0, False)] * 2
    as_json, as_yaml = json.loads(done[0].out), yaml.safe_load(done[1].out)
    assert as_json.keys() == as_yaml.keys()
    for key, value in tells.items():
        assert str(as_json[key]).startswith(value)
        assert str(as_yaml[key]).startswith(value)


def test_status_that_is_late_says_so_for_programs(web: Service) -> None:
    web.apply(image="a", replicas=1, sim={"fault": "never-ready"})
    done = run(web, "status", "web", "--timeout=1", "-o=json")
    assert done.code == 3
    assert json.loads(done.out)["result"] == "Late"


def test_role_view_reads_and_only_edit_suspends(steady: Service) -> None:
    web = steady
    web.plane.grant("vicky", web.namespace, "view")
    path = f"{KIND_PATH}/{web.namespace}/immutablelineages"
    wait_for("the role is in force", functools.partial(web.plane.api("vicky").get, path))
    for verb in (("get", "steady"), ("get",), ("status", "steady"), ("events", "steady")):
        done = run(web, *verb, actor="vicky")
        assert (done.code, done.err) == (0, ""), verb
    refused = run(web, "suspend", "steady", actor="vicky")
    assert refused.code == 2
    assert refused.err.endswith("; ask for the role edit in this namespace\n")
