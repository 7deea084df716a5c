"""What the operator knows of configuration: of which object, and for which owner."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from immutable_operator.domain.model import ABSENT, Pin, Revision, Source
from immutable_operator.kube.client import KubeClient
from immutable_operator.runtime.contents import Contents
from immutable_operator.wire.config import ConfigRecord, Configs
from tests.unit.config_readers import service

COPY = ConfigRecord("shop", "web-cfg0a1b2c3d", 1.0, 42, "uid-r", "sha256:1")


def look(*pins: Pin) -> tuple[Mapping[tuple[str, str], Source], frozenset[str]]:
    async def ask() -> tuple[Mapping[tuple[str, str], Source], frozenset[str]]:
        configs = Configs("ConfigMap", lambda kind, item, anew: None)
        configs.upsert(COPY, 42)
        contents = Contents(_nobody(), configs, lambda uid: None)
        record = Revision("0a1b2c3d", 1, "v3:0", "web-im0a1b2c3d", "uid-r", pins)
        return contents.look(service({"mode": "Live"}), [record])

    return asyncio.run(ask())


def _nobody() -> KubeClient:
    """Nothing is read here."""
    return object.__new__(KubeClient)


def test_config_map_is_no_copy_of_a_secret_with_its_name() -> None:
    pin = Pin("x", COPY.name, COPY.digest)
    secret = Pin("x", COPY.name, COPY.digest, kind="Secret")
    assert look(pin) == ({}, frozenset({COPY.name})), "the copy is there, nothing is asked for"
    assert look(secret) == ({}, frozenset()), "that is no Secret"
    other = Pin("x", "web-cfg11111111", COPY.digest)
    assert look(other) == ({("ConfigMap", "x"): Source(ABSENT)}, frozenset())
