"""Reads and answers an AdmissionReview of a CONNECT request. Pure: bytes in, bytes out.

A CONNECT request contains only the name of the pod, so the decision is based on the name. Text from
the request (in particular user names) is cleaned before it is logged or written to an annotation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from immutable_operator.api.names import INSTANCE_NAME

__all__ = [
    "MOST_BYTES",
    "READ_BYTES",
    "BadReview",
    "Connect",
    "allow",
    "clean",
    "deny",
    "read_review",
    "status",
    "taint",
]

MOST_BYTES = 1 << 20
"""A larger review is denied. It needs a denial, because failurePolicy Ignore ignores other
errors."""
READ_BYTES = 8 << 20
"""A larger review is not read: API servers send at most 1 MiB of URL, escaped."""
MOST_NAME = 200
API_VERSION = "admission.k8s.io/v1"
AUDIT_KEY = "taint"

_NAMESPACE = re.compile("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_INSTANCE = re.compile("[a-z0-9][-a-z0-9.]{0,200}" + INSTANCE_NAME.removesuffix("$"))


class BadReview(Exception):
    """A request that is not a valid review: HTTP status and message.

    With a ``uid``, the request is answered with a denial.
    """

    def __init__(self, code: int, message: str, uid: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.uid = code, message, uid


@dataclass(frozen=True)
class Connect:
    """A request to access a pod.

    ``instance`` is the name of the pod, or empty if it is not the name of an instance; ``what`` is
    the subresource (exec, attach, portforward, proxy); ``by`` is the cleaned user name.
    """

    uid: str
    namespace: str
    instance: str
    what: str
    by: str
    dry_run: bool


class _Resource(msgspec.Struct):
    group: str = ""
    resource: str = ""


class _User(msgspec.Struct):
    username: str = ""


class _Request(msgspec.Struct, rename="camel"):
    uid: str
    operation: str
    resource: _Resource
    name: str = ""
    namespace: str = ""
    sub_resource: str = ""
    dry_run: bool | None = None
    user_info: _User = msgspec.field(default_factory=_User)


class _Review(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    request: _Request


_DECODER = msgspec.json.Decoder(_Review)


def read_review(body: bytes) -> Connect:
    """The request in a review. Raises only `BadReview`."""
    try:
        review = _DECODER.decode(body)
    except (ValueError, RecursionError) as error:
        code = 413 if len(body) > MOST_BYTES else 400
        raise BadReview(code, f"not an AdmissionReview: {clean(str(error))}") from None
    request = review.request
    if (review.api_version, review.kind) != (API_VERSION, "AdmissionReview"):
        raise BadReview(400, f"only AdmissionReviews of {API_VERSION} are supported")
    if not request.uid or len(request.uid) > MOST_NAME:
        raise BadReview(400, "the request has no valid uid")
    if request.operation != "CONNECT" or request.resource != _Resource("", "pods"):
        raise BadReview(400, "only CONNECT requests for pods are supported")
    if not _NAMESPACE.fullmatch(request.namespace):
        raise BadReview(400, "the request has no valid namespace")
    if len(body) > MOST_BYTES:
        message = f"the request is larger than {MOST_BYTES} bytes; use a shorter command"
        raise BadReview(413, message, request.uid)
    return Connect(
        uid=request.uid,
        namespace=request.namespace,
        instance=_instance(request.name),
        what=clean(request.sub_resource, 30) or "connect",
        by=clean(request.user_info.username),
        dry_run=bool(request.dry_run),
    )


def _instance(name: str) -> str:
    """The name of the instance in ``name``, ``name:port`` or ``scheme:name:port`` (pods/proxy)."""
    parts = name.split(":")
    pod = parts[1] if len(parts) == 3 else parts[0]
    return pod if len(parts) <= 3 and _INSTANCE.fullmatch(pod) else ""


def clean(text: str, most: int = MOST_NAME) -> str:
    """The text without control, format and line characters, truncated after ``most`` characters."""
    kept = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: most + 1])
    return f"{kept[:most]}…" if len(kept) > most else kept


def taint(connect: Connect, now: datetime) -> str:
    """The value of the annotation that marks the instance as tainted; ``now`` in UTC."""
    at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return msgspec.json.encode({"what": connect.what, "by": connect.by, "at": at}).decode()


def allow(uid: str, outcome: str, warning: str = "") -> bytes:
    """An answer that allows access; the API server writes ``outcome`` to its audit log."""
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    response["auditAnnotations"] = {AUDIT_KEY: outcome}
    if warning:
        response["warnings"] = [warning]
    return _answer(response)


def deny(uid: str, code: int, message: str) -> bytes:
    """An answer that denies access, with the reason."""
    return _answer({"uid": uid, "allowed": False, "status": {"code": code, "message": message}})


def _answer(response: dict[str, Any]) -> bytes:
    body = {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}
    return msgspec.json.encode(body)


def status(code: int, message: str) -> bytes:
    """The answer to a request that is not a review: a Kubernetes Status on one line."""
    body = {"apiVersion": "v1", "kind": "Status", "status": "Failure"}
    return msgspec.json.encode({**body, "code": code, "message": message}) + b"\n"
