"""The demo, as a user runs it: what it prints, what it leaves behind, and that it goes away.

It plays on control planes of its own: its `make demo` cluster in a cache of this test, and one
that stands for a user's own cluster. So a demo of yours and other tests are not touched.
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from immutable_operator.api.image import NO_DIGEST
from tests.cluster.demo import PODS, REPLACED, ROOT, SECONDS, Demo, assert_replaced
from tests.controlplane import ControlPlane
from tests.controlplane.access import find_kubectl
from tests.controlplane.api import Json
from tests.controlplane.audit import AuditLog
from tests.controlplane.build import binaries, cache_root
from tests.controlplane.processes import Child
from tests.waiting import wait_for

CONTEXT = "test-bed"
OPERATOR = "system:serviceaccount:immutable-system:immutable-operator"

pytestmark = pytest.mark.timeout(2 * SECONDS)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that shares only the built programs with the real one."""
    binaries(["helm"])
    folder = tmp_path_factory.mktemp("cache")
    (folder / "bin").symlink_to(cache_root() / "bin")
    return folder


@pytest.fixture(scope="module")
def demo(cache: Path) -> Iterator[Demo]:
    """`make demo`, which is stopped at the end whatever happens."""
    demo = Demo({"IMMUTABLE_CACHE": str(cache)})
    yield demo
    demo.run("--stop")


@pytest.fixture(scope="module")
def first_run(demo: Demo) -> str:
    code, text = demo.run()
    assert code == 0, text
    return text


def kubectl(printed: str) -> Json:
    """The service as the cluster that the demo names has it now."""
    kubeconfig = re.search(r"export KUBECONFIG=(\S+)", printed)
    assert kubeconfig, printed
    return get(kubeconfig[1], "immutableservice", "web")


def get(kubeconfig: str, *what: str) -> Json:
    command = [str(find_kubectl()), f"--kubeconfig={kubeconfig}", "get", *what, "-o", "json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found: Json = json.loads(result.stdout)
    return found


def ready(service: Json) -> bool:
    status = service["status"]
    seen = status["observedGeneration"] == service["metadata"]["generation"]
    return bool(seen and {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "True")


def test_demo_shows_each_pod_replaced_by_ready_successor(first_run: str) -> None:
    assert_replaced(first_run)
    assert f"{PODS} pods created, {PODS} evicted, 0 changed" in first_run
    assert "ReplacementFinished: revision 2" in first_run


def test_demo_leaves_service_with_second_manifest(first_run: str) -> None:
    service = kubectl(first_run)
    assert ready(service)
    image = service["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.partition("agnhost:")[2] in first_run
    assert image not in (ROOT / "examples" / "web.yaml").read_text()


def test_first_demo_service_is_created_without_refusals(first_run: str, cache: Path) -> None:
    """It begins when the API server knows the kinds as owners, and the policies know them."""
    audit = AuditLog(cache / "runs" / "demo" / "audit.log")
    asked = [r for r in audit.since() if r.verb == "create" and r.namespace == "immutable-demo"]
    operator = [r for r in asked if r.user == OPERATOR and "dryRun" not in r.uri]
    assert sum(r.resource == "pods" for r in operator) >= PODS
    assert [f"{r.target} {r.code}" for r in operator if r.code >= 400] == []


def test_verify_passes_on_demo_cluster(demo: Demo, first_run: str) -> None:
    """Its API server finds the operator, which marks pods that are accessed with break-glass."""
    command = re.search(r"^ *(\S+kubectl-immutable verify .*)$", first_run, re.MULTILINE)
    export = re.search(r"export KUBECONFIG=\S+", first_run)
    assert command, first_run
    assert export
    result = demo.shell(f"{export[0]}; {command[1]}", timeout=SECONDS)
    assert result.returncode == 0, result.stdout + result.stderr
    guarded = {c["type"]: c for c in kubectl(first_run)["status"]["conditions"]}["Guarded"]
    assert guarded["status"] == "True", guarded


def test_commands_printed_by_demo_work(demo: Demo, first_run: str) -> None:
    """Typed one after the other, each in the state that the one before left."""
    lines = first_run.partition("To try it by hand")[2].partition("Stop it")[0].splitlines()
    commands = [line.strip() for line in lines if re.match(r"  (kubectl|sed) ", line)]
    export = next(line.strip() for line in lines if "export KUBECONFIG" in line)
    assert len(commands) >= 8, first_run
    for command in commands:
        if command.endswith(" -w"):
            # It goes on until it is ended.
            said = "until [ -s $said ]; do sleep 0.1; done; kill $! && cat $said && rm $said"
            command = f"said=$(mktemp); {command} >$said & {said}"
        result = demo.shell(f"{export}; {command}")
        if "s|@sha256.*||" in command:
            assert result.returncode != 0, command
            assert NO_DIGEST in result.stderr
        else:
            assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
            assert result.stdout, command
    wait_for("the service is ready again", lambda: ready(kubectl(first_run)))


def test_second_demo_run_recovers_and_shows_table_on_terminal(
    demo: Demo, first_run: str, cache: Path
) -> None:
    # Given a run that was interrupted, a service that is suspended, an operator that was killed.
    process = demo.start()
    assert process.stdout is not None
    next(line for line in process.stdout if line.startswith("[3/4]"))
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, text
    assert "make demo-stop" in text
    export = re.search(r"export KUBECONFIG=\S+", first_run)
    assert export
    suspend = 'kubectl patch imsvc web --type=merge -p \'{"spec":{"suspend":true}}\''
    demo.shell(f"{export[0]}; {suspend}")
    os.kill(json.loads((cache / "demo" / "operator.json").read_text())["pid"], signal.SIGKILL)
    # When it runs on a terminal, then it draws a table, and tells the same in the end.
    code, screen = run_on_a_terminal(demo)
    assert code == 0, screen
    assert "PREDECESSOR" in screen
    assert len(set(REPLACED.findall(screen))) == PODS, screen
    assert f"At least {PODS} of {PODS} pods were always available" in screen


def run_on_a_terminal(demo: Demo) -> tuple[int, str]:
    """Exit code, and what was drawn without its control sequences."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "examples.demo"],
        cwd=ROOT,
        env={**os.environ, **demo.environment, "TERM": "xterm", "COLUMNS": "120"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    drawn = b""
    while True:
        try:
            drawn += os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", drawn.decode())
    return process.wait(SECONDS), text


def test_demo_stop_leaves_nothing(demo: Demo, first_run: str, cache: Path) -> None:
    state = json.loads((cache / "runs" / "demo" / "state.json").read_text())
    children = [Child.from_record(child) for child in state["children"]]
    children.append(Child.from_record(json.loads((cache / "demo/operator.json").read_text())))
    assert all(child.is_alive() for child in children)
    code, text = demo.run("--stop")
    assert code == 0, text
    assert not [child.component for child in children if child.is_alive()]
    assert not list((cache / "runs").glob("*"))
    assert not (cache / "demo").exists()
    assert demo.run("--stop") == (0, "no demo is running\n")


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[ControlPlane]:
    with ControlPlane.start() as plane:
        plane.add_nodes(2)
        yield plane


@pytest.fixture(scope="module")
def own_demo(own_cluster: ControlPlane, cache: Path) -> Iterator[Demo]:
    """`make demo CONTEXT=…` for a user who has helm on PATH."""
    helm = binaries(["helm"])["helm"].parent
    environment = {
        "IMMUTABLE_CACHE": str(cache),
        "KUBECONFIG": str(own_cluster.kubeconfig()),
        "PATH": f"{helm}:{os.environ['PATH']}",
        "HOME": str(own_cluster.folder),
    }
    demo = Demo(environment)
    yield demo
    demo.run("--stop", "--context", CONTEXT)


def test_demo_offers_a_cluster_that_answers(own_demo: Demo) -> None:
    """Before anything is built or started."""
    process = own_demo.start()
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert f"`make demo CONTEXT={CONTEXT}` runs the demo there" in first


def inventory(plane: ControlPlane) -> set[str]:
    """Names of all that the demo could leave behind."""
    kinds = "namespaces,crds,clusterroles,clusterrolebindings,mutatingadmissionpolicies"
    return set(plane.kubectl("get", kinds, "-o", "name").stdout.split())


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (
            ("--context", "nowhere"),
            {},
            f"no context nowhere; set CONTEXT to one of these: {CONTEXT}",
        ),
        (("--context", CONTEXT), {"PATH": "/usr/bin:/bin"}, "helm is not on PATH"),
    ],
)
def test_demo_on_own_cluster_reports_missing_tools(
    own_demo: Demo, arguments: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    code, text = Demo({**own_demo.environment, **environment}).run(*arguments)
    assert code == 1
    assert said in text
    assert "Traceback" not in text


def test_demo_on_own_cluster_reports_missing_rights(
    own_cluster: ControlPlane, own_demo: Demo
) -> None:
    before = inventory(own_cluster)
    kubeconfig = {"KUBECONFIG": str(own_cluster.kubeconfig("alice"))}
    code, text = Demo({**own_demo.environment, **kubeconfig}).run("--context", CONTEXT)
    assert code == 1
    assert "you may not create namespaces, customresourcedefinitions" in text
    assert "serviceaccounts/token" in text
    assert inventory(own_cluster) == before


def test_demo_on_own_cluster_touches_no_foreign_namespace(
    own_cluster: ControlPlane, own_demo: Demo
) -> None:
    own_cluster.kubectl("create", "namespace", "immutable-demo")
    try:
        code, text = own_demo.run("--context", CONTEXT)
        assert code == 1
        assert "namespace immutable-demo already exists" in text
        code, text = own_demo.run("--stop", "--context", CONTEXT)
        assert code == 0, text
        own_cluster.kubectl("get", "namespace", "immutable-demo")
    finally:
        own_cluster.kubectl("delete", "namespace", "immutable-demo")


def test_demo_on_own_cluster_removes_only_what_it_made(
    own_cluster: ControlPlane, own_demo: Demo
) -> None:
    before = inventory(own_cluster)
    code, text = own_demo.run("--context", CONTEXT)
    assert code == 0, text
    assert_replaced(text)
    assert f"kubectl --context={CONTEXT} -n immutable-demo get imsvc -w" in text
    code, text = own_demo.run("--stop", "--context", CONTEXT)
    assert code == 0, text
    assert inventory(own_cluster) == before


def test_demo_of_nodes_shows_a_replacement_after_a_change_in_place(demo: Demo) -> None:
    code, text = demo.run("--nodes")
    assert code == 0, text
    replaced = re.search(r"^Node (demo-im\w{8}-\w{5}) has replaced node (demo-im\S+):$", text, re.M)
    assert replaced, text
    successor, predecessor = replaced.groups()
    assert "why: Drifted: kernelVersion: 6.0.0-simulated → 6.1.0-patched" in text
    verified = text.rindex(f"{successor}    verified")
    assert verified < text.index(f"{predecessor}    cordoned"), "successor first"
    assert f"{predecessor}    gone" in text
