"""What a new leader knows of the guards before it plans."""

from __future__ import annotations

import asyncio

import pytest
from kubernetes.aio.client import Configuration

from immutable_operator.admission.fault import Door, Trouble
from immutable_operator.kube.client import KubeClient
from immutable_operator.runtime.guards import Guards
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.wire.owner import OwnerRecord

WEB = OwnerRecord.of(
    {
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": "5"},
        "spec": {},
    }
)
DOOR = Door("webhook.example", 9443, "")


@pytest.mark.parametrize("reached", [True, False])
def test_new_leader_waits_for_the_first_probe_of_the_webhook(
    reached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it writes each status without the result, and once more with it."""

    async def story() -> None:
        answered = asyncio.Event()
        told: list[str] = []

        async def knock(door: Door) -> Trouble | None:
            await answered.wait()
            return None if reached else Trouble(door, "WebhookUnreachable", "refused")

        monkeypatch.setattr("immutable_operator.admission.knock.knock", knock)
        monkeypatch.setattr("immutable_operator.runtime.guards.door_of", lambda found: DOOR)
        client = KubeClient(Configuration(host="http://127.0.0.1:1"))
        guards = Guards(client, Metrics(), lambda: told.append("changed"), break_glass=True)
        guards._user = "operator"
        for reflector in guards.reflectors:
            reflector.synced.set()
        probe, look = asyncio.create_task(guards.probe()), asyncio.create_task(guards.look())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not look.done()
        answered.set()
        await asyncio.wait_for(look, 10)
        assert (guards.of(WEB) is not None) == reached, "one failure says nothing yet"
        assert told == ["changed"] * reached
        probe.cancel()
        await client.close()

    asyncio.run(story())


def test_new_leader_without_a_webhook_waits_for_no_probe() -> None:
    async def story() -> None:
        client = KubeClient(Configuration(host="http://127.0.0.1:1"))
        guards = Guards(client, Metrics(), lambda: None, break_glass=False)
        guards._user = "operator"
        await asyncio.wait_for(guards.look(), 10)
        assert guards.of(WEB) is not None
        await client.close()

    asyncio.run(story())
