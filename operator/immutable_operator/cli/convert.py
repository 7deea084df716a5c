"""``kubectl immutable convert``: Deployments in a file become ImmutableServices, offline."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from immutable_operator.api.names import API_VERSION, SERVICE_KIND
from immutable_operator.cli.arguments import Say, add_login
from immutable_operator.cli.conversion import convert, is_deployment
from immutable_operator.cli.kubernetes_yaml import Document, documents, read_text, title
from immutable_operator.cli.objects import Json
from immutable_operator.cli.owner import CANNOT_RUN
from immutable_operator.cli.problem import CannotRun
from immutable_operator.cli.yaml_edit import applied, rewritten

__all__ = ["add", "add_file", "convert_text", "run"]

AUTOSCALERS = ("HorizontalPodAutoscaler", "ScaledObject")
VERTICAL = "VerticalPodAutoscaler"
# Kinds of pods that people may expect to be converted.
OTHERS = ("StatefulSet", "DaemonSet", "ReplicaSet", "Rollout", "DeploymentConfig")


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "convert",
        description="Reads a file, turns each Deployment into an ImmutableService, and its"
        " HorizontalPodAutoscaler into one of the service, and prints the result; all other"
        " documents, comments and the order are kept. The command contacts no cluster. Fields"
        " without an equivalent are listed on standard error: the field, what became of it, what"
        " to do.",
        epilog="Exit codes: 0 converted, 1 converted, but a field has to be changed before the API"
        " server accepts the result, 2 cannot run.",
    )
    add_file(command)
    add_login(command, "without effect: no namespace is used")
    command.set_defaults(run=run)


def add_file(parser: argparse.ArgumentParser) -> None:
    """Add --filename."""
    text = "file to read; - for standard input"
    parser.add_argument("--filename", "-f", metavar="FILE", required=True, help=text)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Print the converted text and return the exit code."""
    try:
        text, blocked = convert_text(read_text(given.filename), given.filename, say)
    except CannotRun as error:
        say(f"error: {error}")
        return CANNOT_RUN
    show(text.removesuffix("\n"))
    return 1 if blocked else 0


def convert_text(text: str, where: str, say: Say) -> tuple[str, bool]:
    """Return the converted text, and whether the API server would refuse a part of it.

    Raises `CannotRun` if there is no Deployment in it.
    """
    read = documents(text, where)
    conversion = _Conversions(read, say)
    if not conversion.names:
        raise CannotRun(
            f"{title(where)} has no Deployment; specify a file with one (of a chart: helm"
            " template ... | kubectl immutable convert -f -)"
        )
    edits = []
    for document in read:
        body = conversion.of(document.body)
        if body != document.body:
            edits.append(rewritten(text, document, body))
    return applied(text, edits), conversion.blocked


def _objects(body: Any) -> Iterator[Json]:
    """Yield the object of a document, or those of a List."""
    if not isinstance(body, dict):
        return
    if body.get("kind") == "List" and isinstance(body.get("items"), list):
        for item in body["items"]:
            yield from _objects(item)
    else:
        yield body


class _Conversions:
    """Converts the objects of a file one by one; ``names`` are those of its Deployments."""

    def __init__(self, read: list[Document], say: Say) -> None:
        self._say = say
        known = [body for document in read for body in _objects(document.body)]
        self.names = {_name(body) for body in known if is_deployment(body)}
        self._scaled = {_target(b).get("name") for b in known if b.get("kind") in AUTOSCALERS}
        self.blocked = False

    def of(self, body: Any) -> Any:
        """Return what an object, or a List of them, becomes."""
        if not isinstance(body, dict):
            return body
        if body.get("kind") == "List" and isinstance(body.get("items"), list):
            return {**body, "items": [self.of(item) for item in body["items"]]}
        kind = body.get("kind")
        if is_deployment(body):
            return self._deployment(body)
        if kind in AUTOSCALERS and self._concerned(body, "scaleTargetRef"):
            return self._autoscaler(body)
        if kind == VERTICAL and self._concerned(body, "targetRef"):
            self._tell(
                body,
                "spec.targetRef: kept; it can change pods in place or evict them, which"
                ' an ImmutableService replaces; remove it, or set updateMode: "Off"',
            )
        if kind in OTHERS:
            self._tell(body, "kept as it is: only Deployments are converted")
        return body

    def _deployment(self, body: Json) -> Json:
        found = convert(body, autoscaled=_name(body) in self._scaled)
        for note in found.notes:
            self._tell(body, str(note))
            self.blocked = self.blocked or note.blocks
        return found.body

    def _concerned(self, body: Json, field: str) -> bool:
        target = _target(body, field)
        return target.get("kind", "Deployment") == "Deployment" and target.get("name") in self.names

    def _autoscaler(self, body: Json) -> Json:
        ours = {"apiVersion": API_VERSION, "kind": SERVICE_KIND}
        target = {key: ours.get(key, value) for key, value in _target(body).items()} | ours
        return {**body, "spec": {**body["spec"], "scaleTargetRef": target}}

    def _tell(self, body: Json, text: str) -> None:
        self._say(f"{str(body['kind']).lower()} {_name(body)}: {text}")


def _name(body: Json) -> str:
    metadata = body.get("metadata")
    return str(metadata.get("name") or "") if isinstance(metadata, dict) else ""


def _target(body: Json, field: str = "scaleTargetRef") -> Json:
    spec = body.get("spec")
    found = spec.get(field) if isinstance(spec, dict) else None
    return found if isinstance(found, dict) else {}
