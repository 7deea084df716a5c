"""Waits until all parts of the API server have processed the installation.

The admission plug-in that checks owners and the policies discover an established CRD only at their
next poll, every ten seconds. Earlier requests are refused.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from examples.demo.place import DEMO, DemoError, Json, Place
from immutable_operator.api.names import API_VERSION

__all__ = ["until_settled"]

SETTLE_SECONDS = 60.0
POLL_SECONDS = 0.2

NOBODY = "00000000-0000-0000-0000-000000000000"
IMAGE = f"registry.example/probe@sha256:{64 * '0'}"
TEMPLATE = {"spec": {"containers": [{"name": "web", "image": IMAGE}]}}
# Without replicas, which a policy adds.
SERVICE: Json = {
    "apiVersion": API_VERSION,
    "kind": "ImmutableService",
    "metadata": {"name": "probe"},
    "spec": {"template": TEMPLATE},
}
OWNER = {"apiVersion": API_VERSION, "kind": "ImmutableService", "name": "probe", "uid": NOBODY}
REVISION: Json = {
    "apiVersion": API_VERSION,
    "kind": "ImmutableRevision",
    "metadata": {
        "name": "probe-im00000000",
        "ownerReferences": [OWNER | {"blockOwnerDeletion": True}],
    },
    "spec": {
        **{"service": "probe", "number": 1, "revision": "00000000", "hash": f"v1:{64 * '0'}"},
        **{"reason": "Created", "by": "probe", "image": "probe", "template": TEMPLATE},
    },
}


def until_settled(place: Place, operator: Path) -> None:
    """Wait until services are accepted, and only the operator can create their revisions.

    Parameters
    ----------
    operator
        Kubeconfig of the operator's service account.
    """

    def as_operator(item: Json) -> str:
        return _refusal(lambda: place.run_as(operator, *CREATE, stdin=json.dumps(item)))

    def as_person(item: Json) -> str:
        return _refusal(lambda: place.run(*CREATE, stdin=json.dumps(item)))

    deadline = time.monotonic() + SETTLE_SECONDS
    while why := (
        as_person(SERVICE)
        or as_operator(REVISION)
        or ("" if as_person(REVISION) else "the admission policies are not in force yet")
    ):
        if time.monotonic() > deadline:
            raise DemoError(
                f"the API server has not processed the chart within {SETTLE_SECONDS:g} s: {why};"
                f" stop the demo ({place.stop_command}) and start it again"
            )
        time.sleep(POLL_SECONDS)


CREATE = ("create", "--dry-run=server", "--filename=-", f"--namespace={DEMO}")


def _refusal(ask: Callable[[], object]) -> str:
    try:
        ask()
    except DemoError as error:
        return str(error)
    return ""
