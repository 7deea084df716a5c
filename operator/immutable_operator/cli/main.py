"""The kubectl plug-in: kubectl runs ``kubectl-immutable`` for ``kubectl immutable``."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from contextvars import copy_context
from typing import Any, NoReturn

from immutable_operator.cli.arguments import add_login
from immutable_operator.cli.complete import complete
from immutable_operator.cli.overrides import use_overrides
from immutable_operator.cli.problem import BROKEN_PIPE, CANNOT_RUN, INTERRUPTED, LoginError, bug
from immutable_operator.cli.verbs import add_verbs

__all__ = ["answer_kubectl", "main", "new_parser"]

# The completion scripts and kubectl ask with it.
COMPLETE = "__complete"


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run the command, exit with its code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == [COMPLETE]:
        answer_kubectl(words[1:])
        return
    given = new_parser(words).parse_args(words)
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
        return bug(error, _say)


def answer_kubectl(words: Sequence[str] | None = None) -> None:
    """Complete a command line: the program ``kubectl_complete-immutable``."""
    given = sys.argv[1:] if words is None else words
    for line in asyncio.run(complete(new_parser(given), given)):
        print(line)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # The reader, such as head, has ended; Python would complain about the rest at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command line.

    As with kubectl, an option is written out: ``--client`` of a verb is not the beginning of
    ``--client-key`` of all of them.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.allow_abbrev = False

    def error(self, message: str) -> NoReturn:
        self.exit(CANNOT_RUN, f"error: {message}; see: {self.prog} --help\n")


def new_parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Return the parser of all verbs; with the ``words`` of a command line, only those of them
    have their options."""
    parser = _Parser(prog="kubectl immutable", description="Commands for ImmutableServices.")
    add_login(parser, "namespace of the service [the context's]", default=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    add_verbs(commands, words)
    return parser


if __name__ == "__main__":
    main()
