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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from immutable_operator.api.image import NO_DIGEST
from tests.controlplane import ControlPlane
from tests.controlplane.access import find_kubectl
from tests.controlplane.api import Json
from tests.controlplane.audit import AuditLog
from tests.controlplane.build import binaries, cache_root
from tests.controlplane.processes import Child
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
SECONDS = 240  # a whole demo on a busy machine; about 20 on an idle one
PODS = 4
REPLACED = re.compile(r"slot (\d)  (web-im\w{8}-\w{5}) -> (web-im\w{8}-\w{5})$", re.MULTILINE)
CONTEXT = "test-bed"
OPERATOR = "system:serviceaccount:immutable-system:immutable-operator"

pytestmark = pytest.mark.timeout(2 * SECONDS)


@dataclass(frozen=True)
class Demo:
    """Runs ``python -m examples.demo`` with an environment of its own."""

    environment: Mapping[str, str]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "examples.demo", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and all that was printed."""
        process = self.start(*arguments)
        try:
            text, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            text, _ = process.communicate()
            pytest.fail(f"the demo did not end within {SECONDS} s; it printed:\n{text}")
        return process.returncode, text

    def shell(self, command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """A command line as a user types it."""
        path = f"{find_kubectl().parent}:{os.environ['PATH']}"
        return subprocess.run(
            ["sh", "-c", command],
            cwd=ROOT,
            env={**os.environ, **self.environment, "PATH": path},
            capture_output=True,
            text=True,
            timeout=timeout,
        )


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


def assert_replaced(printed: str) -> None:
    """Each of the pods was replaced once, by one that was ready before it left."""
    pairs = REPLACED.findall(printed)
    assert sorted(slot for slot, _, _ in pairs) == [str(slot) for slot in range(PODS)], printed
    for slot, old, new in pairs:
        story = [line.split("  ", 3)[-1] for line in printed.splitlines() if f"slot {slot}" in line]
        order = [i for i, line in enumerate(story) if f"{new} is ready" in line]
        order += [i for i, line in enumerate(story) if f"{old} is terminating" in line]
        assert len(order) == 2, printed
        assert order == sorted(order), printed
    assert f"At least {PODS} of {PODS} pods were always available" in printed
    assert "Each pod was removed after its successor was ready" in printed
    assert "why: Outdated: revision 2" in printed


def test_it_shows_every_pod_replaced_by_one_that_was_ready_first(first_run: str) -> None:
    assert_replaced(first_run)
    assert f"{PODS} pods created, {PODS} evicted, 0 changed" in first_run
    assert "ReplacementFinished: revision 2" in first_run


def test_it_leaves_a_service_behind_that_runs_what_its_second_manifest_says(first_run: str) -> None:
    service = kubectl(first_run)
    assert ready(service)
    image = service["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.partition("agnhost:")[2] in first_run
    assert image not in (ROOT / "examples" / "web.yaml").read_text()


def test_its_first_service_is_refused_nothing(first_run: str, cache: Path) -> None:
    """It begins when the API server knows the kinds as owners, and the policies know them."""
    audit = AuditLog(cache / "runs" / "demo" / "audit.log")
    asked = [r for r in audit.since() if r.verb == "create" and r.namespace == "immutable-demo"]
    operator = [r for r in asked if r.user == OPERATOR and "dryRun" not in r.uri]
    assert sum(r.resource == "pods" for r in operator) >= PODS
    assert [f"{r.target} {r.code}" for r in operator if r.code >= 400] == []


def test_no_way_into_an_instance_is_open_on_it(demo: Demo, first_run: str) -> None:
    """Its API server finds the operator, which marks whoever breaks the glass."""
    command = re.search(r"^ *(\S+kubectl-immutable verify .*)$", first_run, re.MULTILINE)
    export = re.search(r"export KUBECONFIG=\S+", first_run)
    assert command, first_run
    assert export
    result = demo.shell(f"{export[0]}; {command[1]}", timeout=SECONDS)
    assert result.returncode == 0, result.stdout + result.stderr
    guarded = {c["type"]: c for c in kubectl(first_run)["status"]["conditions"]}["Guarded"]
    assert guarded["status"] == "True", guarded


def test_every_command_that_it_prints_works(demo: Demo, first_run: str) -> None:
    """Typed one after the other, each in the state that the one before left."""
    lines = first_run.partition("To try it by hand")[2].partition("Stop it")[0].splitlines()
    commands = [line.strip() for line in lines if re.match(r"  (kubectl|sed) ", line)]
    export = next(line.strip() for line in lines if "export KUBECONFIG" in line)
    assert len(commands) >= 8, first_run
    for command in commands:
        if command.endswith(" -w"):
            command = f"timeout 3 {command} || test $? = 124"
        result = demo.shell(f"{export}; {command}")
        if "s|@sha256.*||" in command:
            assert result.returncode != 0, command
            assert NO_DIGEST in result.stderr
        else:
            assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
            assert result.stdout, command
    wait_for("the service is ready again", lambda: ready(kubectl(first_run)))


def test_a_further_run_works_whatever_was_left_and_shows_a_table_on_a_terminal(
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


def test_stop_leaves_nothing(demo: Demo, first_run: str, cache: Path) -> None:
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
    """`make demo CONTEXT=…` for somebody who has helm on PATH."""
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
            f"no context nowhere; give one of these as CONTEXT: {CONTEXT}",
        ),
        (("--context", CONTEXT), {"PATH": "/usr/bin:/bin"}, "helm is not on PATH"),
    ],
)
def test_on_an_own_cluster_it_says_what_is_missing(
    own_demo: Demo, arguments: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    code, text = Demo({**own_demo.environment, **environment}).run(*arguments)
    assert code == 1
    assert said in text
    assert "Traceback" not in text


def test_on_an_own_cluster_it_refuses_politely_without_the_rights(
    own_cluster: ControlPlane, own_demo: Demo
) -> None:
    before = inventory(own_cluster)
    kubeconfig = {"KUBECONFIG": str(own_cluster.kubeconfig("alice"))}
    code, text = Demo({**own_demo.environment, **kubeconfig}).run("--context", CONTEXT)
    assert code == 1
    assert "you may not create namespaces, customresourcedefinitions" in text
    assert "serviceaccounts/token" in text
    assert inventory(own_cluster) == before


def test_on_an_own_cluster_it_touches_no_namespace_of_others(
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


def test_on_an_own_cluster_it_plays_the_same_and_takes_away_only_what_it_made(
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
