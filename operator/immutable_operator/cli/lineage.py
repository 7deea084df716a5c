"""``kubectl immutable lineage``: which instance was replaced by which, when and why."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from immutable_operator.cli.ancestry import Ancestry, Known, owner_of, read_ancestry
from immutable_operator.cli.arguments import Say, add_output, add_owner, place
from immutable_operator.cli.objects import Json
from immutable_operator.cli.owner import Owner, with_owner
from immutable_operator.cli.table import aligned, visible
from immutable_operator.cli.written import as_text
from immutable_operator.kube.times import second

__all__ = ["add", "printed", "run", "tree"]

HEADS = ("SLOT", "INSTANCE", "REVISION", "BORN", "RETIRED", "BY", "BECAUSE")
GONE = "gone"
BRANCH = "└ "


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "lineage",
        description="Shows the existing instances of a service and the last 100 on record,"
        " including those that are gone. Each instance is shown below the one that it replaced."
        " BORN"
        " and RETIRED are in UTC; BY is the user whose action asked for it, or the tool that wrote"
        " its revision; BECAUSE is why it was created.",
        epilog="Exit codes: 0 shown, 2 cannot run.",
    )
    add_owner(command, instance=True)
    add_output(command, "json", "yaml")
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Print the lineage and return the exit code."""
    where = place(given)
    name = owner_of(where.name)

    async def work(owner: Owner) -> int:
        ancestry = await read_ancestry(owner)
        if name != where.name:
            ancestry = Ancestry(tuple(ancestry.line_of(where.name)))
        if given.output != "table":
            text = printed(ancestry, owner.kind.word, owner.name, owner.namespace)
            show(text if given.output == "json" else as_text(msgspec.json.decode(text), "yaml"))
        elif ancestry.instances:
            show("\n".join(aligned(tree(ancestry))))
        else:
            say(f"{owner.kind.word} {owner.name} has no instance, and none is on record yet")
        return 0

    return await with_owner(replace(where, name=name), work, say)


def tree(ancestry: Ancestry) -> list[tuple[str, ...]]:
    """Return the head and a row for each instance, by slot; a successor follows its predecessor.

    The last successor stands directly below its predecessor; others (tries that were given up) are
    indented.
    """
    rows: list[tuple[str, ...]] = [HEADS]
    roots = [k for k in ancestry.instances if ancestry.predecessor(k) is None]
    left = [(0, root) for root in sorted(roots, key=lambda k: (-k.entry.slot, -k.entry.born))]
    while left:
        depth, known = left.pop()
        rows.append(_row(ancestry, known, depth))
        successors = ancestry.successors(known)
        left += [(depth, last) for last in successors[-1:]]
        left += [(depth + 1, other) for other in reversed(successors[:-1])]
    return rows


def _row(ancestry: Ancestry, known: Known, depth: int) -> tuple[str, ...]:
    entry = known.entry
    because = entry.because
    if entry.replaces and ancestry.predecessor(known) is None:
        because += f" (it replaced {entry.replaces}, which is no longer on record)"
    cells = (
        str(entry.slot),
        "  " * depth + (BRANCH if entry.replaces else "") + entry.name,
        entry.revision,
        second(entry.born),
        _retired(known),
        entry.by,
        because,
    )
    return tuple(visible(cell) or "-" for cell in cells)


def _retired(known: Known) -> str:
    if known.entry.retired is not None:
        return second(known.entry.retired)
    return GONE if known.exists is False else ""


def printed(ancestry: Ancestry, word: str, name: str, namespace: str) -> str:
    """Return the instances as JSON; ``exists`` is null if the pods cannot be listed."""
    items = [_item(known) for known in ancestry.instances]
    body = {word: name, "namespace": namespace, "instances": items}
    return msgspec.json.format(msgspec.json.encode(body), indent=2).decode()


def _item(known: Known) -> Json:
    entry = known.entry
    texts: Sequence[tuple[str, str]] = (
        ("revision", entry.revision),
        ("because", entry.because),
        ("replaces", entry.replaces),
        ("replacesUid", entry.replaces_uid),
        ("by", entry.by),
        ("retired", "" if entry.retired is None else second(entry.retired)),
        ("retiredBecause", entry.retired_because),
    )
    told = {key: text for key, text in texts if text}
    identity = {"slot": entry.slot, "name": entry.name, "uid": entry.uid}
    return {**identity, "born": second(entry.born), **told, "exists": known.exists}
