"""The birth certificate of an instance: labels and annotations that it is created with."""

from __future__ import annotations

import functools
import sys
from typing import Any

from immutable_operator.api.names import (
    ANNOTATION_BECAUSE,
    ANNOTATION_HEAL_COUNT,
    ANNOTATION_INCARNATION,
    ANNOTATION_PURPOSE,
    ANNOTATION_REPLACES,
    ANNOTATION_REPLACES_UID,
    ANNOTATION_SLOT,
    ANNOTATION_TRIES,
    LABEL_REVISION,
)
from immutable_operator.domain.model import Because, Create
from immutable_operator.kube.meta import ObjectMeta

__all__ = ["certificate", "number", "read_certificate", "shared_text"]

MOST_NUMBER = 2**31 - 1


def certificate(birth: Create) -> dict[str, str]:
    """Return the annotations that say why an instance was created, and what it replaces."""
    annotations = {
        ANNOTATION_SLOT: str(birth.slot),
        ANNOTATION_INCARNATION: str(birth.incarnation),
        ANNOTATION_BECAUSE: str(birth.because),
    }
    if birth.tries:
        annotations[ANNOTATION_TRIES] = str(birth.tries)
    if birth.purpose:
        annotations[ANNOTATION_PURPOSE] = birth.purpose
    if birth.heals:
        annotations[ANNOTATION_HEAL_COUNT] = str(birth.heals)
    if birth.replaces:
        annotations[ANNOTATION_REPLACES] = birth.replaces
        annotations[ANNOTATION_REPLACES_UID] = birth.replaces_uid
    return annotations


def read_certificate(meta: ObjectMeta) -> dict[str, Any]:
    """Return the fields of an `Instance` that its certificate states; what cannot be parsed is 0
    or "".
    """
    return {
        "revision": sys.intern(meta.labels.get(LABEL_REVISION, "")),
        "slot": number(meta.annotations.get(ANNOTATION_SLOT)),
        "incarnation": number(meta.annotations.get(ANNOTATION_INCARNATION)),
        "replaces": meta.annotations.get(ANNOTATION_REPLACES),
        "replaces_uid": meta.annotations.get(ANNOTATION_REPLACES_UID, ""),
        "heals": number(meta.annotations.get(ANNOTATION_HEAL_COUNT)),
        "tries": number(meta.annotations.get(ANNOTATION_TRIES)),
        "because": _because(meta.annotations.get(ANNOTATION_BECAUSE, "")),
        "purpose": shared_text(meta.annotations.get(ANNOTATION_PURPOSE, "")),
    }


@functools.lru_cache(maxsize=4096)
def _because(text: str) -> Because | None:
    return Because.read(text)


@functools.lru_cache(maxsize=4096)
def shared_text(text: str) -> str:
    """Return one shared copy for all instances: there are thousands of them."""
    return text


def number(text: str | None) -> int:
    """Return a number of 32 bits; 0 for anything else, since the operator did not write it."""
    try:
        found = int(text or 0)
    except ValueError:
        return 0
    return found if -MOST_NUMBER <= found <= MOST_NUMBER else 0
