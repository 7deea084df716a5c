"""The outcome of an attempt: its result, the responsible layer, and whether it is acceptable.

The results are ordered from best to worst.
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
    """The results in the table."""

    PREVENTED = "Prevented"
    HEALED = "Healed"
    REPORTED = "Reported"
    NOT_COVERED = "Not covered"
    NOT_TRIED = "Not tried"
    """There is a protection, but it cannot be tried from outside."""

    @property
    def worth(self) -> int:
        return -list(Result).index(self)


@dataclass(frozen=True)
class Outcome:
    """A row. ``expected`` is the minimum result; None if the path cannot be tried."""

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
        """Whether only missing permissions of the user prevented it: other users can have more."""
        return self.layer.startswith("L3")

    @property
    def words(self) -> str:
        """The human-readable result."""
        if self.seconds is None:
            return str(self.result)
        return f"{self.result} in {self.seconds:.1f} s"

    def body(self) -> dict[str, Any]:
        """The row in JSON output; ``seconds`` is a number or null."""
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
    """The layer that refused a request, and its message."""

    layer: str
    detail: str


def refusal(error: ApiError, own_words: str | None) -> Refusal | None:
    """The refusal of the path; None if there was none, or if it had another cause.

    ``own_words`` is a regular expression for the message with which the API server itself, without
    a policy, refuses this path. Any other refusal can have a cause that is unrelated to the path.
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
