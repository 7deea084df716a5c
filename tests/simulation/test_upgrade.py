"""An upgrade of the operator replaces nothing: the present one on the objects of an older one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation.upgraded import Upgraded, upgraded
from tests.simulation.world.api import Request
from tests.simulation.world.people import SERVICES

# The last commit before revisions could fail.
VERSION = "2b2141d"
AT_REST = [
    *("plain", "counted", "pinned", "repinned", "reads-secret", "zero", "aged", "protected"),
    *("disks", "back", "scaled", "quarantined", "machines"),
]
BROKEN = {"stuck-image-pull": "ImageNotFound", "stuck-crash-loop": "CrashLoop"}
SLOW = ("slow", "stuck-never-ready")
LINEAGES = "immutablelineages"
MINUTE, HOUR = 60.0, 3600.0
# Within the time for which the regeneration of ``aged`` is not due.
LATER = pytest.mark.parametrize("later", [0.0, HOUR, 8 * HOUR], ids=["now", "1 h", "8 h"])


def _kinds(writes: list[Request]) -> list[str]:
    return [f"{w.method} {w.route[1]}/{w.route[3]}" for w in writes]


def _verdicts(world: Upgraded, owner: str) -> list[Any]:
    return [w.body["status"] for w in world.of(owner) if w.route[1] == "immutablerevisions"]


def _moved(world: Upgraded, owner: str) -> list[str]:
    """What was created or retired for an owner: pods, nodes, copies, records, PDBs."""
    return [
        w.path
        for w in world.of(owner)
        if (w.method in ("POST", "DELETE") or "/eviction" in w.path) and w.route[1] != LINEAGES
    ]


def _healthy(world: Upgraded, owner: str) -> set[str]:
    """The names of its pods that work, as they were left behind."""
    return {
        pod["metadata"]["name"]
        for pod in world.left["pods"]
        if pod["metadata"]["labels"].get("immutable.dev/service") == owner
        and {"type": "Ready", "status": "True"}.items()
        <= {c["type"]: c for c in pod["status"]["conditions"]}["Ready"].items()
    }


def test_objects_left_behind_are_those_of_each_kind() -> None:
    """Otherwise the tests below would say nothing."""
    with upgraded(VERSION) as world:
        known = {s["metadata"]["name"] for s in world.left["immutableservices"]}
        assert known == {*AT_REST, *BROKEN, *SLOW, "stuck-first"} - {"machines"}
        assert len(world.left["poddisruptionbudgets"]) == 1
        assert len(world.left["immutablerevisions"]) > len(known)
        for owner in (*BROKEN, *SLOW, "plain"):
            assert len(_healthy(world, owner)) == 3


@LATER
def test_service_or_pool_at_rest_costs_a_status_and_a_lineage_and_then_no_write(
    later: float,
) -> None:
    with upgraded(VERSION, later) as world:
        world.run(2 * MINUTE)
        first = {owner: _kinds(world.of(owner)) for owner in AT_REST}
        for owner, writes in first.items():
            kind = "immutablenodepools" if owner == "machines" else "immutableservices"
            # The status has fields and conditions that the older version did not know, and the
            # older version kept no lineage.
            assert len(writes) == len(set(writes)), owner
            assert set(writes) <= {f"PATCH {kind}/status", f"POST {LINEAGES}/"}, owner
        world.run(2 * HOUR)
        assert {owner: _kinds(world.of(owner)) for owner in AT_REST} == first


@LATER
def test_service_in_a_rollout_keeps_each_instance_that_works(later: float) -> None:
    """Its revision fails by the new rules; what is given up are instances that never worked."""
    with upgraded(VERSION, later) as world:
        world.run(2 * HOUR)
        for owner in (*BROKEN, *SLOW):
            moved = _moved(world, owner)
            assert moved, owner
            assert not {path.rsplit("/", 1)[-1] for path in moved} & _healthy(world, owner)
            assert all(f"/pods/{owner}-im" in path for path in moved), owner
        assert not _moved(world, "stuck-first")


@LATER
def test_revision_that_is_broken_by_evidence_fails_once(later: float) -> None:
    with upgraded(VERSION, later) as world:
        world.run(2 * HOUR)
        for owner, reason in BROKEN.items():
            [verdict] = _verdicts(world, owner)
            assert (verdict["phase"], verdict["reason"]) == ("Failed", reason)
            assert verdict["fallback"]


@LATER
def test_progress_deadline_of_an_old_rollout_begins_with_the_upgrade(later: float) -> None:
    """The older version did not note for how long it was held up."""
    with upgraded(VERSION, later) as world:
        world.run(9 * MINUTE)
        for owner in SLOW:
            [begun] = _verdicts(world, owner)
            assert begun["phase"] == "Progressing"
            assert not _moved(world, owner)
        world.run(2 * MINUTE)
        for owner in SLOW:
            verdicts = _verdicts(world, owner)
            assert [v["phase"] for v in verdicts] == ["Progressing", "Failed"]


def test_rollout_suspended_before_the_upgrade_goes_on_when_it_is_resumed() -> None:
    with upgraded(VERSION, HOUR, suspended="slow") as world:
        world.run(2 * HOUR)
        path = f"{SERVICES}/slow"
        world.api.ask("jane", "PATCH", path, {"metadata": {}, "spec": {"suspend": False}})
        world.run(7 * MINUTE)  # of ten: a quarter passed before it was noted that it stands still
        assert "Failed" not in [v["phase"] for v in _verdicts(world, "slow")]
        assert not _moved(world, "slow")
        world.run(2 * MINUTE)
        assert [v["phase"] for v in _verdicts(world, "slow")][-1] == "Failed"
