"""Options that several verbs have in common.

The options of the login can also be given before the verb: there they have their defaults, and the
same options after the verb have none.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from immutable_operator.cli.overrides import add_overrides

if TYPE_CHECKING:
    from immutable_operator.cli.owner import Place

__all__ = [
    "Say",
    "add_login",
    "add_output",
    "add_override",
    "add_owner",
    "add_reason",
    "add_wait",
    "place",
    "seconds",
]

Say = Callable[[str], None]
REVISIONS_OF_POOLS = "that of the operator, found by the revisions of the pool"


def add_login(
    parser: argparse.ArgumentParser, namespace: str, *, default: Any = argparse.SUPPRESS
) -> None:
    """Add --namespace, whose help is ``namespace``, and the other options of kubectl."""
    add = parser.add_argument
    add("--namespace", "-n", default=default, help=namespace)
    add(
        "--kubeconfig",
        default=default,
        help="path of the kubeconfig file, as for kubectl [$KUBECONFIG, ...]",
    )
    add("--context", default=default, help="name of the kubeconfig context to use")
    add_overrides(parser, default)


def add_owner(parser: argparse.ArgumentParser, *, instance: bool = False) -> None:
    """Add the name of a service or pool, and the options of the login.

    With ``instance`` it can also be the name of one of its instances.
    """
    add = parser.add_argument
    if instance:
        add("name", metavar="NAME|POD", help="name of the ImmutableService, or of one of its pods")
    else:
        add("name", metavar="NAME", help="name of the ImmutableService")
    add("--pool", action="store_true", help="NAME is the name of an ImmutableNodePool")
    where = f"namespace of the service [the context's; with --pool: {REVISIONS_OF_POOLS}]"
    add_login(parser, where)


def add_reason(parser: argparse.ArgumentParser, more: str = "") -> None:
    parser.add_argument("--reason", help=f"reason to record{more}")


def add_override(
    parser: argparse.ArgumentParser, what: str = "carry it out even if an ImmutableFreeze applies"
) -> None:
    """Add --reason and --override-freeze."""
    add_reason(parser, "; required with --override-freeze")
    parser.add_argument("--override-freeze", action="store_true", help=what)


def add_wait(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--wait", action="store_true", help="wait until the action has ended")
    add("--timeout", type=seconds, default=600.0, help="seconds to wait with --wait [600]")


def add_output(parser: argparse.ArgumentParser, *formats: str) -> None:
    """Add --output; ``formats`` are those beside the table."""
    choices = ("table", *formats)
    add = parser.add_argument
    add("--output", "-o", choices=choices, default="table", help="output format [table]")


def place(given: argparse.Namespace) -> Place:
    """Return what the options of `add_owner` say. Raises `LoginError`."""
    # Completion has no use for them.
    from immutable_operator.cli.login import find_login
    from immutable_operator.cli.owner import Place

    login = find_login(given.kubeconfig, given.context)
    return Place(login, given.name, given.namespace or "", is_pool=given.pool)


def seconds(text: str) -> float:
    """Read a positive number of seconds. Raises ValueError."""
    if not 0 < (number := float(text)) < float("inf"):
        raise ValueError
    return number


seconds.__name__ = "number of seconds"
