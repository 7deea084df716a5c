"""CEL rules as data: models carry them as `rules`, the CRD generator writes them out."""

from dataclasses import dataclass

__all__ = ["Rule", "quote"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of `x-kubernetes-validations`.

    Attributes
    ----------
    rule
        CEL expression that is true for what is allowed.
    message
        Fixed text for the person who is refused, or, with `computed`, a CEL expression for it.
    field
        Path below the schema that the rule stands on, such as `.image`; the API server prints it.
    """

    rule: str
    message: str
    computed: bool = False
    field: str | None = None

    def schema(self) -> dict[str, str]:
        """Give the rule as the API server reads it."""
        out = {"rule": self.rule}
        out["messageExpression" if self.computed else "message"] = self.message
        if self.field:
            out["fieldPath"] = self.field
        return out


def quote(text: str) -> str:
    """Write text as a CEL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
