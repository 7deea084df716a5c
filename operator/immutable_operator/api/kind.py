"""The description of a kind apart from its fields: names, columns, subresources."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from immutable_operator.api import names
from immutable_operator.api.cel import Rule

__all__ = ["BARE", "EMBED", "RECORDED", "WANTED", "ApiModel", "Column", "Kind", "Version"]

EMBED: Final = "x-immutable-embed"
"""Marks a field whose schema the CRD generator inserts: WANTED, RECORDED or BARE."""
WANTED: Final = "pod template with checks"
RECORDED: Final = "pod template as recorded"
BARE: Final = "the model itself, as recorded: without checks, defaults and descriptions"


def _add_rules(schema: dict[str, Any], model: type[BaseModel]) -> None:
    rules: tuple[Rule, ...] = getattr(model, "rules", ())
    if rules:
        schema["x-kubernetes-validations"] = [rule.schema() for rule in rules]


class ApiModel(BaseModel):
    """Base of all models: camelCase in YAML, immutable; unknown fields (of later versions) are
    ignored.

    A class may have `rules: ClassVar[tuple[Rule, ...]]`; the CRD generator reads them.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        json_schema_extra=_add_rules,
    )


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`; a `wide` column is shown with `-o wide` only."""

    name: str
    type: str
    path: str
    description: str
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a custom resource: its fields, columns and subresources.

    Exactly one version of a kind is stored.
    """

    spec: type[ApiModel]
    columns: tuple[Column, ...]
    name: str = names.VERSION
    status: type[ApiModel] | None = None
    status_default: dict[str, int] | None = None
    scale: bool = False
    rules: tuple[Rule, ...] = ()
    stored: bool = True


@dataclass(frozen=True, slots=True)
class Kind:
    """A custom resource: all parts of its CRD apart from the fields of its versions."""

    name: str
    plural: str
    short: str
    description: str
    versions: tuple[Version, ...]
    scope: Literal["Namespaced", "Cluster"] = "Namespaced"
    categories: tuple[str, ...] = ("immutable",)
