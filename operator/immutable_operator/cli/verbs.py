"""The table of the verbs: a module is imported only if its verb is on the command line.

So completion and --help of the whole command import none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

__all__ = ["VERBS", "Verb", "add_verbs"]


@dataclass(frozen=True)
class Verb:
    """``function`` of ``module`` in this package, by default that of its name, adds its parser."""

    name: str
    help: str
    module: str = ""
    function: str = "add"

    def add(self, commands: Any) -> None:
        """Add the verb with all its options to a command line. Imports its module."""
        module = import_module(f"immutable_operator.cli.{self.module or self.name}")
        getattr(module, self.function)(_Helped(commands, self.help))


@dataclass(frozen=True)
class _Helped:
    """The verbs of a command line, for a module that adds the parser of one of them."""

    commands: Any
    help: str

    def add_parser(self, name: str, **options: Any) -> Any:
        return self.commands.add_parser(name, help=self.help, **options)


VERBS = (
    Verb("get", "show services, or one service with each of its pods"),
    Verb("status", "wait until a service is ready, for scripts and pipelines"),
    Verb("why", "explain the state of a service or a pod, and what it waits for"),
    Verb("lineage", "show which instance was replaced by which, when and why"),
    Verb("events", "list the events of a service and of its pods"),
    Verb("history", "list the revisions of a service with their outcomes"),
    Verb("diff", "show what differs between two revisions"),
    Verb("plan", "show what would happen if a file were applied"),
    Verb("undo", "run a good revision instead of the one that the spec asks for"),
    Verb("retry", "roll out again the revision that the spec asks for, after it failed"),
    Verb("promote", "switch the traffic to the revision that waits for its promotion"),
    Verb("abort", "reject the revision that waits for its promotion", "promote", "add_abort"),
    Verb("regenerate", "replace the instances of a service, or one of them"),
    Verb("suspend", "stop all replacements of a service, including repairs"),
    Verb("resume", "end a suspension or an undo", "suspend", "add_resume"),
    Verb("freeze", "stop rollouts and regeneration in a namespace for some time"),
    Verb("unfreeze", "end a freeze", "freeze", "add_unfreeze"),
    Verb("convert", "turn the Deployments in a file into ImmutableServices"),
    Verb("pin", "add digests to the images in a file"),
    Verb("migrate", "move a running Deployment to an ImmutableService, or back"),
    Verb("exec", "run a command in a pod in an emergency; the pod is then replaced", "enter"),
    Verb(
        "dashboard", "show services in the browser, live: which instance was replaced, when and why"
    ),
    Verb("check", "check that the operator runs and that the cluster enforces its policies"),
    Verb("verify", "check that pods of ImmutableServices cannot be changed in place", "verifying"),
    Verb("completion", "print the script that completes commands in a shell"),
    Verb("version", "print the versions of the plug-in, the operator and the API server"),
)


def add_verbs(commands: Any, words: Sequence[str] | None = None) -> None:
    """Add all verbs; with the ``words`` of a command line, the others have no options."""
    for verb in VERBS:
        if words is None or verb.name in words:
            verb.add(commands)
        else:
            commands.add_parser(verb.name, help=verb.help)
