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

PLAY = "play"
PLAY_NODES = 3


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.controlplane", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build the binaries, once; says what is where")
    build.add_argument("--real", action="store_true", help="those of real nodes too")
    start = commands.add_parser("start", help="start a cluster that stays until it is stopped")
    start.add_argument("--name", default=PLAY)
    start.add_argument("--nodes", type=int, help=f"simulated nodes ({PLAY_NODES}; 0 with --real)")
    start.add_argument("--real", type=int, default=0, help="real nodes (root, Linux)")
    stop = commands.add_parser("stop", help="stop it and delete all that it holds")
    stop.add_argument("--name", default=PLAY)
    commands.add_parser("status", help="what runs, and where")
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
        print("interrupted; what had been started is stopped", file=sys.stderr)
        return 130


def _build(real: bool) -> int:
    for name, path in binaries(None if real else [*COMPONENTS, "helm"], _say).items():
        print(f"{name}: {path}")
    return 0


def _start(name: str, nodes: int, real: int) -> int:
    run = Run.load(name)
    if run is not None and not run.is_abandoned():
        plane = ControlPlane.attach(name)
        print(f"{name} is running already")
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
    print(f"It stays until:  {_program()} stop{_option(name)}")
    print(f"Logs, other users' kubeconfigs, audit log:  {plane.folder}")
    return 0


def _stop(name: str) -> int:
    sweep(_say)
    run = Run.load(name)
    if run is None:
        print(f"no control plane named {name} is running")
        return 0
    if not run.detached:
        print(f"error: {name} belongs to process {run.owner[0]}; end that one", file=sys.stderr)
        return 1
    ControlPlane.attach(name).stop()
    print(f"{name} is stopped; nothing of it is left")
    return 0


def _status() -> int:
    found = False
    for run in runs():
        found = True
        alive = [child.component for child in run.children if child.is_alive()]
        state = "abandoned" if run.is_abandoned() else "running" if run.ready else "starting"
        owner = "stays until stopped" if run.detached else f"of process {run.owner[0]}"
        print(f"{run.name}: {state} ({owner}), https://127.0.0.1:{run.ports['kube-apiserver']}")
        print(f"  processes: {', '.join(alive) or 'none'}")
        print(f"  export KUBECONFIG={run.folder / 'admin.kubeconfig'}")
    if not found:
        print(f"nothing runs; start one: {_program()} start")
    return 0


def _option(name: str) -> str:
    return "" if name == PLAY else f" --name {name}"


def _program() -> str:
    return f"{sys.executable} -m tests.controlplane"


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
