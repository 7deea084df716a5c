"""Regenerations and freezes that make no sense: refused with the reason by who sees it first."""

from __future__ import annotations

import json

import pytest

from tests.cluster.services import Service, Wish
from tests.controlplane.api import Json

# What is wrong, in whose words, and who refuses it: the API server, or the operator in the status.
BAD: dict[str, tuple[Json, str, str]] = {
    "no cron": ({"schedule": "every day"}, "spec.regeneration.schedule", "API server"),
    "no such minute": ({"schedule": "61 3 * * *"}, '"61" is no minute', "operator"),
    "no such zone": (
        {"schedule": "0 3 * * *", "timeZone": "Mars/Olympus"},
        "Mars/Olympus",
        "operator",
    ),
    "no such day": (
        {"maxAge": "1d", "windows": [{"schedule": "0 0 31 2 *", "duration": "1h"}]},
        "spec.regeneration.windows[0]",
        "operator",
    ),
    "ages exchanged": (
        {"maxAge": "2d", "hardMaxAge": "1d"},
        "maxAge is more than hardMaxAge",
        "API server",
    ),
    "too young": ({"maxAge": "5s"}, "ages below 10s are not possible", "API server"),
    "too hard": ({"hardMaxAge": "5s"}, "ages below 10s are not possible", "API server"),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_refused_with_its_reason(web: Service, bad: str) -> None:
    regeneration, words, by = BAD[bad]
    web.wish = Wish(replicas=1, spec={"regeneration": regeneration})
    document = json.dumps(web.wish.manifest("web", web.namespace))
    done = web.plane.kubectl("apply", "-f", "-", stdin=document, check=False)
    if by == "operator":
        assert done.returncode == 0, done.stderr
        assert words in web.until_stalled("InvalidSpec")["message"]
        assert web.pods() == []
    else:
        assert done.returncode != 0
        assert words in done.stderr


BAD_FREEZES: dict[str, tuple[Json, str]] = {
    "no end": ({"until": None}, "a freeze needs an end"),
    "exchanged": ({"from": "2027-02-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"}, "exchange"),
    "no reason": ({"reason": ""}, "spec.reason"),
}


@pytest.mark.parametrize("bad", BAD_FREEZES)
def test_a_freeze_that_makes_no_sense_is_refused(web: Service, bad: str) -> None:
    changes, words = BAD_FREEZES[bad]
    good = {"namespaces": [web.namespace], "until": "2099-01-01T00:00:00Z", "reason": "closing"}
    document = {
        "apiVersion": "immutable.dev/v1alpha1",
        "kind": "ImmutableFreeze",
        "metadata": {"name": f"freeze-{web.namespace}"},
        "spec": {key: value for key, value in (good | changes).items() if value is not None},
    }
    done = web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(document), check=False)
    assert done.returncode != 0
    assert words in done.stderr
