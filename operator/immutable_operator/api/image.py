"""The check that an image is pinned, and its messages: once in Python, once in CEL.

Grammar: github.com/distribution/reference, restricted to references with a registry (each node
resolves a short name by its own configuration) and a digest of exact length in lower case. A tag in
addition to the digest is allowed; container runtimes ignore it. The tests check both forms with the
same table of cases.
"""

import re
from typing import Final

from immutable_operator.api.cel import Rule, quote

__all__ = [
    "DIGEST",
    "HOW_TO_PIN",
    "LENGTH",
    "MALFORMED",
    "MAX_IMAGE",
    "NO_DIGEST",
    "NO_REGISTRY",
    "PINNED",
    "UPPER_CASE",
    "digest_of",
    "is_pinned",
    "pin_problem",
    "pin_rule",
]

MAX_IMAGE: Final = 512

DIGEST: Final = "(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})"
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = (
    rf"({_LABEL}(\.{_LABEL})*:[0-9]+|{_LABEL}(\.{_LABEL})+|localhost|\[[a-fA-F0-9:]+\](:[0-9]+)?)"
)
_COMPONENT = "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*"
_TAG = "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
PINNED: Final = f"{_REGISTRY}(/{_COMPONENT})+{_TAG}@{DIGEST}"
"""Regular expression of a pinned image, for a full match; valid in Python and in RE2."""

HOW_TO_PIN: Final = "write registry/name@sha256:<64 lower-case hex digits>"
_NO_IMAGE = f"it has no image; {HOW_TO_PIN}"
NO_DIGEST: Final = "has no digest, and a tag can be moved to different content"
_NO_DIGEST = f" {NO_DIGEST}; {HOW_TO_PIN}"
UPPER_CASE = " has a digest in upper case; write the same digest in lower case"
LENGTH = " hex digits; copy the complete digest"
NO_REGISTRY = (
    " has no registry, so each node would choose one; add the registry in front of the name"
)
MALFORMED = f" is not a valid image reference; {HOW_TO_PIN}"
_LENGTHS = {"sha256": 64, "sha512": 128}

_pinned = re.compile(PINNED)
_digest = re.compile(DIGEST)


def is_pinned(image: str) -> bool:
    """Tell whether an image reference has a registry and a complete digest."""
    return len(image) <= MAX_IMAGE and _pinned.fullmatch(image) is not None


def digest_of(image: str) -> str:
    """Return the digest of an image, such as `sha256:9f2c…`; empty if the image has none."""
    return image.partition("@")[2]


def pin_problem(image: str | None) -> str | None:
    """Describe what is wrong with an image and what to write instead; None if it is pinned."""
    if not image:
        return _NO_IMAGE
    if len(image) > MAX_IMAGE:
        return f"its image is longer than {MAX_IMAGE} characters; {HOW_TO_PIN}"
    if _pinned.fullmatch(image):
        return None
    return f"image {image}{_what_is_wrong(image, digest_of(image))}"


def _what_is_wrong(image: str, digest: str) -> str:
    if "@" not in image:
        return _NO_DIGEST
    if _digest.fullmatch(digest):
        lacks_registry = _pinned.fullmatch(f"registry.invalid/{image}") is not None
        return NO_REGISTRY if lacks_registry else MALFORMED
    if _digest.fullmatch(digest.lower()):
        return UPPER_CASE
    for algorithm, length in _LENGTHS.items():
        if re.fullmatch(f"{algorithm}:[0-9a-fA-F]*", digest):
            count = len(digest) - len(algorithm) - 1
            return f" has a {algorithm} digest of {count} instead of {length}{LENGTH}"
    return MALFORMED


def pin_rule(owner: str, field: str, *, named: bool = True) -> Rule:
    """Return the CEL form of `pin_problem` for an object that has an image.

    Parameters
    ----------
    owner
        Name of the type of item in the message, such as `init container`.
    field
        Path from the item to the reference: `image`, or `image.reference` of a volume. The rule
        accepts volumes without an image source.
    named
        Whether the object has a name, which the message then contains.
    """
    image = f"self.{field}"
    digest = f"{image}.substring({image}.indexOf('@') + 1)"
    # Nested from the innermost, least specific case outwards, in the order of _what_is_wrong.
    what = quote(MALFORMED)
    for algorithm, length in reversed(_LENGTHS.items()):
        count = f"size({digest}) - {len(algorithm) + 1}"
        told = quote(f" has a {algorithm} digest of %d instead of {length}{LENGTH}")
        text = f"{told}.format([{count}])"
        what = f"{digest}.matches('^{algorithm}:[0-9a-fA-F]*$') ? {text} : {what}"
    what = f"{digest}.lowerAscii().matches('^{DIGEST}$') ? {quote(UPPER_CASE)} : {what}"
    lacks = f"('registry.invalid/' + {image}).matches(r'^{PINNED}$')"
    valid_digest = f"({lacks} ? {quote(NO_REGISTRY)} : {quote(MALFORMED)})"
    what = f"{digest}.matches('^{DIGEST}$') ? {valid_digest} : {what}"
    what = f"!{image}.contains('@') ? {quote(_NO_DIGEST)} : {what}"
    # format, not +: the API server estimates the size of a formatted number as unbounded, so that
    # any concatenation exceeds the cost limit of a CRD.
    who, name = (f"{owner} %s", "self.name, ") if named else (owner, "")
    message = (
        f"!has({image}) || {image} == '' ? {quote(f'{who}: {_NO_IMAGE}')}"
        f"{'.format([self.name])' if named else ''}"
        f" : {quote(f'{who}: image %s%s')}.format([{name}{image}, {what}])"
    )
    rule = f"has({image}) && {image}.matches(r'^{PINNED}$')"
    if "." in field:
        rule = f"!has(self.{field.partition('.')[0]}) || ({rule})"
    return Rule(rule, message, computed=True, field=f".{field}")
