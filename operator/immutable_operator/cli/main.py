"""The kubectl plug-in: kubectl runs ``kubectl-immutable`` for ``kubectl immutable``.

Exit codes: 0 all that should hold holds, 1 something does not, 2 it could not run, 130
interrupted. What was made is removed in each case.
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
    """A verification that can be interrupted: the first signal ends it, the second leaves."""

    def __init__(self, options: Options) -> None:
        self._keep = options.keep
        self._verification = Verification(options, _say, _show)
        self._work: asyncio.Task[int] | None = None
        self._interrupted = False

    async def run(self) -> int:
        """Gives the exit code."""
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
            _say(f"error: the API server said {error}; run it again")
            code = CANNOT_RUN
        except Exception as error:
            traceback.print_exc()
            _say(f"error: a fault of this command: {error!r}; report it with the lines above")
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
                _say(f"kept, as asked for; remove it with: {away.remains}")
                return True
            return await away.remove()
        finally:
            await self._verification.close()

    def _interrupt(self) -> None:
        if self._interrupted:
            away = self._verification.away
            if away and away.remains:
                _say(f"left at once; remove what is left with: {away.remains}")
            # Nothing more may be waited for.
            os._exit(INTERRUPTED)
        self._interrupted = True
        _say("interrupted: cleaning up; once more leaves at once")
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
        prog="kubectl immutable", description="What kubectl can do with immutable services."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser(
        "verify",
        help="try every path by which an instance could be changed in place",
        description="Makes a throw-away ImmutableService, tries every path by which an instance"
        " could be changed in place, tells the prevented from the healed, and removes it.",
        epilog="Exit codes: 0 all that should hold holds, 1 something does not, 2 cannot run.",
    )
    add = verify.add_argument
    add("--kubeconfig", help="file with connection and login, as for kubectl [$KUBECONFIG, ...]")
    add("--context", help="context of the kubeconfig to use")
    add(
        "--image",
        default="",
        help="image that the throw-away service runs, pinned by digest; it must run without"
        " arguments, as no user in particular [the operator's own, asleep]",
    )
    add("--namespace", "-n", default="", help="where to make it [a new one, deleted at the end]")
    add("--timeout", type=_seconds, default=60.0, help="seconds for each path to be healed [60]")
    add("--output", "-o", choices=("table", "json"), default="table", help="[table]")
    add("--paths", type=_paths, default="", help="only these: P1,P6-exec,C [all]")
    add("--on-taint", choices=("Replace", "Report"), default="Replace", help="of the service")
    add("--keep", action="store_true", help="leave everything there, to look at it")
    _add_regenerate(commands)
    return parser


def _add_regenerate(commands: Any) -> None:
    command = commands.add_parser(
        "regenerate",
        help="replace the instances of a service, or one of them",
        description="Creates an ImmutableAction: every instance that is older than it is replaced"
        " by one of the same revision, successor first, within budgets. It stays on record with"
        " who asked, why, and what came of it (kubectl get imact).",
        epilog="Exit codes: 0 created (with --wait: done), 1 failed or late, 2 cannot run.",
    )
    add = command.add_argument
    add("service", help="name of the ImmutableService")
    add("--instance", help="only this pod")
    add("--reason", help="why, for people; needed with --override-freeze")
    add("--override-freeze", action="store_true", help="do it although an ImmutableFreeze holds")
    add("--wait", action="store_true", help="wait until it is done")
    add("--timeout", type=_seconds, default=600.0, help="seconds to wait [600]")
    add("--namespace", "-n", default="", help="namespace of the service [the context's]")
    add("--kubeconfig", help="file with connection and login, as for kubectl [$KUBECONFIG, ...]")
    add("--context", help="context of the kubeconfig to use")


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
