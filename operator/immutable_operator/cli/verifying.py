"""``kubectl immutable verify`` on the command line: options, interruption and exit code.

Exit codes: 0 all promised protections are in place, 1 otherwise, 2 it could not run, 130
interrupted. The objects that it created are removed in each case.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from typing import Any

from immutable_operator.cli.arguments import Say, add_login, add_output, seconds
from immutable_operator.cli.login import find_login
from immutable_operator.cli.owner import unreadable
from immutable_operator.cli.problem import BROKEN_PIPE, CANNOT_RUN, INTERRUPTED, CannotRun, bug
from immutable_operator.cli.verify import Options, Verification, chosen
from immutable_operator.kube.errors import ApiError
from immutable_operator.kube.reading import READ_ERRORS

__all__ = ["add", "run"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    verify = commands.add_parser(
        "verify",
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
    add_output(verify, "json", "yaml")
    add("--paths", type=_paths, default="", help="try only these paths, such as P1,P6-exec,C [all]")
    add(
        "--on-taint",
        choices=("Replace", "Report"),
        default="Replace",
        help="spec.immutability.onTaint of the temporary service [Replace]",
    )
    add("--keep", action="store_true", help="do not delete the temporary service at the end")
    verify.set_defaults(run=run)


def _paths(text: str) -> object:
    try:
        return chosen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Verify and return the exit code."""
    return await _Run(_options(given), say, show).run()


class _Run:
    """A verification that can be interrupted: the first signal stops it and cleans up, the second
    exits immediately."""

    def __init__(self, options: Options, say: Say, show: Say) -> None:
        self._keep, self._say = options.keep, say
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
            self._say(f"error: {error}")
            code = CANNOT_RUN
        except ApiError as error:
            self._say(f"error: the API server answered: {error}; run the command again")
            code = CANNOT_RUN
        except BrokenPipeError:
            code = BROKEN_PIPE
        except READ_ERRORS as error:
            self._say(unreadable(error))
            code = CANNOT_RUN
        except Exception as error:
            code = bug(error, self._say)
        finally:
            clean = await self._clean_up()
        return code if clean else max(code, CANNOT_RUN)

    async def _clean_up(self) -> bool:
        away = self._verification.away
        try:
            if away is None:
                return True
            if self._keep:
                self._say(f"the temporary service was kept (--keep); to remove it: {away.remains}")
                return True
            return await away.remove()
        finally:
            await self._verification.close()

    def _interrupt(self) -> None:
        if self._interrupted:
            away = self._verification.away
            if away and away.remains:
                self._say(f"exiting without cleaning up; to remove the service: {away.remains}")
            # Exit without waiting for anything.
            os._exit(INTERRUPTED)
        self._interrupted = True
        self._say("interrupted: cleaning up; interrupt again to exit immediately")
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
