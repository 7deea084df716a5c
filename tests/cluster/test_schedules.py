"""Schedules and time zones at apply: what can be known there to make no sense is refused there."""

from __future__ import annotations

import pytest

from immutable_operator.api.cron import NO_ZONE
from immutable_operator.api.names import API_VERSION
from tests.cluster.operator_process import Installation
from tests.controlplane.api import ApiError, Json
from tests.unit.cron_expressions import BACKWARDS, BAD, GOOD, NEVER
from tests.unit.service_specs import spec


def places(schedule: str, zone: str) -> dict[str, Json]:
    """A service with the schedule in each of its places, and a freeze."""
    window = {"schedule": schedule, "duration": "1h", "timeZone": zone}
    regenerations: dict[str, Json] = {
        "the schedule": {"schedule": schedule, "timeZone": zone},
        "a window": {"maxAge": "1d", "windows": [window]},
    }
    services = {where: service({"regeneration": given}) for where, given in regenerations.items()}
    return {**services, "a window of a freeze": freeze({"windows": [window]})}


def service(fields: Json) -> Json:
    return {
        "apiVersion": API_VERSION,
        "kind": "ImmutableService",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": spec(**fields),
    }


def freeze(fields: Json) -> Json:
    return {
        "apiVersion": API_VERSION,
        "kind": "ImmutableFreeze",
        "metadata": {"name": "freeze"},
        "spec": {"reason": "closing", **fields},
    }


def said(installation: Installation, body: Json) -> str:
    """What the API server says to a try to create it; empty where it takes it."""
    plural = f"{body['kind'].lower()}s"
    path = f"namespaces/default/{plural}" if body["kind"] == "ImmutableService" else plural
    try:
        installation.plane.api().request("POST", f"/apis/{API_VERSION}/{path}?dryRun=All", body)
    except ApiError as error:
        if error.status != 422:
            raise
        return str(error)
    return ""


@pytest.mark.parametrize("schedule", GOOD)
def test_valid_schedule_is_accepted(schedule: str, installation: Installation) -> None:
    for where, body in places(schedule, "Europe/Berlin").items():
        assert said(installation, body) == "", where


WORDS = {
    **dict.fromkeys(BAD, ("is not valid", "five fields")),
    **dict.fromkeys(NEVER, ("never matches",)),
    **dict.fromkeys(BACKWARDS, ("ends before it begins",)),
}


@pytest.mark.parametrize("schedule", WORDS)
def test_invalid_schedule_is_refused(schedule: str, installation: Installation) -> None:
    for where, body in places(schedule, "Europe/Berlin").items():
        found = said(installation, body)
        assert any(words in found for words in WORDS[schedule]), f"{where}: {found}"


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "europe/berlin", "+02:00", "Europe/"])
def test_invalid_time_zone_is_refused(zone: str, installation: Installation) -> None:
    for where, body in places("0 3 * * *", zone).items():
        assert NO_ZONE in said(installation, body), where
