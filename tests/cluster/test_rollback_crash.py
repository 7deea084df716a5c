"""Crash safety of a rollback: the operator is killed at every write of a release that fails."""

from __future__ import annotations

import pytest

from tests.cluster.history import History
from tests.cluster.operator_process import Operators
from tests.cluster.services import Service, is_ready, pin
from tests.cluster.write_proxy import WriteProxy

# The most writes of an undisturbed one: the record, its verdicts, a birth, an eviction, events, the
# status. On a busy machine two writes of the status may become one.
WRITES = 14


@pytest.mark.parametrize("number", range(WRITES + 1))
def test_operator_that_is_killed_at_a_write_ends_as_undisturbed(
    web: Service, operators: Operators, number: int
) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    before = {pod["metadata"]["uid"] for pod in web.pods()}

    def restored() -> bool:
        stalled = [c for c in web.status()["conditions"] if c["type"] == "Stalled"]
        return stalled[0]["reason"] == "RolledBack" and web.images() == [pin("a")] * 2

    with WriteProxy(web.plane) as proxy, History(web) as history:
        operators.restart(server=proxy.url).until_leading()
        try:
            proxy.writes.clear()
            proxy.fatal, proxy.kill = number, operators.main.kill
            web.apply(image="b", sim={"fault": "crash-loop"})
            web.until(
                "the operator was killed, or made all of its writes",
                lambda: proxy.killed.is_set() or restored(),
                90,
            )
            if proxy.killed.is_set():
                operators.free_lease()
        finally:
            operators.restart().until_leading()
        web.until("it is restored", restored, 90)
        web.until("what failed is gone", lambda: len(web.pods()) == 2)
        assert len(history.births()) == 1, proxy.writes
        assert len(history.retirements()) == 1, proxy.writes
        assert len(proxy.writes) <= WRITES, proxy.writes
    assert before == {pod["metadata"]["uid"] for pod in web.pods()}
    assert all(is_ready(pod) for pod in web.pods())
    assert [r["status"]["phase"] for r in web.revisions()] == ["Good", "Failed"]
