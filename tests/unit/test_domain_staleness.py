"""When an instance is stale, and when it counts as available."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.model import Instance, Request, Revision, Trouble, TroubleKind
from immutable_operator.domain.staleness.outdated import ended, outdated
from immutable_operator.domain.staleness.requested import requested

GOOD = Instance(
    name="web-im0a1b2c3d-abcde",
    uid="uid",
    revision="0a1b2c3d",
    slot=0,
    incarnation=0,
    born=100.0,
    ready_since=200.0,
)
WANTED = Revision("0a1b2c3d", 7, "v1:0", "web-im0a1b2c3d", "uid")
OVER = Trouble(TroubleKind.ENDED, "Evicted: the node was low on memory")

STALE: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"ready_since": None}, None),
    ({"trouble": Trouble(TroubleKind.CRASH_LOOP, "keeps exiting", settled=True)}, None),
    ({"terminating": True}, None),
    (
        {"revision": "ffffffff"},
        "Outdated: revision 7 (0a1b2c3d) replaces revision ffffffff",
    ),
    ({"ended": True}, "Unhealthy: it ended"),
    ({"ended": True, "trouble": OVER}, f"Unhealthy: {OVER.message}"),
    (
        {"ended": True, "leaving": "DeletionByPodGC: node no longer exists"},
        "Unhealthy: DeletionByPodGC: node no longer exists",
    ),
    (
        {"ended": True, "revision": "ffffffff"},
        "Outdated: revision 7 (0a1b2c3d) replaces revision ffffffff",
    ),
]


@pytest.mark.parametrize(("changes", "why"), STALE)
def test_stale_instance_has_its_reason(changes: dict[str, Any], why: str | None) -> None:
    instance = replace(GOOD, **changes)
    found = outdated(instance.revision, WANTED, "") or ended(instance)
    assert (str(found) if found else None) == why


AVAILABLE: list[tuple[dict[str, Any], float | None]] = [
    ({}, 210.0),
    ({"ready_since": None}, None),
    ({"terminating": True}, None),
    ({"ended": True}, None),
]


@pytest.mark.parametrize(("changes", "at"), AVAILABLE)
def test_instance_is_available_after_min_ready_seconds(
    changes: dict[str, Any], at: float | None
) -> None:
    assert replace(GOOD, **changes).available_at(10) == at


def test_ready_instance_without_min_ready_seconds_is_available_despite_clock_skew() -> None:
    """Otherwise healthy instances would count as unready while the cluster's clock is ahead."""
    assert GOOD.available_at(0) == 0.0
    assert replace(GOOD, ready_since=None).available_at(0) is None


def test_terminating_and_ended_instances_are_not_available() -> None:
    assert GOOD.active
    assert not replace(GOOD, terminating=True).active
    assert not replace(GOOD, ended=True).active


REQUEST = Request("go", "r1", 100.0, "jane")


def test_request_applies_to_older_instances_not_created_for_it() -> None:
    """Times are whole seconds: an instance of the same second may be the successor."""
    older, same, younger = (
        replace(GOOD, name=name, born=born)
        for name, born in (("a", 99.0), ("b", 100.0), ("c", 101))
    )
    own = replace(older, name="d", purpose="request/r1")
    assert list(requested([older, same, younger, own], [REQUEST])) == ["a"]
    named = replace(REQUEST, instance="b")
    assert requested([older, same], [named]) == {}
