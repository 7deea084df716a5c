"""kopf gets the same login as our own client, whichever loader wrote it."""

from __future__ import annotations

import pytest
from kubernetes.aio.client import Configuration

from immutable_operator.runtime.host import connection


@pytest.mark.parametrize("written", ["bearer t0ken", "Bearer t0ken", "Bearer t0ken\n", "t0ken"])
def test_token_is_sent_as_one_bearer_token(written: str) -> None:
    configuration = Configuration(host="https://127.0.0.1:6443")
    configuration.api_key["BearerToken"] = written
    assert connection(configuration).as_http_headers() == {"Authorization": "Bearer t0ken"}
