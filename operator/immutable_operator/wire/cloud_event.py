"""A fact as a CloudEvent (version 1.0, structured mode), signed as Standard Webhooks says.

The id and the body of a fact stay the same when it is sent again; its signature has the time of the
attempt.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import msgspec

from immutable_operator.api.names import GROUP
from immutable_operator.domain.model import Fact, Revision
from immutable_operator.kube.times import stamp
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["CONTENT_TYPE", "cloud_event", "event_id", "keys_of", "signature"]

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
PREFIX = "whsec_"
LEAST_KEY, MOST_KEY = 24, 64
MOST_KEYS = 4
MOST_MESSAGE, MOST_NAME = 1024, 256


def _event_type(fact: Fact) -> str:
    """Return the type, such as ``dev.immutable.revision.good``."""
    domain = ".".join(reversed(GROUP.split(".")))
    return f"{domain}.revision.{fact.type.lower()}"


def event_id(fact: Fact) -> str:
    """Return the id of a fact, which is always the same for the same fact."""
    seed = f"{fact.uid}/{fact.type}/{fact.key}".encode()
    return f"{fact.type.lower()}-{hashlib.sha256(seed).hexdigest()[:32]}"


def cloud_event(owner: OwnerRecord, fact: Fact, source: str) -> bytes:
    """Return the body of the request that tells a receiver of a fact."""
    namespace = owner.namespace if owner.kind.is_namespaced else ""
    revision = fact.revision
    parts = (namespace, owner.name, revision.id if revision else "")
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": event_id(fact),
            "source": source,
            "type": _event_type(fact),
            "subject": "/".join(part for part in parts if part),
            "time": stamp(fact.at),
            "datacontenttype": "application/json",
            "data": {
                "kind": owner.kind.name,
                "namespace": namespace,
                "name": owner.name,
                "revision": _revision(revision),
                "instance": fact.instance,
                "reason": fact.reason,
                "message": fact.message[:MOST_MESSAGE],
                "by": fact.by[:MOST_NAME],
            },
        }
    )


def _revision(revision: Revision | None) -> dict[str, Any] | None:
    if revision is None:
        return None
    return {"number": revision.number, "id": revision.id, "author": revision.author[:MOST_NAME]}


def keys_of(text: str) -> list[bytes]:
    """Return the keys in a file, one a line. Raises ValueError, without the text, if one is none.

    With several keys there are several signatures: a receiver can take over a new key at any time.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not 1 <= len(lines) <= MOST_KEYS:
        raise ValueError(f"the file has {len(lines)} keys; expected 1 to {MOST_KEYS}, one a line")
    return [_key(number, line) for number, line in enumerate(lines, 1)]


def _key(number: int, line: str) -> bytes:
    expected = f"{PREFIX} and the base64 text of {LEAST_KEY} to {MOST_KEY} random bytes"
    try:
        key = base64.b64decode(line.removeprefix(PREFIX), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if not line.startswith(PREFIX) or not LEAST_KEY <= len(key) <= MOST_KEY:
        raise ValueError(f"line {number} of the file is not a key; expected {expected}")
    return key


def signature(keys: Sequence[bytes], message_id: str, at: int, body: bytes) -> dict[str, str]:
    """Return the headers that prove who sent a body, and when (seconds since the epoch)."""
    signed = f"{message_id}.{at}.".encode() + body
    digests = [hmac.new(key, signed, hashlib.sha256).digest() for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(d).decode()}" for d in digests),
    }
