"""``kubectl immutable pin``: adds to each image in a file the digest that its tag has now."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from immutable_operator.cli.arguments import Say, add_login
from immutable_operator.cli.convert import add_file
from immutable_operator.cli.docker_login import DockerLogin
from immutable_operator.cli.images import found_images, pinned
from immutable_operator.cli.kubernetes_yaml import STDIN, documents, read_text
from immutable_operator.cli.owner import CANNOT_RUN
from immutable_operator.cli.problem import CannotRun
from immutable_operator.cli.yaml_edit import applied
from immutable_operator.registry.client import RegistryError
from immutable_operator.registry.tags import Tagged, Tags

__all__ = ["add", "run"]

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "pin",
        description="Reads a file, asks the registry of each image without a digest which digest"
        " its tag has now, and prints the file with registry/name:tag@sha256:...; everything else,"
        " including comments, stays identical. The credentials are those of docker login"
        " ($DOCKER_CONFIG/config.json and the credential helpers that it names). The command"
        " contacts no cluster. In a Kustomization, newTag becomes digest.",
        epilog="Exit codes: 0 all images have a digest, 2 cannot run; then nothing is written.",
    )
    add_file(command)
    command.add_argument(
        "--in-place", "-i", action="store_true", help="change the file instead of printing it"
    )
    command.add_argument(
        "--plain-http",
        action="append",
        default=[],
        metavar="HOST",
        help="registry (host or host:port) to ask over HTTP; may be given several times [those of"
        " this machine]",
    )
    add_login(command, "without effect: no namespace is used")
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Print or write the pinned text and return the exit code."""
    try:
        if given.in_place and given.filename == STDIN:
            raise CannotRun("--in-place needs a file; leave it out to read standard input")
        text = read_text(given.filename)
        new = await _pinned(text, given.filename, given.plain_http, say)
        if not given.in_place:
            # Not `show`, which ends the last line even if the file does not.
            sys.stdout.write(new)
            sys.stdout.flush()
        elif new != text:
            _write(Path(given.filename), new)
    except CannotRun as error:
        say(f"error: {error}")
        return CANNOT_RUN
    return 0


async def _pinned(text: str, where: str, plain: Iterable[str], say: Say) -> str:
    found = found_images(text, documents(text, where), where)
    images = list(dict.fromkeys(one.image for one in found))
    tags = Tags(DockerLogin().of, frozenset(plain) | _on_this_machine(images))
    answers = await asyncio.gather(*map(tags.digest, images), return_exceptions=True)
    digests = {}
    for image, answer in zip(images, answers, strict=True):
        if isinstance(answer, RegistryError):
            line = next(one.line for one in found if one.image == image)
            raise CannotRun(f"{where}, line {line}: {answer}") from answer
        if isinstance(answer, BaseException):
            raise answer
        digests[image] = answer
        say(f"{image.host}/{image.repository}:{image.tag} has {answer}")
    if not found:
        say(f"{where}: all images have a digest already")
    return applied(text, pinned(found, digests))


def _on_this_machine(images: Iterable[Tagged]) -> set[str]:
    return {i.host for i in images if i.host.rpartition(":")[0] in LOOPBACK or i.host in LOOPBACK}


def _write(path: Path, text: str) -> None:
    """Replace the content of a file at once. Raises `CannotRun`."""
    path = path.resolve()  # what a link names, not the link
    try:
        number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(number, "wb") as file:
            file.write(text.encode())
        Path(name).chmod(path.stat().st_mode)
        Path(name).replace(path)
    except OSError as error:
        raise CannotRun(f"{path} cannot be written: {error.strerror}") from error
