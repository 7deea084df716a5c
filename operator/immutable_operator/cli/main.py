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
from contextvars import copy_context
from typing import Any

from immutable_operator.cli import (
    check,
    completion,
    convert,
    dashboard,
    diff,
    enter,
    events,
    freeze,
    get,
    history,
    lineage,
    migrate,
    pin,
    plan,
    regenerate,
    retry,
    status,
    suspend,
    undo,
    version,
    why,
)
from immutable_operator.cli.action import INTERRUPTED
from immutable_operator.cli.arguments import Say, add_login, seconds
from immutable_operator.cli.complete import complete
from immutable_operator.cli.login import LoginError, find_login
from immutable_operator.cli.overrides import use_overrides
from immutable_operator.cli.owner import CANNOT_RUN, unreadable
from immutable_operator.cli.problem import CannotRun
from immutable_operator.cli.verify import Options, Verification, chosen
from immutable_operator.kube.errors import ApiError
from immutable_operator.kube.reading import READ_ERRORS

__all__ = ["answer_kubectl", "main", "new_parser"]

BROKEN_PIPE = 141
VERBS = (
    *(get, status, why, lineage, events, history, diff, plan),
    *(undo, retry, regenerate, suspend, freeze, dashboard, check, completion, version),
    *(convert, pin, migrate, enter),
)
# The completion scripts and kubectl ask with it.
COMPLETE = "__complete"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run the command, exit with its code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == [COMPLETE]:
        answer_kubectl(words[1:])
        return
    given = new_parser().parse_args(arguments)
    # Options that apply to the whole command end with it.
    sys.exit(copy_context().run(_code_of, given))


def _code_of(given: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    use_overrides(given)
    try:
        code: int = asyncio.run(given.run(given, _say, _show))
        return code
    except LoginError as error:
        _say(f"error: cannot log in: {error}")
        return CANNOT_RUN
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE
    except Exception as error:
        return _bug(error)


def answer_kubectl(words: Sequence[str] | None = None) -> None:
    """Complete a command line: the program ``kubectl_complete-immutable``."""
    for line in asyncio.run(complete(new_parser(), sys.argv[1:] if words is None else words)):
        print(line)


def _bug(error: Exception) -> int:
    traceback.print_exception(error)
    _say(f"error: this command has a bug: {error!r}; report it with the lines above")
    return CANNOT_RUN


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # The reader, such as head, has ended; Python would complain about the rest at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


async def _verify(given: argparse.Namespace, say: Say, show: Say) -> int:
    return await _Run(_options(given), say, show).run()


class _Run:
    """A verification that can be interrupted: the first signal stops it and cleans up, the second
    exits immediately."""

    def __init__(self, options: Options, say: Say, show: Say) -> None:
        self._keep = options.keep
        self._verification = Verification(options, say, show)
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
        except BrokenPipeError:
            code = BROKEN_PIPE
        except READ_ERRORS as error:
            _say(unreadable(error))
            code = CANNOT_RUN
        except Exception as error:
            code = _bug(error)
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


def _options(given: argparse.Namespace) -> Options:
    return Options(
        login=find_login(given.kubeconfig, given.context),
        paths=given.paths,
        image=given.image,
        namespace=given.namespace or "",
        timeout=given.timeout,
        output=given.output,
        keep=given.keep,
        on_taint=given.on_taint,
    )


def new_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="kubectl immutable", description="Commands for ImmutableServices."
    )
    add_login(parser, "namespace of the service [the context's]", default=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for verb in VERBS:
        verb.add(commands)
    _add_verify(commands)
    return parser


def _add_verify(commands: Any) -> None:
    verify = commands.add_parser(
        "verify",
        help="check that pods of ImmutableServices cannot be changed in place",
        description="Creates a temporary ImmutableService, tries every known way to change one of"
        " its pods in place, prints for each whether it was prevented, healed, reported or not"
        " covered, and deletes the service.",
        epilog="Exit codes: 0 all promised protections are in place, 1 otherwise, 2 cannot run.",
    )
    add = verify.add_argument
    add(
        "--image",
        default="",
        help="image of the temporary service, pinned by digest; it must run without arguments and"
        " as any user [the operator's image with a sleeping process]",
    )
    add_login(verify, "namespace of the temporary service [a new one, deleted at the end]")
    add(
        "--timeout",
        type=seconds,
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
    verify.set_defaults(run=_verify)


def _paths(text: str) -> object:
    try:
        return chosen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    main()
