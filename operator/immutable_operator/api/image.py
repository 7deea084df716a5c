"""What a pinned image is, and what to say of one that is not: once for Python, once as CEL.

Grammar: github.com/distribution/reference, narrowed to references with a registry (a short name
means what each node's configuration says) and a digest of exact length in lower case. A tag beside
the digest is allowed; runtimes ignore it. The tests hold both forms to one table of cases.
"""

import re
from typing import Final

from immutable_operator.api.cel import Rule, quote

__all__ = ["DIGEST", "MAX_IMAGE", "PINNED", "digest_of", "is_pinned", "pin_problem", "pin_rule"]

MAX_IMAGE: Final = 512

DIGEST: Final = "(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})"
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = (
    rf"({_LABEL}(\.{_LABEL})*:[0-9]+|{_LABEL}(\.{_LABEL})+|localhost|\[[a-fA-F0-9:]+\](:[0-9]+)?)"
)
_COMPONENT = "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*"
_TAG = "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
PINNED: Final = f"{_REGISTRY}(/{_COMPONENT})+{_TAG}@{DIGEST}"
"""Regular expression of a pinned image, for a full match; the same text for Python and RE2."""

_WRITE = "write registry/name@sha256:<64 lower-case hex digits>"
_NO_IMAGE = f"it has no image; {_WRITE}"
_NO_DIGEST = f" has no digest, and a tag can be moved to other content; {_WRITE}"
_UPPER_CASE = " has a digest in upper case; write the same digest in lower case"
_LENGTH = " hex digits; copy the whole digest"
_NO_REGISTRY = (
    " names no registry, and each node would choose its own; write the registry in front of it"
)
_MALFORMED = f" is not a valid image reference; {_WRITE}"
_LENGTHS = {"sha256": 64, "sha512": 128}

_pinned = re.compile(PINNED)
_digest = re.compile(DIGEST)


def is_pinned(image: str) -> bool:
    """Tell whether an image reference names its registry and a whole digest."""
    return len(image) <= MAX_IMAGE and _pinned.fullmatch(image) is not None


def digest_of(image: str) -> str:
    """Give the digest of a pinned image, such as `sha256:9f2c…`; empty when it has none."""
    return image.partition("@")[2]


def pin_problem(image: str | None) -> str | None:
    """Say what is wrong with an image and what to write instead; None when it is pinned."""
    if not image:
        return _NO_IMAGE
    if len(image) > MAX_IMAGE:
        return f"its image is longer than {MAX_IMAGE} characters; {_WRITE}"
    if _pinned.fullmatch(image):
        return None
    return f"image {image}{_what_is_wrong(image, digest_of(image))}"


def _what_is_wrong(image: str, digest: str) -> str:
    if "@" not in image:
        return _NO_DIGEST
    if _digest.fullmatch(digest):
        lacks_registry = _pinned.fullmatch(f"registry.invalid/{image}") is not None
        return _NO_REGISTRY if lacks_registry else _MALFORMED
    if _digest.fullmatch(digest.lower()):
        return _UPPER_CASE
    for algorithm, length in _LENGTHS.items():
        if re.fullmatch(f"{algorithm}:[0-9a-fA-F]*", digest):
            count = len(digest) - len(algorithm) - 1
            return f" has a {algorithm} digest of {count} instead of {length}{_LENGTH}"
    return _MALFORMED


def pin_rule(owner: str, field: str) -> Rule:
    """Give the CEL form of `pin_problem` for a list item that has a name and an image.

    Parameters
    ----------
    owner
        What the item is called in the message, such as `init container`.
    field
        Path from the item to the reference: `image`, or `image.reference` of a volume. A volume
        without an image source is no concern of this rule.
    """
    image = f"self.{field}"
    digest = f"{image}.substring({image}.indexOf('@') + 1)"
    # Nested from the innermost, least specific case outwards, in the order of _what_is_wrong.
    what = quote(_MALFORMED)
    for algorithm, length in reversed(_LENGTHS.items()):
        count = f"size({digest}) - {len(algorithm) + 1}"
        told = quote(f" has a {algorithm} digest of %d instead of {length}{_LENGTH}")
        text = f"{told}.format([{count}])"
        what = f"{digest}.matches('^{algorithm}:[0-9a-fA-F]*$') ? {text} : {what}"
    what = f"{digest}.lowerAscii().matches('^{DIGEST}$') ? {quote(_UPPER_CASE)} : {what}"
    lacks = f"('registry.invalid/' + {image}).matches(r'^{PINNED}$')"
    valid_digest = f"({lacks} ? {quote(_NO_REGISTRY)} : {quote(_MALFORMED)})"
    what = f"{digest}.matches('^{DIGEST}$') ? {valid_digest} : {what}"
    what = f"!{image}.contains('@') ? {quote(_NO_DIGEST)} : {what}"
    # format, not +: the API server takes the size of a formatted number for unbounded, so adding
    # anything to it costs more than a CRD may.
    message = (
        f"!has({image}) || {image} == '' ? {quote(f'{owner} %s: {_NO_IMAGE}')}.format([self.name])"
        f" : {quote(f'{owner} %s: image %s%s')}.format([self.name, {image}, {what}])"
    )
    rule = f"has({image}) && {image}.matches(r'^{PINNED}$')"
    if "." in field:
        rule = f"!has(self.{field.partition('.')[0]}) || ({rule})"
    return Rule(rule, message, computed=True, field=f".{field}")
