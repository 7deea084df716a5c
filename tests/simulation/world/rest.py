"""Liveness: from any state to a good spec, and then not a single write more."""

from __future__ import annotations

from tests.simulation.world.exposure import misrouted
from tests.simulation.world.people import People
from tests.simulation.world.truth import SWEEP
from tests.simulation.world.world import World

__all__ = ["comes_to_rest"]

# The longest pause of births that end is 300 s, of healing an hour, and a pool may do both.
MOST = 3 * 3600
HOUR = 3600.0


def comes_to_rest(world: World, people: People) -> None:
    """Run until all is well, then an hour of silence, then the same with a new process."""
    left = MOST
    while why := restless(world, people):
        if left <= 0:
            world.fail("L1", f"in peace, after {MOST / 3600:g} h: {why}")
        step = 5.0 if left > MOST - 300 else 60.0
        people.retry(f"{left} s are left")
        world.run(step)
        left -= int(step)
    world.run(100.0)  # counts may wait before they are told
    if why := restless(world, people):
        world.fail("16", f"it came to rest and did not stay there: {why}")
    world.rest()
    world.run(SWEEP)
    _is_silent(world, HOUR, "converged")
    for process in list(world.processes.values()):
        process.kill("it is replaced")
    world.free_lease()
    _is_silent(world, 200.0, "a new process")


def _is_silent(world: World, seconds: float, state: str) -> None:
    before = world.requests
    world.run(seconds)
    if world.requests != before:
        world.fail("16", f"{state}, and still {world.requests - before} writes")


def restless(world: World, people: People) -> str | None:
    """What is not yet as it should be; None when all is."""
    service = people.service
    found = people.ask("GET", f"{people.owners}/{people.name}")
    if service is None or found is None:
        return "there is no service"
    limits, pods = service.now, list(service.pods.values())
    active = [p for p in pods if p.active and p.letter == limits.letter]
    if len(active) != len(pods) or len(active) != limits.replicas:
        return f"{len(active)} of {limits.replicas} are current, {len(pods)} exist"
    if any(p.ready_since is None for p in active):
        return "not all are ready"
    if changed := [p.name for p in active if p.tainted or p.drifted]:
        return f"{changed[0]} was changed in place"
    if (why := misrouted(people, found["spec"])) is not None:
        return why
    status = found["status"]
    ready = {c["type"]: c["status"] for c in status.get("conditions") or ()}.get("Ready")
    if ready != "True" or status["observedGeneration"] != found["metadata"]["generation"]:
        return f"the status says Ready {ready} of generation {status['observedGeneration']}"
    counts = {k: status.get(k) for k in ("replicas", "availableReplicas", "currentReplicas")}
    if set(counts.values()) != {limits.replicas}:
        return f"23: the status counts {counts}, there are {limits.replicas}"
    return None
