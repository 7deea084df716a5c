"""YAML as kubectl reads it: documents with their positions in a text, and a writer.

Other than PyYAML, kubectl reads no dates and no numbers to the base 60, and ``1e3`` is a number.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from immutable_operator.cli.objects import Json
from immutable_operator.cli.problem import CannotRun

__all__ = ["STDIN", "Document", "documents", "dumped", "loaded", "read_text", "title"]

STDIN = "-"

INT, FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
NOT_READ = (INT, FLOAT, "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]*|0[0-7_]+|0x[0-9a-fA-F_]+|0b[01_]+)$")
DECIMAL = re.compile(
    r"[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|\.[0-9]+([eE][-+]?[0-9]+)?"
    r"|[0-9]+[eE][-+]?[0-9]+|\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
)
QUOTED = re.compile(r"[-+.]?[0-9].*|[-+]?\.?(inf|nan)|y|n|=|", re.IGNORECASE | re.DOTALL)
DIGITS = list("-+.0123456789")


class _Loader(yaml.SafeLoader):
    pass


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] not in NOT_READ]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(INT, WHOLE, DIGITS)
_Loader.add_implicit_resolver(FLOAT, DECIMAL, DIGITS)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else '"' if QUOTED.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


@dataclass(frozen=True)
class Document:
    """A document of a text: its root node, whose marks are positions in the text, and what it says.

    ``body`` is {} if the document is empty.
    """

    node: yaml.Node
    body: Any


def read_text(name: str) -> str:
    """Read a file, or standard input, with its line ends as they are. Raises `CannotRun`."""
    try:
        if name == STDIN:
            return sys.stdin.buffer.read().decode()
        return Path(name).read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        advice = "specify a file of YAML or JSON with -f"
        raise CannotRun(f"{name} cannot be read: {reason}; {advice}") from error


def title(where: str) -> str:
    """Return what messages call a file."""
    return "standard input" if where == STDIN else where


def documents(text: str, where: str) -> list[Document]:
    """Read all documents of a text; ``where`` names it. Raises `CannotRun` if it is not YAML."""
    try:
        return list(_documents(text))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CannotRun(
            f"{title(where)} is not valid YAML: {_problem(error)}; if it is a template of a chart,"
            " render it first with: helm template"
        ) from error


def _problem(error: Exception) -> str:
    """Return what is wrong and where, without the excerpt of the text."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem or error.context}"
    return " ".join(str(error).split())


def _documents(text: str) -> Iterator[Document]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield Document(node, loader.construct_document(node))
    finally:
        loader.dispose()


def loaded(text: str) -> Any:
    """Read one document. Raises `yaml.YAMLError` or ValueError."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader


def dumped(body: Json) -> str:
    """Write an object in block style; each text that could be read as something else is quoted."""
    return yaml.dump(
        body,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=1000,
    )
