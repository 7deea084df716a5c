"""Writes docs/reference/*.md, the API reference, from the CustomResourceDefinitions of the models.

``python -m website.reference`` writes; with ``--check`` it compares. The pod template, which the
service and its revisions share with Deployments, has a page of its own.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from immutable_operator.api.crd import KINDS, crd
from immutable_operator.api.kind import Kind

__all__ = ["FOLDER", "ROOT", "main", "render"]

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = "docs/reference"
_NOTE: Final = (
    "<!-- Generated from operator/immutable_operator/api: python -m website.reference -->\n"
)
_TEMPLATE: Final = ("spec", "template")
_TEMPLATE_PAGE: Final = "pod-template.md"
_MARKDOWN: Final = re.compile(r"([\\`*_\[\]|])")
# The longest default that is shown in a table; longer ones are those of the nested fields.
_LONGEST_DEFAULT: Final = 40

Schema = Mapping[str, Any]


def render() -> dict[str, str]:
    """Return the text of each page by its path in the repository."""
    pages = {f"{kind.name.lower()}.md": _kind_page(kind) for kind in KINDS}
    pages[_TEMPLATE_PAGE] = _template_page()
    pages["README.md"] = _index_page()
    return {f"{FOLDER}/{name}": text for name, text in sorted(pages.items())}


def _schema(kind: Kind) -> Schema:
    version = crd(kind)["spec"]["versions"][-1]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def _index_page() -> str:
    lines = [
        f"{_NOTE}# API reference\n",
        "The custom resources of the operator. `kubectl explain <kind>` shows the same texts for"
        " the version that is installed in your cluster.\n",
        "| kind | short name | scope | purpose |",
        "|---|---|---|---|",
    ]
    for kind in KINDS:
        link = f"[{kind.name}]({kind.name.lower()}.md)"
        lines.append(f"| {link} | `{kind.short}` | {kind.scope} | {_escape(kind.description)} |")
    lines.append(
        f"\nThe fields of `spec.template` are those of a [pod template]({_TEMPLATE_PAGE}).\n"
    )
    return "\n".join(lines)


def _kind_page(kind: Kind) -> str:
    definition = crd(kind)["spec"]
    version = definition["versions"][-1]
    schema = version["schema"]["openAPIV3Schema"]
    lines = [
        f"{_NOTE}# {kind.name}\n",
        f"{_escape(kind.description)}\n",
        f"`apiVersion: {definition['group']}/{version['name']}`, short name `{kind.short}`,"
        f" scope {kind.scope}.\n",
        *_rules(schema),
    ]
    for part in ("spec", "status"):
        if part in schema["properties"]:
            lines += _Sections().write((part,), schema["properties"][part])
    lines += _columns(version["additionalPrinterColumns"])
    return "\n".join(lines).rstrip() + "\n"


def _template_page() -> str:
    [service] = [kind for kind in KINDS if kind.name == "ImmutableService"]
    schema = _schema(service)
    for part in _TEMPLATE:
        schema = schema["properties"][part]
    lines = [
        f"---\nhide: [toc]\n---\n{_NOTE}# Pod template\n",
        "The fields of `spec.template` of an [ImmutableService](immutableservice.md#spec) and of"
        " the record in an [ImmutableRevision](immutablerevision.md). They are those of a"
        " Deployment of Kubernetes 1.36. Messages show what is refused in addition. Names are"
        " relative to the template.\n",
        f"{_escape(schema['description'])}\n",
        *_Sections().write(("metadata",), schema["properties"]["metadata"]),
        *_Sections().write(("spec",), schema["properties"]["spec"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _columns(columns: list[Mapping[str, Any]]) -> Iterator[str]:
    """The columns of ``kubectl get``; empty if the kind has only those of every object."""
    if not columns:
        return
    yield "## Columns of kubectl get\n"
    yield "| column | meaning | shown |\n|---|---|---|"
    for column in columns:
        shown = "with `-o wide`" if column.get("priority") else "always"
        yield f"| {column['name'].upper()} | {_escape(column['description'])} | {shown} |"
    yield ""


class _Sections:
    """Writes one section for each object of a schema; an object that comes again is a reference."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def write(self, path: tuple[str, ...], schema: Schema) -> Iterator[str]:
        """The section of the object at ``path``, and those of the objects in it."""
        title = ".".join(path)
        yield f"{'#' * min(2 + (len(path) > 1), 3)} {title}\n"
        if schema.get("description"):
            yield f"{_escape(schema['description'])}\n"
        yield "| field | type | default | limits | description |\n|---|---|---|---|---|"
        below, required = [], schema.get("required", ())
        for name, field in schema["properties"].items():
            inner, suffix = _object_in(field)
            place = (*path, f"{name}{suffix}")
            yield self._row(place, field, inner, name in required)
            if inner is not None and not _is_pod_template(inner) and self._is_new(place, inner):
                below.append((place, inner))
        yield ""
        yield from _rules(schema)
        for place, inner in below:
            yield from self.write(place, inner)

    def _row(
        self, place: tuple[str, ...], field: Schema, inner: Schema | None, required: bool
    ) -> str:
        name = place[-1].removesuffix("[]").removesuffix("{}")
        kind = _type(field)
        if inner is not None and _is_pod_template(inner):
            kind = f"[{kind}]({_TEMPLATE_PAGE})"
        elif inner is not None:
            kind = f"[{kind}](#{_slug(self._known.get(_shape(inner), '.'.join(place)))})"
        limits = ["required"] if required else []
        limits += _limits(field)
        cells = [
            f"`{name}`",
            kind,
            _default(field),
            "; ".join(limits),
            _escape(field.get("description", "")) + _inline_rules(field, inner),
        ]
        return "| " + " | ".join(cells) + " |"

    def _is_new(self, place: tuple[str, ...], inner: Schema) -> bool:
        shape = _shape(inner)
        new = shape not in self._known
        self._known.setdefault(shape, ".".join(place))
        return new


def _is_pod_template(schema: Schema) -> bool:
    """Return whether an object is a pod template with all of its fields."""
    fields = schema["properties"].get("spec", {}).get("properties", {})
    return "containers" in fields and "volumes" in fields


def _shape(schema: Schema) -> str:
    """The fields of an object, without what is said about the object itself."""
    return json.dumps([schema["properties"], schema.get("required")], sort_keys=True)


def _object_in(field: Schema) -> tuple[Schema | None, str]:
    """The object that a field is, or is a list or map of, with the suffix of its name."""
    for suffix, inner in (
        ("", field),
        ("[]", field.get("items")),
        ("{}", field.get("additionalProperties")),
    ):
        if isinstance(inner, Mapping) and inner.get("properties"):
            return inner, suffix
    return None, ""


def _type(field: Schema) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    if isinstance(values := field.get("additionalProperties"), Mapping):
        return f"map of {_type(values)}"
    named = {"date-time": "time"}
    return named.get(field.get("format", ""), str(field.get("type", "any")))


def _default(field: Schema) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    text = value if isinstance(value, str) else json.dumps(value)
    if isinstance(value, str) and not value:
        text = '""'
    return f"`{text}`" if len(text) <= _LONGEST_DEFAULT else "see its fields"


def _limits(field: Schema) -> list[str]:
    """The validation of a value in words; that of the items of a list follows it."""
    said = []
    if "enum" in field:
        said.append("one of " + ", ".join(f"`{value}`" for value in field["enum"]))
    for low, high, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " entries"),
    ):
        said += _range(field.get(low), field.get(high), unit)
    if "pattern" in field:
        pattern = field["pattern"].replace("|", "\\|")
        said.append(f"pattern `{pattern}`")
    inner = field.get("items") or field.get("additionalProperties")
    if isinstance(inner, Mapping) and not inner.get("properties"):
        said += [f"each: {limit}" for limit in _limits(inner)]
    return said


def _range(low: object, high: object, unit: str) -> list[str]:
    if low is not None and high is not None:
        return [f"{low} to {high}{unit}"]
    if low is not None:
        return [f"at least {low}{unit}"]
    return [f"at most {high}{unit}"] if high is not None else []


def _rules(schema: Schema) -> Iterator[str]:
    """The rules of an object that concern several of its fields, as messages of a refusal."""
    messages = _messages(schema)
    if messages:
        yield "Refused with the message:\n"
        yield from (f"- {message}" for message in messages)
        yield ""


def _inline_rules(field: Schema, inner: Schema | None) -> str:
    """The rules of a value that has no section of its own."""
    held = field if inner is not field else {}
    messages = [*_messages(held), *_messages(held.get("items", {}) if inner is None else {})]
    return "".join(f"<br>Refused: {message}." for message in messages)


def _messages(schema: Schema) -> list[str]:
    said = []
    for rule in schema.get("x-kubernetes-validations", ()):
        text = rule.get("message") or _first_text(rule["messageExpression"])
        where = rule.get("fieldPath", "").lstrip(".")
        said.append((f"`{where}`: " if where else "") + _escape(text))
    return list(dict.fromkeys(said))


def _first_text(expression: str) -> str:
    """The first sentence in a CEL expression; what is filled in is shown as an ellipsis."""
    texts = [text for text in re.findall(r"'([^']*)'", expression) if " " in text.strip()]
    return re.sub(r"%[sd]", "…", texts[0])


def _slug(title: str) -> str:
    """The anchor that MkDocs and GitHub give to a title."""
    return re.sub(r"[^\w-]", "", title).lower()


def _escape(text: str) -> str:
    plain = " ".join(text.split())
    return _MARKDOWN.sub(r"\\\1", plain).replace("<", "&lt;").replace("{", "&#123;")


def main(arguments: list[str] | None = None) -> int:
    """Write the pages, or compare them with the committed files."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 if one differs")
    parser.add_argument("--root", type=Path, default=ROOT, help="root of the repository")
    options = parser.parse_args(arguments)
    pages = render()
    left = {f"{FOLDER}/{p.name}" for p in (options.root / FOLDER).glob("*.md")} - set(pages)
    if options.check:
        differ = [p for p in pages if not _is(options.root / p, pages[p])] + sorted(left)
        for path in differ:
            print(f"{path} differs from the models; run: python -m website.reference")
        return 1 if differ else 0
    (options.root / FOLDER).mkdir(parents=True, exist_ok=True)
    for path, text in pages.items():
        (options.root / path).write_text(text, encoding="utf-8")
    for path in left:
        (options.root / path).unlink()
    return 0


def _is(file: Path, text: str) -> bool:
    return file.exists() and file.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    raise SystemExit(main())
