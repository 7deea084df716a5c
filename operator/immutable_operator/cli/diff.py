"""``kubectl immutable diff``: what differs between two revisions."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from immutable_operator.cli.arguments import Say, add_output, add_owner, place
from immutable_operator.cli.asked import Asked, read_asked
from immutable_operator.cli.change import Change, coloured, unified
from immutable_operator.cli.compare import compared
from immutable_operator.cli.compare_config import Pinned, compared_config, is_same
from immutable_operator.cli.contents import Contents, Held
from immutable_operator.cli.objects import Json
from immutable_operator.cli.owner import Owner, with_owner
from immutable_operator.cli.problem import CannotRun
from immutable_operator.cli.records import find_record, identity, named, phase
from immutable_operator.cli.written import as_text
from immutable_operator.domain.config.births import born_from
from immutable_operator.domain.config.canonical import canonical
from immutable_operator.domain.config.nodes import canonical_node
from immutable_operator.domain.model import CONFIG_MAP, ConfigKey
from immutable_operator.wire.owner import OwnerKind

__all__ = ["Side", "add", "born", "changes_between", "drawn", "earlier", "recorded", "run"]

SAME, DIFFERENT = 0, 1


@dataclass(frozen=True)
class Side:
    """One of the two states that are compared. ``template`` is what instances are created from."""

    title: str
    template: Mapping[str, Any]
    config: Mapping[ConfigKey, Pinned] = field(default_factory=dict)


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "diff",
        description="Compares the templates of two revisions field by field, and their ConfigMaps"
        " key by key, with the content of the copies. Of Secrets it shows only which keys differ."
        " Templates that result in the same pods do not differ.",
        epilog="Exit codes: 0 no difference, 1 differences, 2 cannot run.",
    )
    add_owner(command)
    text = "number or id of a revision"
    command.add_argument(
        "old",
        nargs="?",
        metavar="N",
        help=f"{text} [the one that runs; if that is M, the last good one]",
    )
    command.add_argument(
        "new",
        nargs="?",
        metavar="M",
        help=f"{text} [the one that the spec asks for, even if it is not recorded yet]",
    )
    add_output(command, "json", "yaml")
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Print the differences and return the exit code."""

    async def work(owner: Owner) -> int:
        records = await owner.records()
        contents = Contents(owner.client, owner.namespace)
        old = find_record(records, given.old) if given.old else None
        if given.new:
            new = recorded(owner, find_record(records, given.new))
        else:
            asked = await read_asked(owner, records, contents)
            new = _asked(owner, asked)
            old = old or earlier(owner.status, records, asked.record)
        if old is None:
            what = (
                f"the spec asks for {new.title}, and there is no other revision to compare it with"
            )
            say(f"{what}; {_advice(given.name)}")
            if given.output != "table":
                show(_data(None, new, (), given.output))
            return SAME
        sides = (recorded(owner, old), new)
        changes, problems = await changes_between(owner.kind, *sides, contents)
        for problem in problems:
            say(f"warning: {problem}")
        if given.output != "table":
            show(_data(*sides, changes, given.output))
        elif changes:
            show(drawn(sides[0].title, new.title, changes))
        else:
            say(f"no difference; {_advice(owner.name)}")
        return DIFFERENT if changes else SAME

    return await with_owner(place(given), work, say)


def _advice(name: str) -> str:
    return f"to compare other revisions: kubectl immutable diff {name} N M"


def earlier(status: Json, records: Sequence[Json], asked: Json | None) -> Json | None:
    """Return what runs instead of the asked revision, or what was the last good one before it."""
    by_id = {identity(record): record for record in records}
    words = ("currentRevision", "lastGoodRevision")
    found = (by_id.get(str(status.get(word))) for word in words)
    return next((record for record in found if record is not None and record != asked), None)


def recorded(owner: Owner, record: Json) -> Side:
    title = f"{named(record)} of {owner.kind.word} {owner.name}: {phase(record)}"
    if phase(record) == "Failed":
        title += f", {record['status'].get('reason') or 'for an unknown reason'}"
    config = {
        (str(pin.get("kind") or CONFIG_MAP), str(pin["name"])): Pinned(
            str(pin["snapshot"]), str(pin["digest"])
        )
        for pin in record["spec"].get("config") or ()
    }
    return Side(title, record["spec"][owner.kind.recorded], config)


def _asked(owner: Owner, asked: Asked) -> Side:
    if asked.record is not None:
        return recorded(owner, asked.record)
    if asked.template is None:
        raise CannotRun(
            f"the spec of {owner.kind.word} {owner.name} cannot be read: {asked.problem}; correct"
            " it, or name two revisions"
        )
    config = {key: Pinned(key[1], held.digest) for key, held in asked.config.items()}
    title = f"the spec of {owner.kind.word} {owner.name}, not on record"
    return Side(title, born(owner.kind, asked.template), config)


def born(kind: OwnerKind, template: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what instances would be created from, as a new revision would record it."""
    return born_from(template) if kind.is_namespaced else template


def _data(old: Side | None, new: Side, changes: Sequence[Change], output: str) -> str:
    """Return the differences as JSON or YAML."""
    listed = [{"where": c.where, "old": list(c.old), "new": list(c.new)} for c in changes]
    titles = {"old": old.title if old else None, "new": new.title}
    return as_text({**titles, "changes": listed}, output)


def drawn(old: str, new: str, changes: Sequence[Change]) -> str:
    """Return a unified diff with these titles, with colours on a terminal."""
    lines = unified(old, new, changes)
    is_plain = "NO_COLOR" in os.environ or not sys.stdout.isatty()
    return "\n".join(lines if is_plain else coloured(lines))


async def changes_between(
    kind: OwnerKind, old: Side, new: Side, contents: Contents
) -> tuple[list[Change], list[str]]:
    """Return what differs, and what could not be compared."""
    form: Callable[[Any], Any] = canonical if kind.is_namespaced else canonical_node
    changes = compared(kind.recorded, old.template, new.template, form)
    problems = []
    for key in sorted({*old.config, *new.config}):
        more, problem = await _config(key, old.config.get(key), new.config.get(key), contents)
        changes += more
        problems += [problem] if problem else []
    return changes, problems


async def _config(
    key: ConfigKey, old: Pinned | None, new: Pinned | None, contents: Contents
) -> tuple[list[Change], str]:
    if is_same(old, new):
        return [], ""
    held = [
        await contents.read((key[0], pinned.holder)) if pinned is not None else Held()
        for pinned in (old, new)
    ]
    return compared_config(key, old, new, (held[0], held[1]))
