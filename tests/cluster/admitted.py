"""What admission made of the pods of a service, as the service and its records say it."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.cluster.services import Service, condition
from tests.controlplane.api import Json

__all__ = ["CHANGED", "PATH", "pods_born", "policy", "recorded", "said_by", "until_reported"]

CHANGED = "AdmissionChanged"
# What the policy ENV of the mutators adds.
PATH = "spec.containers[web].env[HTTP_PROXY]"


def policy(admission: str, **more: object) -> Json:
    """The part of a spec that says what admission may do."""
    return {"immutability": {"admission": admission, **more}}


def said_by(web: Service) -> str:
    """The message of the condition; empty where nothing was changed."""
    return str(condition(web.get(), CHANGED).get("message", ""))


def until_reported(web: Service, words: str) -> str:
    """Until the message has these words; return it."""
    web.until(f"it reports {words}", lambda: words in said_by(web))
    return said_by(web)


def recorded(web: Service, number: int = 1) -> Json:
    """What the record of a revision says of admission."""
    found: Json = web.revisions()[number - 1].get("status", {}).get("admission", {})
    return found


def pods_born(web: Service) -> Callable[[], int]:
    """Return a count of the pods that were created for a service from now on."""
    log = web.plane.audit().path
    mark = log.stat().st_size

    def count() -> int:
        with log.open("rb") as lines:
            lines.seek(mark)
            events = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return sum(
            e["stage"] == "ResponseComplete"
            and e["verb"] == "create"
            and e["objectRef"].get("resource") == "pods"
            and "subresource" not in e["objectRef"]
            and e["objectRef"].get("namespace") == web.namespace
            and e["responseStatus"]["code"] == 201
            and "immutable" in e["user"]["username"]
            for e in events
        )

    return count
