"""The record of the lineage against an API server's answers: batches, restarts, trouble."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from immutable_operator.domain.lineage import Entry
from immutable_operator.domain.model import Because, Plan, Reason, Retire
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.lease import NotLeader
from immutable_operator.runtime.lineages import PAUSE, PAUSE_AT_WORK, Lineages
from immutable_operator.wire.lineage import (
    LINEAGES,
    decode_lineage,
    lineage_body,
    lineage_name,
)
from immutable_operator.wire.owner import POOL
from tests.unit.given import NOW, name_of, view
from tests.wire.scripted import SERVICE, Answer, Script, refusal

COLLECTION, ITEM = LINEAGES.collection("shop"), LINEAGES.item("shop", "web")
NONE = refusal(404, 'immutablelineages "web" not found', name="web")
REST = Plan()
RETIRES = Plan(actions=(Retire(name_of("A0"), "uid-A0", Because(Reason.OUTDATED, "older")),))


def stored(*entries: Entry, owner: str = "s1") -> Answer:
    body = lineage_body(SERVICE, entries, None)
    body["metadata"] |= {"uid": "l1", "resourceVersion": "7"}
    body["metadata"]["ownerReferences"][0]["uid"] = owner
    return 200, body, {}


class Bed:
    """Lineages whose clocks stand still, until a test moves them."""

    def __init__(self, client: KubeClient) -> None:
        self.now = 0.0
        self.lineages = Lineages(client, lambda: NOW + self.now, lambda: self.now)

    def turn(self, drawn: str, decided: Plan = REST) -> None:
        self.lineages.note(SERVICE, view(drawn), decided)

    async def after(self, seconds: float) -> None:
        self.now += seconds
        await self.lineages.write_due()


def run(script: Script, story: Callable[[Bed], Awaitable[None]]) -> list[dict[str, Any]]:
    """Return the names and retirements of each write."""

    async def told(client: KubeClient) -> None:
        await story(Bed(client))

    with capture_logs():
        script.run(told)
    return [
        {e["uid"]: "retired" in e for e in asked.body["spec"]["replacements"]}
        for asked in script.asked
        if asked.method != "GET"
    ]


def entries_of(drawn: str) -> tuple[Entry, ...]:
    """What is on record of instances, without what explains them."""
    return tuple(
        Entry(i.slot, i.name, i.uid, i.born, revision=i.revision) for i in view(drawn).instances
    )


def test_first_instances_are_one_record_that_the_service_owns() -> None:
    script = Script(NONE, {})

    async def story(bed: Bed) -> None:
        bed.turn("A #")
        bed.turn("A ##")
        await bed.after(PAUSE - 1)
        await bed.after(1)
        await bed.after(1000)

    assert run(script, story) == [{"uid-A0": False, "uid-A1": False}]
    assert script.lines == [f"GET {ITEM}", f"POST {COLLECTION}"]
    [owner] = script.asked[1].body["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("ImmutableService", "s1", True)
    assert script.asked[1].body["spec"]["service"] == "web"


def test_rollout_is_one_write_once_the_service_is_at_rest() -> None:
    script = Script(stored(*entries_of("A #")), stored(*entries_of("A #")), {})

    async def story(bed: Bed) -> None:
        bed.turn("A #")
        await bed.after(PAUSE)
        bed.turn("A # B .", RETIRES)
        await bed.after(PAUSE_AT_WORK - 1)
        bed.turn("B #")
        await bed.after(1)

    assert run(script, story) == [{"uid-A0": True, "uid-B0": False}]
    assert script.lines == [f"GET {ITEM}", f"GET {ITEM}", f"PATCH {ITEM}"]
    body = script.asked[-1].body
    assert (body["metadata"]["uid"], body["metadata"]["resourceVersion"]) == ("l1", "7")
    assert body["spec"]["replacements"][0]["retiredBecause"] == "Outdated: older"


def test_long_rollout_is_written_from_time_to_time() -> None:
    script = Script(NONE, {})

    async def story(bed: Bed) -> None:
        bed.turn("A -")
        await bed.after(PAUSE_AT_WORK - 1)
        await bed.after(1)

    assert len(run(script, story)) == 1


def test_two_writes_of_one_service_are_apart() -> None:
    script = Script(NONE, {}, stored(*entries_of("A #")), {})

    async def story(bed: Bed) -> None:
        bed.turn("A #")
        await bed.after(PAUSE)
        bed.turn("A ##")
        await bed.after(PAUSE - 1)
        await bed.after(1)

    assert len(run(script, story)) == 2


def test_restart_writes_nothing_that_is_on_record() -> None:
    script = Script(stored(*entries_of("A ###")))

    async def story(bed: Bed) -> None:
        bed.turn("A ###")
        await bed.after(PAUSE)
        await bed.after(1000)

    assert run(script, story) == []


def test_restart_in_a_rollout_records_what_the_instances_state() -> None:
    script = Script(stored(*entries_of("A #")), {})

    async def story(bed: Bed) -> None:
        bed.turn("B #")
        await bed.after(PAUSE)

    assert run(script, story) == [{"uid-A0": True, "uid-B0": False}]


def test_observations_after_a_failed_write_are_in_the_next_one() -> None:
    script = Script(NONE, refusal(503, "try again"), NONE, {})

    async def story(bed: Bed) -> None:
        bed.turn("A #")
        await bed.after(PAUSE)
        bed.turn("A ##")
        await bed.after(PAUSE)

    assert run(script, story)[-1] == {"uid-A0": False, "uid-A1": False}


@pytest.mark.parametrize(
    "answer",
    [
        refusal(403, "immutablelineages is forbidden"),
        refusal(404, "the server could not find the requested resource"),
        refusal(500, "etcdserver: request timed out"),
        stored(owner="another"),
    ],
    ids=["no permission", "older definitions", "trouble", "of a deleted service"],
)
def test_failure_is_retried_later_and_disturbs_nothing(answer: Answer) -> None:
    first = (answer, refusal(404, "no such kind")) if answer and answer[0] == 404 else (answer,)
    script = Script(*first, NONE, {})

    async def story(bed: Bed) -> None:
        bed.turn("A #")
        await bed.after(PAUSE)
        await bed.after(PAUSE - 1)
        await bed.after(1)

    assert run(script, story)[-1] == {"uid-A0": False}


def test_retirement_that_is_taken_back_is_written() -> None:
    """A node whose drain was ended stays."""
    [one] = entries_of("A #")
    script = Script(NONE, {}, stored(replace(one, retired=NOW)), {})

    async def story(bed: Bed) -> None:
        bed.turn("A -")
        await bed.after(PAUSE_AT_WORK)
        bed.turn("A #")
        await bed.after(PAUSE)

    assert run(script, story) == [{"uid-A0": True}, {"uid-A0": False}]


def test_service_that_is_gone_is_forgotten() -> None:
    async def story(bed: Bed) -> None:
        bed.turn("A #")
        bed.lineages.forget(SERVICE.uid)
        await bed.after(PAUSE)

    assert run(Script(), story) == []


def test_lost_lease_ends_the_work() -> None:
    script = Script(NONE)

    async def story(client: KubeClient) -> None:
        def fence() -> float:
            raise NotLeader("the lease was lost")

        client.fence = fence
        bed = Bed(client)
        bed.turn("A #")
        with pytest.raises(NotLeader):
            await bed.after(PAUSE)

    script.run(story)


def test_pool_and_service_of_one_name_have_two_records() -> None:
    assert (lineage_name(SERVICE.kind, "web"), lineage_name(POOL, "web")) == ("web", "pool.web")


def test_record_is_read_as_it_was_written() -> None:
    full = Entry(
        *(0, "web-1", "u1", NOW, "0a1b2c3d", "Outdated: x", "web-0", "u0", "jane"),
        retired=NOW + 5,
        retired_because="Scaled: fewer",
    )
    body = lineage_body(SERVICE, [full], None)
    body["metadata"] |= {"uid": "l1", "resourceVersion": "7"}
    assert decode_lineage(msgspec.json.encode(body)).entries == (full,)


def test_entry_that_cannot_be_read_is_left_out() -> None:
    [good] = entries_of("A #")
    body = lineage_body(SERVICE, [good, replace(good, uid="u2")], None)
    body["metadata"] |= {"uid": "l1"}
    body["spec"]["replacements"][1]["born"] = "yesterday"
    assert decode_lineage(msgspec.json.encode(body)).entries == (good,)
