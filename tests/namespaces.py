"""Namespaces of tests: a new one each, and what is done about it afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from immutable_operator.api.names import API_VERSION
from tests.controlplane.access import Access
from tests.controlplane.api import ApiError
from tests.waiting import wait_for

__all__ = ["fresh_namespace"]

OURS = f"/apis/{API_VERSION}/namespaces"


@contextmanager
def fresh_namespace(plane: Access, name: str = "") -> Iterator[str]:
    """A namespace that is ready for pods.

    Afterwards its services, actions and pods are deleted, without waiting for their end. The
    namespace stays: to delete it costs the API server 75 requests, and it goes with its
    control plane.
    """
    name = name or f"test-{secrets.token_hex(4)}"
    api = plane.api()
    api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    wait_for(f"the default service account of {name}", lambda: api.get(account))
    try:
        yield name
    finally:
        # Services before pods, so that none is replaced.
        for collection in (
            f"{OURS}/{name}/immutableservices",
            f"{OURS}/{name}/immutableactions",
            f"/api/v1/namespaces/{name}/pods",
        ):
            try:
                api.request("DELETE", collection)
            except ApiError as error:
                if error.status != 404:  # without the chart the kinds are not there
                    raise
