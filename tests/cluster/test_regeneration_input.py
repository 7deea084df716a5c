"""Regenerations and freezes that make no sense: refused with the reason at the first check."""

from __future__ import annotations

import json
from subprocess import CompletedProcess

import pytest

from immutable_operator.api.cron import NO_ZONE
from immutable_operator.api.names import API_VERSION
from immutable_operator.api.regeneration import TOO_YOUNG
from tests.cluster.operator_process import Installation
from tests.cluster.services import Service, Wish, condition, is_ready
from tests.controlplane.api import Json

# What is wrong, and in which words the API server refuses it (tests/cluster/test_schedules.py has
# the schedules and zones).
BAD: dict[str, tuple[Json, str]] = {
    "no cron": ({"schedule": "every day"}, "spec.regeneration.schedule"),
    "no such minute": ({"schedule": "61 3 * * *"}, "the minute is not valid"),
    "no such zone": ({"schedule": "0 3 * * *", "timeZone": "Mars/Olympus"}, NO_ZONE),
    "no such day": (
        {"maxAge": "1d", "windows": [{"schedule": "0 0 31 2 *", "duration": "1h"}]},
        "spec.regeneration.windows[0].schedule",
    ),
    "ages exchanged": ({"maxAge": "2d", "hardMaxAge": "1d"}, "maxAge is greater than hardMaxAge"),
    "too young": ({"maxAge": "5s"}, TOO_YOUNG),
    "too hard": ({"hardMaxAge": "5s"}, TOO_YOUNG),
}


@pytest.fixture(scope="module")
def refused(installation: Installation, module_namespace: str) -> Service:
    """A service that is never there: what it says is refused."""
    return Service(installation.plane, module_namespace)


def applied(web: Service, regeneration: Json) -> CompletedProcess[str]:
    web.wish = Wish(replicas=1, spec={"regeneration": regeneration})
    document = json.dumps(web.wish.manifest("web", web.namespace))
    return web.plane.kubectl("apply", "-f", "-", stdin=document, check=False)


@pytest.mark.parametrize("bad", BAD)
def test_bad_regeneration_is_refused_with_its_reason(refused: Service, bad: str) -> None:
    regeneration, words = BAD[bad]
    done = applied(refused, regeneration)
    assert done.returncode != 0
    assert words in done.stderr


SLIPS: dict[str, Json] = {
    "a zone": {"schedule": "0 3 * * *", "timeZone": "Europe/Berlim"},
    "the zone of a window": {
        "maxAge": "1d",
        "windows": [{"schedule": "0 0 * * *", "duration": "1h", "timeZone": "Europe/Berlim"}],
    },
    "a day of several months": {"schedule": "0 3 31 4-4 *"},
}


@pytest.mark.parametrize("slip", SLIPS)
def test_invalid_schedule_found_by_operator_affects_only_regeneration(
    web: Service, slip: str
) -> None:
    done = applied(web, SLIPS[slip])
    assert done.returncode == 0, done.stderr
    web.until_ready()
    told = condition(web.get(), "RegenerationUnreadable")
    assert told["status"] == "True"
    assert "spec.regeneration." in told["message"]
    assert [event["type"] for event in web.events("RegenerationUnreadable")] == ["Warning"]
    [lost] = [pod["metadata"]["name"] for pod in web.active()]
    web.kubectl("delete", "pod", lost)
    web.until(
        "it is made again",
        lambda: any(is_ready(p) and p["metadata"]["name"] != lost for p in web.pods()),
    )


BAD_FREEZES: dict[str, tuple[Json, str]] = {
    "no end": ({"until": None}, "a freeze must have an end"),
    "exchanged": (
        {"from": "2027-02-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"},
        "not before until",
    ),
    "no reason": ({"reason": ""}, "spec.reason"),
}


@pytest.mark.parametrize("bad", BAD_FREEZES)
def test_invalid_freeze_is_refused(refused: Service, bad: str) -> None:
    changes, words = BAD_FREEZES[bad]
    good = {"namespaces": [refused.namespace], "until": "2099-01-01T00:00:00Z", "reason": "closing"}
    document = {
        "apiVersion": API_VERSION,
        "kind": "ImmutableFreeze",
        "metadata": {"name": f"freeze-{refused.namespace}"},
        "spec": {key: value for key, value in (good | changes).items() if value is not None},
    }
    done = refused.plane.kubectl("apply", "-f", "-", stdin=json.dumps(document), check=False)
    assert done.returncode != 0
    assert words in done.stderr
