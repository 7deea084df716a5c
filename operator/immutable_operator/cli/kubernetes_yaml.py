"""YAML as kubectl reads it: documents with their positions in a text, and a writer.

Other than PyYAML, kubectl reads no dates and no numbers to the base 60, and ``1e3`` is a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from immutable_operator.cli.objects import Json
from immutable_operator.cli.problem import CannotRun

__all__ = ["Document", "documents", "dumped", "loaded"]

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


def documents(text: str, where: str) -> list[Document]:
    """Read all documents of a text; ``where`` names it. Raises `CannotRun` if it is not YAML."""
    try:
        return list(_documents(text))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise CannotRun(
            f"{where} is not valid YAML: {said}; if it is a template of a chart, render it first"
            " with: helm template"
        ) from error


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
