"""The demo's own cluster: a real control plane with three simulated nodes, named ``demo``."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from examples.demo import operator_process
from examples.demo.place import ACCOUNT, DEMO, SYSTEM, DemoError, Place
from tests.controlplane import ControlPlane
from tests.controlplane.access import find_kubectl
from tests.controlplane.api import ApiError
from tests.controlplane.build import binaries, cache_root
from tests.controlplane.components import COMPONENTS
from tests.controlplane.runs import Run, sweep

__all__ = ["folder", "prepare", "remove"]

NAME = "demo"
NODES = 3
CONFLICT = 409
STOP = "make demo-stop"


def folder() -> Path:
    """What the demo keeps: the operator's log, a kubeconfig."""
    return cache_root() / NAME


def prepare(say: Callable[[str], None]) -> Place:
    """Build what is missing, start the control plane or find it running."""
    helm = binaries(["helm"], say)["helm"]
    plane = _running(say)
    if plane is None:
        plane = ControlPlane.start(NAME, detached=True, say=say)
    missing = NODES - len(plane.api().get("/api/v1/nodes")["items"])
    if missing > 0:
        say(f"adding {missing} simulated nodes")
        plane.add_nodes(missing)
    _make_namespace(plane)
    return _place(plane, helm)


def remove(say: Callable[[str], None]) -> bool:
    """Stop the operator and the control plane, delete all that they kept; whether any ran."""
    found = operator_process.stop(folder())
    sweep(lambda text: None)
    if Run.load(NAME) is not None:
        say("stopping the control plane (about 5 s)")
        ControlPlane.attach(NAME).stop()
        found = True
    shutil.rmtree(folder(), ignore_errors=True)
    return found


def _running(say: Callable[[str], None]) -> ControlPlane | None:
    """The cluster of an earlier demo, if all of it works; what is left of a broken one goes."""
    sweep(say)
    run = Run.load(NAME)
    if run is None:
        operator_process.stop(folder())
        return None
    if not run.ready:
        raise DemoError(
            f"process {run.owner[0]} is just starting a control plane named {NAME};"
            " wait for it and run this again"
        )
    plane = ControlPlane.attach(NAME)
    dead = [component for component in COMPONENTS if not plane.is_running(component)]
    if not dead and _answers(plane):
        say("it runs already")
        return plane
    say(f"the earlier one is broken ({', '.join(dead) or 'it does not answer'}): starting afresh")
    operator_process.stop(folder())
    plane.stop()
    return None


def _answers(plane: ControlPlane) -> bool:
    try:
        return plane.api().text("GET", "/readyz", timeout=10) == "ok"
    except (ApiError, OSError):
        return False


def _make_namespace(plane: ControlPlane) -> None:
    try:
        plane.api().request("POST", "/api/v1/namespaces", {"metadata": {"name": DEMO}})
    except ApiError as error:
        if error.status != CONFLICT:
            raise


def _place(plane: ControlPlane, helm: Path) -> Place:
    kept, kubectl = folder(), find_kubectl()
    return Place(
        name="the simulated cluster",
        kubectl=(str(kubectl), f"--cache-dir={kept / 'kubectl-cache'}"),
        helm=(str(helm),),
        typed="kubectl",
        environment={
            "KUBECONFIG": str(_kubeconfig(plane, kept / "kubeconfig")),
            "KUBERC": "off",
            # So that a command line typed `kubectl` finds the pinned one.
            "PATH": f"{kubectl.parent}:{os.environ.get('PATH', os.defpath)}",
            "HELM_CACHE_HOME": str(kept / "helm"),
            "HELM_CONFIG_HOME": str(kept / "helm"),
            "HELM_DATA_HOME": str(kept / "helm"),
        },
        folder=kept,
        stop_command=STOP,
        operator_kubeconfig=lambda: plane.service_account_kubeconfig(SYSTEM, ACCOUNT),
        audit=plane.audit(),
    )


def _kubeconfig(plane: ControlPlane, path: Path) -> Path:
    """The administrator's kubeconfig with the demo's namespace, so that nobody must type it."""
    document = json.loads(plane.kubeconfig().read_text())
    for context in document["contexts"]:
        context["context"]["namespace"] = DEMO
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=2))
    return path
