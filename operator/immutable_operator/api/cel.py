"""CEL rules as data: models have them as `rules`, and the CRD generator writes them to the CRDs."""

from dataclasses import dataclass
from typing import Any

__all__ = ["Rule", "quote", "validations"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of `x-kubernetes-validations`.

    Attributes
    ----------
    rule
        CEL expression that is true for allowed values.
    message
        Text of the refusal, or, with `computed`, a CEL expression for it.
    field
        Path below the schema with the rule, such as `.image`; the API server prints it.
    sees_old
        Whether the rule uses the stored value: `oldSelf` is then an optional, without a value when
        the object is created.
    """

    rule: str
    message: str
    computed: bool = False
    field: str | None = None
    sees_old: bool = False

    def schema(self) -> dict[str, Any]:
        """Return the rule in the format of a CRD."""
        out: dict[str, Any] = {"rule": self.rule}
        out["messageExpression" if self.computed else "message"] = self.message
        if self.field:
            out["fieldPath"] = self.field
        if self.sees_old:
            out["optionalOldSelf"] = True
        return out


def validations(*rules: Rule) -> dict[str, Any]:
    """Return the part of a field's schema that has its rules."""
    return {"x-kubernetes-validations": [rule.schema() for rule in rules]}


def quote(text: str) -> str:
    """Write text as a CEL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
