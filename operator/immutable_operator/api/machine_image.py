"""The image of a node, and the check that it is one image forever: once in Python, once in CEL.

Aliases, tags, families, selectors and `latest` stand for a different image tomorrow, so that two
nodes of one revision could differ. The tests check both forms with the same table of cases.
"""

import re
from typing import Annotated, ClassVar, Final, Self

from pydantic import AfterValidator, Field, model_validator

from immutable_operator.api.cel import Rule, quote, validations
from immutable_operator.api.kind import ApiModel

__all__ = [
    "ALIAS",
    "BOTH",
    "EMPTY",
    "FAMILY",
    "LATEST",
    "LENGTH",
    "MALFORMED",
    "NONE",
    "NO_DIGEST",
    "OF_A_REGISTRY",
    "SELECTOR",
    "TAG",
    "UPPER_CASE",
    "MachineImage",
]

_MAX_ID: Final = 512
_EXAMPLE = "such as ami-0abc1234def567890"
_VALID = r"(https://)?[A-Za-z0-9/_][A-Za-z0-9/_.+~-]*"
ONE = f"write the id of one image, {_EXAMPLE}"

OF_A_REGISTRY: Final = (
    " is the image of a registry with its digest; remove id and write the digest only, as"
    " image.digest: sha256:<64 lower-case hex digits>"
)
ALIAS: Final = f" is an alias, and an alias can be moved to a different image; {ONE}"
LATEST: Final = f" contains the word latest, which stands for a different image later; {ONE}"
FAMILY: Final = f" is an image family, whose newest image changes; {ONE}"
SELECTOR: Final = f" is a selector, which can match a different image later; {ONE}"
# The first that is found in an id in lower case says what is wrong with it.
_MOVING: Final = (
    ("@sha256:", OF_A_REGISTRY),
    ("@|(^|[^a-z0-9-])alias([^a-z0-9-]|$)", ALIAS),
    ("(^|[^a-z0-9])latest([^a-z0-9]|$)", LATEST),
    ("(^|/)family/", FAMILY),
    (r"[\[\]*?={}(),;|<>!$^ ]", SELECTOR),
)
TAG = f" has a colon, as a tag does, and a tag can be moved to a different image; {ONE}"
MALFORMED = f" is not a valid image id; {ONE}"
EMPTY = f"the image id is empty; {ONE}"
_MOVES = "|".join(f"({pattern})" for pattern, _ in _MOVING)

_HEX = "sha256:[0-9a-f]{64}"
_HOW_DIGEST = "write sha256:<64 lower-case hex digits>"
UPPER_CASE = " is in upper case; write the same digest in lower case"
LENGTH = " instead of 64 hex digits; copy the complete digest"
NO_DIGEST = f" is not a digest; {_HOW_DIGEST}"

NONE = f"the image has neither id nor digest; set id to the provider's id of it, {_EXAMPLE}"
BOTH = "the image has both id and digest, which can contradict each other; remove one of them"


def _check_id(given: str) -> str:
    lower = given.lower()
    if re.fullmatch(_VALID, given) and not re.search(_MOVES, lower):
        return given
    if not given:
        raise ValueError(EMPTY)
    for pattern, told in _MOVING:
        if re.search(pattern, lower):
            raise ValueError(f"image id {given}{told}")
    raise ValueError(f"image id {given}{TAG if ':' in given else MALFORMED}")


def _id_rule() -> Rule:
    what = f"(self.contains(':') ? {quote(TAG)} : {quote(MALFORMED)})"
    for pattern, told in reversed(_MOVING):
        what = f"self.lowerAscii().matches(r'{pattern}') ? {quote(told)} : {what}"
    return Rule(
        f"self.matches(r'^{_VALID}$') && !self.lowerAscii().matches(r'{_MOVES}')",
        f"self == '' ? {quote(EMPTY)} : {quote('image id %s%s')}.format([self, {what}])",
        computed=True,
    )


def _check_digest(given: str) -> str:
    if re.fullmatch(_HEX, given):
        return given
    if re.fullmatch(_HEX, given.lower()):
        raise ValueError(f"digest {given}{UPPER_CASE}")
    if re.fullmatch("sha256:[0-9a-fA-F]*", given):
        raise ValueError(f"digest {given} has {len(given) - len('sha256:')}{LENGTH}")
    raise ValueError(f"digest {given}{NO_DIGEST}")


def _digest_rule() -> Rule:
    length = f"{quote(' has %d' + LENGTH)}.format([size(self) - {len('sha256:')}])"
    what = f"self.matches('^sha256:[0-9a-fA-F]*$') ? {length} : {quote(NO_DIGEST)}"
    what = f"self.lowerAscii().matches('^{_HEX}$') ? {quote(UPPER_CASE)} : {what}"
    return Rule(
        f"self.matches('^{_HEX}$')",
        f"{quote('digest %s%s')}.format([self, {what}])",
        computed=True,
    )


_Id = Annotated[
    str,
    Field(max_length=_MAX_ID, json_schema_extra=validations(_id_rule())),
    AfterValidator(_check_id),
]
_Digest = Annotated[
    str,
    Field(max_length=128, json_schema_extra=validations(_digest_rule())),
    AfterValidator(_check_digest),
]


class MachineImage(ApiModel):
    """The image from which the nodes start. It stands for the same content forever."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.id) != has(self.digest)",
            f"has(self.id) ? {quote(BOTH)} : {quote(NONE)}",
            computed=True,
        ),
    )

    id: _Id | None = None
    """The provider's id of one image, such as ami-0abc1234def567890 or
    projects/p/global/images/name-20260101. Aliases, tags, image families, selectors and the word
    latest are refused, because they stand for a different image later. Exactly one of id and
    digest must be set."""

    digest: _Digest | None = None
    """Digest of the image, for providers that start nodes from images with a digest: sha256:<64
    lower-case hex digits>. Exactly one of id and digest must be set."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.id is None) == (self.digest is None):
            raise ValueError(NONE if self.id is None else BOTH)
        return self
