"""The command line: ``python -m examples.demo [--context NAME]``, ``… --stop``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence

from examples.demo import own, simulated
from examples.demo.place import DemoError, Place, only_one
from examples.demo.screen import Screen
from examples.demo.story import STEPS, play
from tests.controlplane import StartError
from tests.controlplane.build import BuildError

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--context", help="a context of your kubeconfig, instead of an own cluster")
    parser.add_argument("--stop", action="store_true", help="end the demo and delete what it made")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    screen = Screen(STEPS)
    stop_command = "make demo-stop" + (f" CONTEXT={options.context}" if options.context else "")
    try:
        with only_one(own.folder(options.context) if options.context else simulated.folder()):
            if options.stop:
                _stop(screen, options.context)
            else:
                _play(screen, options.context)
    except (DemoError, BuildError, StartError, RuntimeError, TimeoutError) as error:
        sys.stdout.flush()
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nInterrupted. What was started goes on running, what was built is kept."
            f"\nTo go on: run the same again. To end it: {stop_command}",
            file=sys.stderr,
        )
        return INTERRUPTED
    return 0


def _play(screen: Screen, context: str | None) -> None:
    what, prepare = _kind(screen, context)
    play(screen, what, prepare)


def _kind(screen: Screen, context: str | None) -> tuple[str, Callable[[], Place]]:
    if context:
        return f"your cluster, context {context}", lambda: own.prepare(context, screen.detail)
    return "a Kubernetes control plane", lambda: simulated.prepare(screen.detail)


def _stop(screen: Screen, context: str | None) -> None:
    found = own.remove(context, screen.detail) if context else simulated.remove(screen.detail)
    screen.print("the demo is stopped; nothing of it is left" if found else "no demo is running")


if __name__ == "__main__":
    sys.exit(main())
