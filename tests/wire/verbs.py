"""The verbs of the plug-in as its own parser knows them, each with arguments that it accepts.

A new verb is in the table without a change here, unless no argument can be guessed for it.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Imported here, which takes seconds on a busy machine: otherwise the first verb is interrupted.
import kubernetes.aio.client  # noqa: F401

from immutable_operator.api.names import API_VERSION
from immutable_operator.cli.dashboard import TO_STOP
from immutable_operator.cli.main import main, new_parser
from tests.unit.service_specs import spec

__all__ = ["VERBS", "arguments", "exit_code", "manifest"]

NAME = "web"
# What an option or argument may mean, the first one that its type accepts.
WORDS = ("1h", "1", "2126-12-27T06:00:00Z", "web", "a=b")
SOON = "0.3"
LONGEST = 8.0
# What it says when it serves; it is left to do so for a moment.
MOMENT = 1.0


@functools.cache
def _commands() -> dict[str, argparse.ArgumentParser]:
    for action in new_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError("there are no verbs")


VERBS = tuple(_commands())


def arguments(verb: str, file: Path, name: str = NAME) -> list[str]:
    """Return a command line of the verb with the least that it demands.

    ``file`` is a manifest of the service ``name``. What waits gives up soon.
    """
    parser = _commands()[verb]
    groups = [g for g in parser._mutually_exclusive_groups if g.required]
    grouped = {id(a): a is g._group_actions[0] for g in groups for a in g._group_actions}
    words: list[str] = []
    last: list[str] = []
    for action in parser._actions:
        if not action.option_strings:
            last += _positional(action, name)
        elif grouped.get(id(action), action.required):
            value = str(file) if action.dest == "filename" else _word(action)
            words.append(f"{action.option_strings[0]}={value}")
        elif "--timeout" in action.option_strings:
            words.append(f"--timeout={SOON}")
    return [verb, *words, *last]


def exit_code(words: list[str]) -> int:
    """Run the plug-in in this process, and return its exit code.

    What serves until Ctrl-C, such as a page in the browser, gets it.
    """
    ended = threading.Event()
    waiting = threading.Thread(target=_interrupt, args=(ended, sys.stdout))
    waiting.start()
    try:
        main(words)
    except SystemExit as code:
        return int(code.code or 0)
    finally:
        ended.set()
        waiting.join()
    raise AssertionError("the plug-in did not exit")


def _interrupt(ended: threading.Event, out: Any) -> None:
    """Press Ctrl-C a moment after it says that it serves, and at the latest after `LONGEST`."""
    latest = time.monotonic() + LONGEST
    while not ended.wait(0.05) and time.monotonic() < latest:
        if TO_STOP in getattr(out, "getvalue", str)():
            ended.wait(MOMENT)
            break
    if not ended.is_set():
        os.kill(os.getpid(), signal.SIGINT)


def _positional(action: argparse.Action, name: str) -> Iterator[str]:
    if action.choices:
        yield str(next(iter(action.choices)))
    elif action.nargs in ("*", argparse.REMAINDER, "..."):
        yield from ("--", "true") if action.nargs != "*" else ()
    elif action.dest == "name" or action.nargs != "?":
        # Such as deployment/NAME.
        kind, slash, _ = str(action.metavar or "").rpartition("/")
        yield f"{kind}{slash}{name}" if kind.islower() else name


def _word(action: argparse.Action) -> str:
    if action.choices:
        return str(next(iter(action.choices)))
    for word in WORDS:
        try:
            action.type(word) if callable(action.type) else None
        except (ValueError, TypeError, argparse.ArgumentTypeError):
            continue
        return word
    raise AssertionError(f"no word for {action.option_strings}; add one to WORDS")


def manifest(name: str = NAME, **changes: Any) -> str:
    """Return a manifest of a service."""
    body = {
        "apiVersion": API_VERSION,
        "kind": "ImmutableService",
        "metadata": {"name": name},
        "spec": spec(**changes),
    }
    return json.dumps(body)
