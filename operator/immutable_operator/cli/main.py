"""The kubectl plug-in: kubectl runs ``kubectl-immutable`` for ``kubectl immutable``.

Exit codes of verify: 0 all promised protections are in place, 1 otherwise, 2 it could not run, 130
interrupted. The objects that it created are removed in each case.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from immutable_operator.cli.login import LoginError, find_login
from immutable_operator.cli.regenerate import Regenerate, regenerate
from immutable_operator.cli.throwaway import CannotRun
from immutable_operator.cli.verify import Options, Verification, chosen
from immutable_operator.kube.errors import ApiError

__all__ = ["main"]

CANNOT_RUN = 2
INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run the command, exit with its code."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "regenerate":
            sys.exit(asyncio.run(regenerate(_request(given), _say, _show)))
        sys.exit(asyncio.run(_Run(_options(given)).run()))
    except LoginError as error:
        _say(f"error: cannot log in: {error}")
        sys.exit(CANNOT_RUN)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show(text: str) -> None:
    print(text, flush=True)


class _Run:
    """A verification that can be interrupted: the first signal stops it and cleans up, the second
    exits immediately."""

    def __init__(self, options: Options) -> None:
        self._keep = options.keep
        self._verification = Verification(options, _say, _show)
        self._work: asyncio.Task[int] | None = None
        self._interrupted = False

    async def run(self) -> int:
        """Return the exit code."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._interrupt)
        self._work = asyncio.create_task(self._verification.run())
        try:
            code = await self._work
        except asyncio.CancelledError:
            code = INTERRUPTED
        except CannotRun as error:
            _say(f"error: {error}")
            code = CANNOT_RUN
        except ApiError as error:
            _say(f"error: the API server answered: {error}; run the command again")
            code = CANNOT_RUN
        except Exception as error:
            traceback.print_exc()
            _say(f"error: this command has a bug: {error!r}; report it with the lines above")
            code = CANNOT_RUN
        finally:
            clean = await self._clean_up()
        return code if clean else max(code, CANNOT_RUN)

    async def _clean_up(self) -> bool:
        away = self._verification.away
        try:
            if away is None:
                return True
            if self._keep:
                _say(f"the temporary service was kept (--keep); to remove it: {away.remains}")
                return True
            return await away.remove()
        finally:
            await self._verification.close()

    def _interrupt(self) -> None:
        if self._interrupted:
            away = self._verification.away
            if away and away.remains:
                _say(f"exiting without cleaning up; to remove the service: {away.remains}")
            # Exit without waiting for anything.
            os._exit(INTERRUPTED)
        self._interrupted = True
        _say("interrupted: cleaning up; interrupt again to exit immediately")
        if self._work:
            self._work.cancel()


def _request(given: argparse.Namespace) -> Regenerate:
    login = find_login(given.kubeconfig, given.context)
    return Regenerate(
        login=login,
        namespace=given.namespace or login.namespace(),
        service=given.service,
        instance=given.instance,
        reason=given.reason,
        override_freeze=given.override_freeze,
        timeout=given.timeout if given.wait else 0.0,
    )


def _options(given: argparse.Namespace) -> Options:
    return Options(
        login=find_login(given.kubeconfig, given.context),
        paths=given.paths,
        image=given.image,
        namespace=given.namespace,
        timeout=given.timeout,
        output=given.output,
        keep=given.keep,
        on_taint=given.on_taint,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubectl immutable", description="Commands for ImmutableServices."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser(
        "verify",
        help="check that pods of ImmutableServices cannot be changed in place",
        description="Creates a temporary ImmutableService, tries every known way to change one of"
        " its pods in place, prints for each whether it was prevented, healed, reported or not"
        " covered, and deletes the service.",
        epilog="Exit codes: 0 all promised protections are in place, 1 otherwise, 2 cannot run.",
    )
    add = verify.add_argument
    add("--kubeconfig", help="path of the kubeconfig file, as for kubectl [$KUBECONFIG, ...]")
    add("--context", help="name of the kubeconfig context to use")
    add(
        "--image",
        default="",
        help="image of the temporary service, pinned by digest; it must run without arguments and"
        " as any user [the operator's image with a sleeping process]",
    )
    add(
        "--namespace",
        "-n",
        default="",
        help="namespace of the temporary service [a new one, deleted at the end]",
    )
    add(
        "--timeout",
        type=_seconds,
        default=60.0,
        help="seconds to wait until a change is healed [60]",
    )
    add("--output", "-o", choices=("table", "json"), default="table", help="output format [table]")
    add("--paths", type=_paths, default="", help="try only these paths, such as P1,P6-exec,C [all]")
    add(
        "--on-taint",
        choices=("Replace", "Report"),
        default="Replace",
        help="spec.immutability.onTaint of the temporary service [Replace]",
    )
    add("--keep", action="store_true", help="do not delete the temporary service at the end")
    _add_regenerate(commands)
    return parser


def _add_regenerate(commands: Any) -> None:
    command = commands.add_parser(
        "regenerate",
        help="replace the instances of a service, or one of them",
        description="Creates an ImmutableAction: each existing instance is replaced by one of the"
        " same revision, successor first; PodDisruptionBudgets are respected. The action records"
        " the user, the reason and the outcome (kubectl get imact).",
        epilog="Exit codes: 0 created (with --wait: done), 1 failed or timed out, 2 cannot run.",
    )
    add = command.add_argument
    add("service", help="name of the ImmutableService")
    add("--instance", help="name of the only pod to replace [all pods of the service]")
    add("--reason", help="reason to record; required with --override-freeze")
    add(
        "--override-freeze",
        action="store_true",
        help="carry it out even if an ImmutableFreeze applies",
    )
    add("--wait", action="store_true", help="wait until the action has ended")
    add("--timeout", type=_seconds, default=600.0, help="seconds to wait with --wait [600]")
    add("--namespace", "-n", default="", help="namespace of the service [the context's]")
    add("--kubeconfig", help="path of the kubeconfig file, as for kubectl [$KUBECONFIG, ...]")
    add("--context", help="name of the kubeconfig context to use")


def _seconds(text: str) -> float:
    if not 0 < (seconds := float(text)) < float("inf"):
        raise ValueError
    return seconds


_seconds.__name__ = "number of seconds"


def _paths(text: str) -> object:
    try:
        return chosen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    main()
