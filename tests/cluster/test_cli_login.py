"""`kubectl immutable` reaches the cluster by the ways on which kubectl itself reaches it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from immutable_operator.api.names import API_VERSION
from tests.cluster.connect_proxy import connect_proxy
from tests.cluster.operator_process import Installation
from tests.cluster.services import KIND_PATH
from tests.controlplane import ControlPlane
from tests.controlplane.access import find_kubectl
from tests.unit.service_specs import spec
from tests.waiting import wait_for

BEHIND = "https://kubernetes.default.svc:6443"
"""An address that only a proxy can resolve; the API server's certificate has the name."""


@pytest.fixture
def plane(installation: Installation, namespace: str) -> ControlPlane:
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "ImmutableService",
        "metadata": {"name": "web"},
        "spec": spec(replicas=0, suspend=True),
    }
    installation.plane.kubectl("apply", "-f", "-", namespace=namespace, stdin=json.dumps(manifest))
    return installation.plane


def split(plane: ControlPlane, folder: Path, namespace: str, **of_cluster: str) -> str:
    """The administrator's kubeconfig as a list of files: contexts in one, the rest in others."""
    whole: dict[str, Any] = json.loads(plane.kubeconfig().read_text())
    whole["contexts"][0]["context"]["namespace"] = namespace
    whole["clusters"][0]["cluster"] |= {k.replace("_", "-"): v for k, v in of_cluster.items()}
    head = {"apiVersion": "v1", "kind": "Config"}
    parts = {
        "current": {"current-context": whole["current-context"]},
        "contexts": {"contexts": whole["contexts"]},
        "rest": {"clusters": whole["clusters"], "users": whole["users"]},
    }
    for name, part in parts.items():
        (folder / name).write_text(json.dumps(head | part))
    return os.pathsep.join(str(folder / name) for name in ("missing", *parts))


def run(kubeconfig: str, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Under a clean environment, so that what the machine says of proxies does not matter."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return subprocess.run(
        command,
        env={**kept, "KUBECONFIG": kubeconfig, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


REGENERATE = (sys.executable, "-m", "immutable_operator.cli.main", "regenerate", "web")


def assert_as_kubectl(kubeconfig: str, **environment: str) -> None:
    """Both find the same service; the command asks for it in the namespace of the context."""
    seen = run(kubeconfig, str(find_kubectl()), "get", "imsvc", "web", **environment)
    assert seen.returncode == 0, seen.stderr
    made = run(kubeconfig, *REGENERATE, **environment)
    assert made.returncode == 0, made.stderr
    assert "created" in made.stdout


def test_kubeconfig_list_is_read_as_by_kubectl(
    plane: ControlPlane, tmp_path: Path, namespace: str
) -> None:
    assert_as_kubectl(split(plane, tmp_path, namespace))


def test_proxy_of_kubeconfig_is_used(plane: ControlPlane, tmp_path: Path, namespace: str) -> None:
    with connect_proxy(plane) as proxy:
        assert_as_kubectl(split(plane, tmp_path, namespace, server=BEHIND, proxy_url=proxy.url))
        assert len(proxy.asked) >= 2
        assert {*proxy.asked} == {"kubernetes.default.svc:6443"}


def test_proxy_of_environment_is_used(plane: ControlPlane, tmp_path: Path, namespace: str) -> None:
    with connect_proxy(plane) as proxy:
        behind = split(plane, tmp_path, namespace, server=BEHIND)
        assert_as_kubectl(behind, HTTPS_PROXY=proxy.url)
        assert len(proxy.asked) >= 2
        before = len(proxy.asked)
        away = run(behind, *REGENERATE, HTTPS_PROXY=proxy.url, NO_PROXY=".default.svc")
        assert away.returncode == 2, "no other host can resolve the name"
        assert len(proxy.asked) == before
        here = split(plane, tmp_path, namespace)
        assert_as_kubectl(here, HTTPS_PROXY=proxy.url)
        assert len(proxy.asked) == before, "no proxy leads to this machine itself"


def test_policy_refusal_is_printed_in_its_own_words(plane: ControlPlane, namespace: str) -> None:
    """The role edit, which is the advice for want of a right in RBAC, is there already."""
    plane.grant("carol", namespace, "edit")
    login = str(plane.kubeconfig("carol"))
    ask = (*REGENERATE, f"--namespace={namespace}", "--reason=fire", "--override-freeze")
    path = f"{KIND_PATH}/{namespace}/immutableactions"
    wait_for("the role is in force", lambda: plane.api("carol").get(path))
    done = run(login, *ask)
    assert done.returncode == 2
    assert done.stderr.startswith("error: carol may not override a change freeze")
    assert "role edit" not in done.stderr


def test_login_error_is_printed_in_one_line(tmp_path: Path) -> None:
    done = run(str(tmp_path / "missing"), *REGENERATE)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot log in: the kubeconfig file ")
    assert len(done.stderr.splitlines()) == 1
