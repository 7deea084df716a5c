"""Completes a command line: ``kubectl-immutable __complete WORD...``, the last word being typed.

The answer is that of kubectl's protocol for plug-ins: a candidate a line, with a description after
a tab, and ``:4`` (no names of files) or ``:0`` (names of files) as the last line. All is read from
the parser, so that a new verb or option is completed without a change here; what the name of
an argument stands for is in `names`.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["FILES", "NO_FILES", "Asked", "Offers", "Spot", "complete", "spot"]

NO_FILES, FILES = ":4", ":0"
FILE_OPTIONS = ("kubeconfig", "file", "filename")
# Names and what is said about them.
Offers = list[tuple[str, str]]


@dataclass(frozen=True)
class Asked:
    """What is completed: the verb, what the argument is called in its usage, and the values of the
    options and arguments before it."""

    verb: str
    kind: str
    given: Mapping[str, str]

    @property
    def is_pool(self) -> bool:
        return "pool" in self.given


Find = Callable[[Asked], Awaitable[Offers]]


@dataclass
class Spot:
    """Where the command line ends: the parser of its verb and the options before the last word.

    ``word`` is what is typed of a value, ``action`` the argument that it belongs to; None if only
    an option can be there, or nothing. ``over`` means that the rest is for another program.
    """

    parser: argparse.ArgumentParser
    verb: str = ""
    given: dict[str, str] = field(default_factory=dict)
    word: str = ""
    action: argparse.Action | None = None
    over: bool = False

    def option(self, word: str) -> argparse.Action | None:
        found = (a for a in self.parser._actions if word in a.option_strings)
        return next(found, None)

    def options(self) -> Iterable[tuple[str, str]]:
        """The long options that are not given yet, with their help."""
        for action in self.parser._actions:
            if action.help is not argparse.SUPPRESS and action.dest not in self.given:
                for name in action.option_strings:
                    if name.startswith("--"):
                        yield name, str(action.help or "")


def spot(parser: argparse.ArgumentParser, words: Sequence[str]) -> Spot:
    """Return where these words end; the last one may be empty."""
    *before, last = words or [""]
    here = Spot(parser)
    places = _places(parser)
    rest = iter(before)
    for word in rest:
        if word == "--":
            here.over = True
            return here
        if word.startswith("-") and len(word) > 1:
            _note_option(here, word, rest)
            if here.action is not None:
                here.word = last
                return here
            continue
        action = places.pop(0) if places else None
        if isinstance(action, argparse._SubParsersAction) and word in action.choices:
            here.parser, here.verb = action.choices[word], word
            places = _places(here.parser)
        elif action is not None:
            here.given[action.dest] = word
            if action.nargs in ("*", "+", argparse.REMAINDER):
                places.insert(0, action)
    name, is_assigned, value = last.partition("=")
    if last.startswith("-") and is_assigned:
        here.action, here.word = here.option(name), value
    else:
        here.word = last
        here.action = places[0] if places and not last.startswith("-") else None
    return here


def _places(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if not action.option_strings]


def _note_option(here: Spot, word: str, rest: Iterable[str]) -> None:
    """Note an option and its value; ``here.action`` is set if the value is what is being typed."""
    name, is_assigned, value = word.partition("=")
    action = here.option(name)
    if action is None and not word.startswith("--"):
        name, is_assigned, value = word[:2], word[2:], word[2:].removeprefix("=")
        action = here.option(name)
    if action is None:
        return
    if action.nargs != 0 and not is_assigned:
        found = next(iter(rest), None)
        if found is None:
            here.action = action
            return
        value = found
    here.given[action.dest] = value


async def _names(asked: Asked) -> Offers:
    # Only names need a connection to the cluster, which takes long to import.
    from immutable_operator.cli.names import names

    return await names(asked)


async def complete(
    parser: argparse.ArgumentParser, words: Sequence[str], find: Find = _names
) -> list[str]:
    """Return the lines of the answer; ``find`` asks the cluster."""
    here = spot(parser, words)
    offers: Offers = []
    if here.over:
        return [NO_FILES]
    if here.action is None:
        offers = list(here.options()) if here.word.startswith("-") else []
    elif isinstance(here.action, argparse._SubParsersAction):
        offers = [(a.dest, str(a.help or "")) for a in here.action._choices_actions]
    elif here.action.choices:
        offers = [(str(choice), "") for choice in here.action.choices]
    elif here.action.dest in FILE_OPTIONS or here.action.metavar == "FILE":
        return [FILES]
    else:
        offers = await find(Asked(here.verb, _kind(here.action), here.given))
    return [*_lines(offers, here.word), NO_FILES]


def _kind(action: argparse.Action) -> str:
    """What an argument is called in the usage: NAME, POD, N, NAMESPACE."""
    return action.metavar if isinstance(action.metavar, str) else action.dest.upper()


def _lines(offers: Offers, word: str) -> list[str]:
    told = ((name, " ".join(text.split())) for name, text in offers if name.startswith(word))
    return [f"{name}\t{text}" if text else name for name, text in told]
