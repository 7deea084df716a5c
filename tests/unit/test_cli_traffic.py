"""Which revision gets which share of the traffic, in words and numbers."""

from __future__ import annotations

import pytest

from immutable_operator.cli.objects import Json
from immutable_operator.cli.traffic import shares, traffic_line

OLD, NEW = "aaaaaaaa", "bbbbbbbb"
BLUE_GREEN: Json = {"rollout": {"strategy": "BlueGreen"}, "traffic": {"ports": [{"port": 80}]}}
CANARY: Json = {"rollout": {"strategy": "Canary"}, "traffic": {"ports": [{"port": 80}]}}
ROUTED: Json = {**CANARY, "traffic": {"ports": [{"port": 80}], "route": {"name": "web"}}}


def record(number: int, id_: str, promoted: str = "", completed: str = "") -> Json:
    status = {"promotedAt": promoted, "completed": completed}
    status = {key: f"2027-01-15T08:{at}:00Z" for key, at in status.items() if at}
    return {"spec": {"number": number, "revision": id_}, "status": status}


BEFORE = record(1, OLD, "00", "01")
AFTER = record(2, NEW)


def body(spec: Json, weight: int | None = None, revision: str = NEW) -> Json:
    rollout = {"revision": revision, **({} if weight is None else {"weight": weight})}
    return {"spec": spec, "status": {"rollout": rollout}}


@pytest.mark.parametrize(
    ("given", "records", "expected"),
    [
        pytest.param(body({}), [BEFORE, AFTER], "", id="Rolling"),
        pytest.param(body(CANARY), [BEFORE, AFTER], "", id="by the number of pods"),
        pytest.param(body(BLUE_GREEN), [AFTER], "", id="none was promoted"),
        pytest.param(
            body(BLUE_GREEN),
            [record(1, OLD, "00", "00"), record(2, NEW, "", "05")],
            "",
            id="rolled",
        ),
        pytest.param(body(BLUE_GREEN), [BEFORE, AFTER], "revision 1 100 %", id="preview"),
        pytest.param(
            body(BLUE_GREEN), [BEFORE, record(2, NEW, "09")], "revision 2 100 %", id="promoted"
        ),
        pytest.param(body(ROUTED), [BEFORE, AFTER], "revision 1 100 %", id="no weight yet"),
        pytest.param(
            body(ROUTED, 20), [BEFORE, AFTER], "revision 2 20 %, revision 1 80 %", id="20"
        ),
        pytest.param(body(ROUTED, 100), [BEFORE, AFTER], "revision 2 100 %", id="100"),
        pytest.param(body(ROUTED, 20, OLD), [BEFORE, AFTER], "revision 1 100 %", id="went back"),
        pytest.param({"spec": ROUTED}, [BEFORE], "revision 1 100 %", id="no status"),
        pytest.param({"spec": ROUTED}, [], "", id="no revision"),
    ],
)
def test_share_of_each_revision_is_told(given: Json, records: list[Json], expected: str) -> None:
    assert traffic_line(given, records) == expected


def test_revision_without_traffic_has_a_share_of_zero() -> None:
    assert shares(body(ROUTED, 0), [BEFORE, AFTER]) == {OLD: 100, NEW: 0}
