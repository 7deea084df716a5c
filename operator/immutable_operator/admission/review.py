"""An AdmissionReview of a CONNECT, read and answered. Pure: bytes in, bytes out.

CONNECT carries nothing of the pod but its name, so the name is what decides here. Whatever a
person chose (user names above all) is cleaned before it reaches a log or an annotation.
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
"""A larger review is denied. By a denial, because failurePolicy Ignore lets any other error in."""
READ_BYTES = 8 << 20
"""A larger one is not even read: more than an API server can send (1 MiB of URL, escaped)."""
MOST_NAME = 200
API_VERSION = "admission.k8s.io/v1"
AUDIT_KEY = "taint"

_NAMESPACE = re.compile("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_INSTANCE = re.compile("[a-z0-9][-a-z0-9.]{0,200}" + INSTANCE_NAME.removesuffix("$"))


class BadReview(Exception):
    """A request that is no review to be answered: HTTP status and a sentence.

    With a ``uid`` it is a review, and the refusal can be told as a denial.
    """

    def __init__(self, code: int, message: str, uid: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.uid = code, message, uid


@dataclass(frozen=True)
class Connect:
    """Somebody wants to reach into a pod.

    ``instance`` is the pod's name, or empty where the name is none of an instance; ``what`` the
    subresource (exec, attach, portforward, proxy); ``by`` the user name, cleaned.
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
    """The connection that a review asks about. Raises `BadReview`, and nothing else."""
    try:
        review = _DECODER.decode(body)
    except (ValueError, RecursionError) as error:
        code = 413 if len(body) > MOST_BYTES else 400
        raise BadReview(code, f"no AdmissionReview: {clean(str(error))}") from None
    request = review.request
    if (review.api_version, review.kind) != (API_VERSION, "AdmissionReview"):
        raise BadReview(400, f"only an AdmissionReview of {API_VERSION} is understood")
    if not request.uid or len(request.uid) > MOST_NAME:
        raise BadReview(400, "the request has no usable uid")
    if request.operation != "CONNECT" or request.resource != _Resource("", "pods"):
        raise BadReview(400, "only CONNECT to pods is answered here")
    if not _NAMESPACE.fullmatch(request.namespace):
        raise BadReview(400, "the request has no usable namespace")
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
    """The instance's name in ``name``, ``name:port`` or ``scheme:name:port`` (pods/proxy)."""
    parts = name.split(":")
    pod = parts[1] if len(parts) == 3 else parts[0]
    return pod if len(parts) <= 3 and _INSTANCE.fullmatch(pod) else ""


def clean(text: str, most: int = MOST_NAME) -> str:
    """The text without control, format and line characters, at most ``most`` and an ellipsis."""
    kept = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: most + 1])
    return f"{kept[:most]}…" if len(kept) > most else kept


def taint(connect: Connect, now: datetime) -> str:
    """The value of the annotation that marks the instance; ``now`` in UTC."""
    at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return msgspec.json.encode({"what": connect.what, "by": connect.by, "at": at}).decode()


def allow(uid: str, outcome: str, warning: str = "") -> bytes:
    """An answer that lets the person in; ``outcome`` goes into the API server's audit log."""
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    response["auditAnnotations"] = {AUDIT_KEY: outcome}
    if warning:
        response["warnings"] = [warning]
    return _answer(response)


def deny(uid: str, code: int, message: str) -> bytes:
    """An answer that keeps the person out and says why."""
    return _answer({"uid": uid, "allowed": False, "status": {"code": code, "message": message}})


def _answer(response: dict[str, Any]) -> bytes:
    body = {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}
    return msgspec.json.encode(body)


def status(code: int, message: str) -> bytes:
    """A refusal of what is no review, as a Kubernetes Status on one line."""
    body = {"apiVersion": "v1", "kind": "Status", "status": "Failure"}
    return msgspec.json.encode({**body, "code": code, "message": message}) + b"\n"
