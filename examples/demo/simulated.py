"""The demo's own cluster: a real control plane named ``demo``, with three simulated nodes.

Or with two real ones (kubelet and containerd in network namespaces), named ``demo-real``.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from examples.demo import operator_process
from examples.demo.place import ACCOUNT, DEMO, ROOT, SYSTEM, DemoError, Place
from tests.controlplane import ControlPlane
from tests.controlplane.access import find_kubectl
from tests.controlplane.api import ApiError
from tests.controlplane.build import binaries, cache_root
from tests.controlplane.components import COMPONENTS
from tests.controlplane.real.nodes import RealNodes
from tests.controlplane.runs import Run, sweep

__all__ = ["folder", "prepare", "remove"]

NODES = 3
REAL_NODES = 2
CONFLICT = 409


def folder(real: bool) -> Path:
    """The local files of the demo: the operator's log and a kubeconfig."""
    return cache_root() / _name(real)


def _name(real: bool) -> str:
    return "demo-real" if real else "demo"


def prepare(real: bool, say: Callable[[str], None]) -> Place:
    """Build the missing programs, and start the control plane unless it is running."""
    helm = binaries(["helm"], say)["helm"]
    plane = _running(real, say)
    if plane is None:
        plane = ControlPlane.start(_name(real), detached=True, say=say)
    missing = (REAL_NODES if real else NODES) - len(plane.api().get("/api/v1/nodes")["items"])
    if missing > 0 and real:
        RealNodes.start(plane, REAL_NODES, say)
    elif missing > 0:
        say(f"adding {missing} simulated nodes")
        plane.add_nodes(missing)
    _make_namespace(plane)
    return _place(plane, helm, real)


def remove(real: bool, say: Callable[[str], None]) -> bool:
    """Stop the operator and the control plane, and delete their files; return whether any ran."""
    found = operator_process.stop(folder(real))
    sweep(lambda text: None)
    if Run.load(_name(real)) is not None:
        say("stopping the control plane (about 5 s)")
        ControlPlane.attach(_name(real)).stop()
        found = True
    shutil.rmtree(folder(real), ignore_errors=True)
    return found


def _running(real: bool, say: Callable[[str], None]) -> ControlPlane | None:
    """The cluster of an earlier demo if it works; a broken one is removed."""
    sweep(say)
    run = Run.load(_name(real))
    if run is None:
        operator_process.stop(folder(real))
        return None
    if not run.ready:
        raise DemoError(
            f"process {run.owner[0]} is starting a control plane named {_name(real)};"
            " wait for it and run the command again"
        )
    plane = ControlPlane.attach(_name(real))
    dead = [component for component in COMPONENTS if not plane.is_running(component)]
    if not dead and _answers(plane):
        say("it is already running")
        return plane
    say(f"the earlier one does not work ({', '.join(dead) or 'no answer'}): starting a new one")
    operator_process.stop(folder(real))
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


def _place(plane: ControlPlane, helm: Path, real: bool) -> Place:
    kept, kubectl = folder(real), find_kubectl()
    place = Place(
        name="the cluster with real nodes" if real else "the simulated cluster",
        kubectl=(str(kubectl), f"--cache-dir={kept / 'kubectl-cache'}"),
        helm=(str(helm),),
        typed="kubectl",
        environment={
            "KUBECONFIG": str(_kubeconfig(plane, kept / "kubeconfig")),
            "KUBERC": "off",
            # So that `kubectl` in a command line is the pinned version.
            "PATH": f"{kubectl.parent}:{os.environ.get('PATH', os.defpath)}",
            "HELM_CACHE_HOME": str(kept / "helm"),
            "HELM_CONFIG_HOME": str(kept / "helm"),
            "HELM_DATA_HOME": str(kept / "helm"),
        },
        folder=kept,
        stop_command="make demo-stop" + (" REAL=1" if real else ""),
        operator_kubeconfig=lambda: plane.service_account_kubeconfig(SYSTEM, ACCOUNT),
        address="127.0.0.1",
        audit=plane.audit(),
        simulated=not real,
    )
    return _with_real_images(place, plane) if real else place


def _with_real_images(place: Place, plane: ControlPlane) -> Place:
    """The example with images of the local registry, because the nodes cannot reach another one."""
    images = RealNodes.attach(plane).images
    before, after = images.digest("web", "v1"), images.digest("web", "v2")
    text = (ROOT / place.manifest).read_text()
    text = re.sub(r"image: .*", f"image: {before}", text)
    text = re.sub(r" *args: .*\n", "", text).replace("path: /healthz", "path: /readyz")
    manifest = place.folder / "web.yaml"
    manifest.write_text(text)
    edit = f"s|@sha256.*|@{after.rpartition('@')[2]}|"
    return replace(place, manifest=shlex.quote(str(manifest)), edit=edit)


def _kubeconfig(plane: ControlPlane, path: Path) -> Path:
    """The administrator's kubeconfig with the demo's namespace as the default."""
    document = json.loads(plane.kubeconfig().read_text())
    for context in document["contexts"]:
        context["context"]["namespace"] = DEMO
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=2))
    return path
