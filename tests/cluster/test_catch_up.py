"""What was missed is caught up once, and what is due at once everywhere does not start at once.

Ages are seconds here, and the schedule fires every minute.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import datetime

import pytest

from immutable_operator.api.names import API_VERSION
from immutable_operator.domain.calendar.regeneration import Regeneration, scheduled_at
from immutable_operator.domain.calendar.windows import Cron
from tests.cluster.history import History
from tests.cluster.operator_process import Operators
from tests.cluster.services import Service, Wish, annotation, born, is_active, is_ready, names
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.waiting import wait_for

REPLICAS = 3
MINUTE = 60.0
EVERY_MINUTE = "* * * * *"
# Seconds of a minute after which all that is waited for still has room before the next slot.
EARLY = range(30)
MANY = 60


def is_early() -> bool:
    return time.gmtime().tm_sec in EARLY


def assert_one_at_a_time(history: History) -> None:
    """At every moment at most one more than wanted, and at most one that is not ready."""
    history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
    for change, pods in history.states():
        starting = [p for p in pods if is_active(p) and not is_ready(p)]
        assert len(starting) <= 1, f"{change.name}:\n{history.story()}"


def test_restarted_operator_catches_up_missed_regeneration_once(
    web: Service, operators: Operators
) -> None:
    regeneration = {"maxAge": "50s", "jitter": "0%", "schedule": EVERY_MINUTE}
    web.apply(
        replicas=REPLICAS,
        rollout={"maxSurge": 3},
        sim={"ready-delay": "1s"},
        spec={"regeneration": regeneration},
    )
    web.until_ready()
    operators.main.stop()
    with History(web) as history:
        old = names(web)
        youngest = max(map(born, web.active()))
        web.until(
            "two slots are missed, all are too old, and the next one is far",
            lambda: time.time() // MINUTE - youngest // MINUTE >= 2 and is_early(),
            4 * MINUTE,
        )
        assert names(web) == old, "nothing else replaces them"
        operators.restart().until_leading()
        web.until("all were replaced", lambda: not old & names(web))
        births = history.births()
        assert [annotation(b.pod, "incarnation") for b in births] == ["1"] * REPLICAS
        assert {annotation(b.pod, "replaces") for b in births} == old, history.story()
        assert_one_at_a_time(history)
        because = {annotation(b.pod, "because") or "" for b in births}
        assert all(reason.startswith("Expired: ") for reason in because), because
        # Each once: what comes next is in the future of all of them.
        body = web.once("what comes next", lambda b: "nextRegeneration" in b["status"])
        upcoming = datetime.fromisoformat(body["status"]["nextRegeneration"]).timestamp()
        assert upcoming > max(born(b.pod) for b in births)


def apply_many(plane: ControlPlane, namespace: str, **regeneration: str) -> None:
    """All of them with one kubectl; the template stays the same."""
    wish = Wish(replicas=1, spec={"regeneration": regeneration} if regeneration else {})
    items = [wish.manifest(f"many-{n}", namespace) for n in range(MANY)]
    document = {"apiVersion": "v1", "kind": "List", "items": items}
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(document))


@pytest.fixture
def many(control_plane: ControlPlane, operators: Operators, namespace: str) -> list[Json]:
    """Many services of one instance each, whose schedule has one and the same next slot."""
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/immutableservices"

    def listed() -> list[Json]:
        items: list[Json] = control_plane.api().get(path)["items"]
        return items

    apply_many(control_plane, namespace)
    wait_for(
        "all have their instance",
        lambda: sum(s.get("status", {}).get("availableReplicas", 0) for s in listed()) == MANY,
        90,
    )
    # All schedules are written well before their first slot.
    wait_for("the next slot is far", is_early)
    apply_many(control_plane, namespace, schedule=EVERY_MINUTE)
    return listed()


def test_services_with_same_schedule_start_at_different_times(
    control_plane: ControlPlane, namespace: str, many: list[Json]
) -> None:
    """Each waits for its own moment, which follows from its uid; the moments are spread."""
    wish = Regeneration(schedule=Cron(EVERY_MINUTE, "UTC"))
    first = Service(control_plane, namespace, "many-0")
    uids = {s["metadata"]["name"]: s["metadata"]["uid"] for s in many}
    with History(first) as history:
        wait_for("each has a successor", lambda: len(history.births()) >= MANY)
        births = history.births()[:MANY]
    late: list[float] = []
    for birth in births:
        predecessor = annotation(birth.pod, "replaces") or ""
        service = birth.pod["metadata"]["labels"]["immutable.dev/service"]
        assert predecessor.startswith(service)
        began = born(birth.pod)
        slot = began - began % MINUTE
        moment = scheduled_at(wish, uids[service], slot, slot - MINUTE / 2) or 0.0
        # The API server cuts births to whole seconds.
        assert began + 1 > moment > slot, (service, began, moment)
        late.append(moment - slot)
    assert len({b.pod["metadata"]["labels"]["immutable.dev/service"] for b in births}) == MANY
    seconds = Counter(int(moment) for moment in late)
    assert max(seconds.values()) < MANY / 2, seconds
    assert len(seconds) >= 5, seconds
