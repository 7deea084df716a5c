"""The command line: ``python -m examples.demo [--context NAME | --real | --nodes | --stop]``."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence

from examples.demo import own, simulated
from examples.demo.interrupt import interruptible
from examples.demo.place import DemoError, Place, only_one
from examples.demo.screen import Screen
from examples.demo.story import STEPS, play
from tests.controlplane import StartError
from tests.controlplane.build import BuildError

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument(
        "--context", help="context of your kubeconfig: run the demo on that cluster"
    )
    parser.add_argument(
        "--real", action="store_true", help="use real nodes: kubelet and containerd (Linux, root)"
    )
    parser.add_argument(
        "--nodes", action="store_true", help="show how the nodes of a pool are replaced"
    )
    parser.add_argument(
        "--stop", action="store_true", help="stop the demo and delete everything that it created"
    )
    options = parser.parse_args(arguments)
    screen = Screen(STEPS)
    if options.context and options.real:
        parser.error(
            "CONTEXT and REAL cannot be combined: CONTEXT uses your cluster, REAL creates one"
        )
    if options.nodes and (options.context or options.real):
        parser.error("NODES shows simulated nodes: it cannot be combined with CONTEXT or REAL")
    which = f" CONTEXT={options.context}" if options.context else " REAL=1" if options.real else ""
    stop_command = f"make demo-stop{which}"
    try:
        context, real = options.context, options.real
        folder = own.folder(context) if context else simulated.folder(real)
        with interruptible(), only_one(folder):
            if options.stop:
                _stop(screen, context, real)
            else:
                if not (context or real or options.nodes):
                    _offer_own_cluster(screen)
                play(screen, *_kind(screen, context, real), nodes=options.nodes)
    except (DemoError, BuildError, StartError, RuntimeError, TimeoutError) as error:
        sys.stdout.flush()
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nInterrupted. Started programs keep running, and built programs are kept."
            f"\nTo continue, run the same command again. To stop: {stop_command}",
            file=sys.stderr,
        )
        return INTERRUPTED
    return 0


def _offer_own_cluster(screen: Screen) -> None:
    """Say before anything is built that the demo can use a cluster that is there already."""
    if context := own.reachable():
        screen.print(
            "your kubeconfig has a cluster that answers:"
            f" `make demo CONTEXT={shlex.quote(context)}` runs the demo there, and builds nothing;"
            " this one uses a cluster of its own"
        )


def _kind(screen: Screen, context: str | None, real: bool) -> tuple[str, Callable[[], Place]]:
    if context:
        return f"your cluster, context {context}", lambda: own.prepare(context, screen.detail)
    nodes = "two real nodes" if real else "simulated nodes"
    what = f"a Kubernetes control plane with {nodes}"
    return what, lambda: simulated.prepare(real, screen.detail)


def _stop(screen: Screen, context: str | None, real: bool) -> None:
    found = own.remove(context, screen.detail) if context else simulated.remove(real, screen.detail)
    screen.print("the demo was stopped and deleted" if found else "no demo is running")


if __name__ == "__main__":
    sys.exit(main())
