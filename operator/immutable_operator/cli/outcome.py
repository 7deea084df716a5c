"""What came of an attempt: its result, which layer made it so, and whether it may be so.

The order of the results is that of their worth: what is prevented need not be healed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from immutable_operator.api.names import GROUP
from immutable_operator.kube.errors import ApiError

__all__ = ["Outcome", "Refusal", "Result", "refusal"]

POLICY = re.compile(r"ValidatingAdmissionPolicy '([^']+)'")
WEBHOOK = re.compile(r'admission webhook "([^"]+)" denied')
RBAC = re.compile(r'User "([^"]*)" cannot ')


class Result(StrEnum):
    """The words of the table."""

    PREVENTED = "Prevented"
    HEALED = "Healed"
    REPORTED = "Reported"
    NOT_COVERED = "Not covered"
    NOT_TRIED = "Not tried"
    """Something holds it, but not so that it could be tried from outside."""

    @property
    def worth(self) -> int:
        return -list(Result).index(self)


@dataclass(frozen=True)
class Outcome:
    """A row. ``expected`` is the least that should hold; None where nothing can be tried."""

    id: str
    path: str
    result: Result
    expected: Result | None
    layer: str = ""
    detail: str = ""
    seconds: float | None = None

    @property
    def ok(self) -> bool:
        return self.expected is None or self.result.worth >= self.expected.worth

    @property
    def by_rights(self) -> bool:
        """Whether only the rights of the one who asked prevented it: others may have more."""
        return self.layer.startswith("L3")

    @property
    def words(self) -> str:
        """The result as people read it."""
        if self.seconds is None:
            return str(self.result)
        return f"{self.result} in {self.seconds:.1f} s"

    def body(self) -> dict[str, Any]:
        """The row for machines; ``seconds`` is a number or null."""
        seconds = None if self.seconds is None else round(self.seconds, 2)
        return {
            "id": self.id,
            "path": self.path,
            "result": str(self.result),
            "seconds": seconds,
            "layer": self.layer,
            "detail": self.detail,
            "expected": None if self.expected is None else str(self.expected),
            "ok": self.ok,
        }


@dataclass(frozen=True)
class Refusal:
    """Who refused a request, and in which words."""

    layer: str
    detail: str


def refusal(error: ApiError, own_words: str | None) -> Refusal | None:
    """Who refused; None where nobody did, or where the refusal says nothing about the path.

    ``own_words`` is a regular expression for what the API server says itself where it refuses this
    path without any policy: any other refusal may be due to a request that is wrong anyway.
    """
    text = error.message
    if found := POLICY.search(text):
        words = text.partition("denied request: ")[2] or text
        return Refusal(f"L2 policy {found[1].removesuffix(f'.{GROUP}')}", words)
    if found := WEBHOOK.search(text):
        return Refusal(f"webhook {found[1]}", text)
    if found := RBAC.search(text):
        return Refusal(f"L3 RBAC for {found[1]}", text)
    if own_words and error.status in (400, 403, 409, 422) and re.search(own_words, text):
        return Refusal("API server itself", text)
    return None
