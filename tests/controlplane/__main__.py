"""The test bed from a shell: ``python -m tests.controlplane build|start|stop|status``."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence

from tests.controlplane.access import find_kubectl
from tests.controlplane.build import BuildError, binaries
from tests.controlplane.cluster import ControlPlane, StartError
from tests.controlplane.components import COMPONENTS
from tests.controlplane.real.nodes import RealNodes
from tests.controlplane.runs import Run, runs, sweep

# What the tests need that do without real nodes.
PROGRAMS = (*COMPONENTS, "helm", "karpenter-kwok")
PLAY = "play"
PLAY_NODES = 3


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.controlplane", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build the programs once, and print their paths")
    build.add_argument("--real", action="store_true", help="also build the programs of real nodes")
    start = commands.add_parser("start", help="start a cluster that runs until it is stopped")
    start.add_argument("--name", default=PLAY)
    start.add_argument(
        "--nodes", type=int, help=f"number of simulated nodes [{PLAY_NODES}; 0 with --real]"
    )
    start.add_argument("--real", type=int, default=0, help="number of real nodes (Linux, root) [0]")
    stop = commands.add_parser("stop", help="stop a cluster and delete its data")
    stop.add_argument("--name", default=PLAY)
    commands.add_parser("status", help="list the running clusters")
    options = parser.parse_args(arguments)
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.default_int_handler)
    try:
        if options.command == "build":
            return _build(options.real)
        if options.command == "start":
            nodes = options.nodes
            if nodes is None:
                nodes = 0 if options.real else PLAY_NODES
            return _start(options.name, nodes, options.real)
        if options.command == "stop":
            return _stop(options.name)
        return _status()
    except (BuildError, StartError, RuntimeError, TimeoutError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; all started processes were stopped", file=sys.stderr)
        return 130


def _build(real: bool) -> int:
    for name, path in binaries(None if real else PROGRAMS, _say).items():
        print(f"{name}: {path}")
    return 0


def _start(name: str, nodes: int, real: int) -> int:
    run = Run.load(name)
    if run is not None and not run.is_abandoned():
        plane = ControlPlane.attach(name)
        print(f"{name} is already running")
    else:
        began = time.monotonic()
        plane = ControlPlane.start(name, detached=True, say=_say)
        plane.add_nodes(nodes)
        if real:
            RealNodes.start(plane, real, _say)
        counted = f"{nodes} simulated and {real} real nodes" if real else f"{nodes} nodes"
        print(f"{name} is ready with {counted} ({time.monotonic() - began:.0f} s)")
    print("\nNext, in this shell:\n")
    print(f"  export KUBECONFIG={plane.kubeconfig()}")
    print(f"  {find_kubectl()} get nodes\n")
    print(f"To stop it:  {_program()} stop{_option(name)}")
    print(f"Logs, kubeconfigs of other users, audit log:  {plane.folder}")
    return 0


def _stop(name: str) -> int:
    sweep(_say)
    run = Run.load(name)
    if run is None:
        print(f"no control plane named {name} is running")
        return 0
    if not run.detached:
        print(
            f"error: {name} belongs to process {run.owner[0]}; stop that process", file=sys.stderr
        )
        return 1
    ControlPlane.attach(name).stop()
    print(f"{name} was stopped and deleted")
    return 0


def _status() -> int:
    found = False
    for run in runs():
        found = True
        alive = [child.component for child in run.children if child.is_alive()]
        state = "abandoned" if run.is_abandoned() else "running" if run.ready else "starting"
        owner = "runs until stopped" if run.detached else f"of process {run.owner[0]}"
        print(f"{run.name}: {state} ({owner}), https://127.0.0.1:{run.ports['kube-apiserver']}")
        print(f"  processes: {', '.join(alive) or 'none'}")
        print(f"  export KUBECONFIG={run.folder / 'admin.kubeconfig'}")
    if not found:
        print(f"no control plane is running; to start one: {_program()} start")
    return 0


def _option(name: str) -> str:
    return "" if name == PLAY else f" --name {name}"


def _program() -> str:
    return f"{sys.executable} -m tests.controlplane"


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
