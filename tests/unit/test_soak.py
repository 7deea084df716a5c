"""The judge of the soak: it notices each rule that is broken, and lets rightful moves pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.soak.judge import (
    CHANGED,
    CONDITIONS,
    FEWER,
    FOREIGN,
    MORE,
    NUMBERS,
    OBSERVED,
    SUSPENDED,
    judge,
)
from tests.soak.report import Report, Sample
from tests.soak.seen import Asked, Event, PodSeen, Recorded, Taken

LAG = 30.0
IMAGE = "registry.example/web@sha256:" + "a" * 64
OTHER = "registry.example/web@sha256:" + "b" * 64
WEB = Asked(
    at=0.0,
    kind="ADDED",
    service="u",
    replicas=2,
    surge=1,
    unavailable=0,
    suspended=False,
    deleting=False,
    images=frozenset({IMAGE}),
    generation=1,
    observed=1,
    true=frozenset({"Ready"}),
)


def pod(name: str, at: float, kind: str = "ADDED", **changes: object) -> PodSeen:
    there = kind != "DELETED"
    found = PodSeen(
        at, kind, "u", f"uid-{name}", name, "r1", "Created", frozenset({IMAGE}), there, there
    )
    return replace(found, **changes)  # type: ignore[arg-type]


TWO: list[Event] = [WEB, pod("a", 1), pod("b", 1)]
THREE: list[Event] = [*TWO, pod("c", 60)]
RECORD = Recorded(1, "ADDED", "u", "x", "r1", 1)
BROKEN: dict[str, tuple[str, list[Event]]] = {
    "one birth too many": (MORE, [*THREE, pod("d", 61)]),
    "one retirement too many": (FEWER, [*TWO, pod("a", 60, "MODIFIED", active=False)]),
    "a deletion without grace": (FEWER, [*TWO, pod("a", 60, "DELETED")]),
    "a birth while suspended": (SUSPENDED, [replace(WEB, suspended=True), pod("a", 60)]),
    "a retirement while suspended": (
        SUSPENDED,
        [*THREE, replace(WEB, at=61, suspended=True), pod("a", 120, "DELETED")],
    ),
    "an image of nobody": (FOREIGN, [WEB, pod("a", 1, images=frozenset({OTHER}))]),
    "a tag": (
        FOREIGN,
        [replace(WEB, images=frozenset({"web:1"})), pod("a", 1, images=frozenset({"web:1"}))],
    ),
    "a change in place": (CHANGED, [*TWO, pod("a", 2, "MODIFIED", images=frozenset({OTHER}))]),
    "a number used again": (NUMBERS, [WEB, RECORD, replace(RECORD, at=9, uid="y")]),
    "a lower number": (NUMBERS, [WEB, replace(RECORD, number=2), replace(RECORD, at=9, uid="y")]),
    "two conditions": (CONDITIONS, [replace(WEB, true=frozenset({"Ready", "Stalled"}))]),
    "an older generation": (OBSERVED, [WEB, replace(WEB, at=1, observed=0)]),
}
RIGHTFUL: dict[str, list[Event]] = {
    "a rollout": [*THREE, pod("a", 61, "MODIFIED", active=False), pod("d", 62)],
    "a deletion by a user": [*TWO, Taken(59.9, "a"), pod("a", 60, "DELETED"), pod("c", 61)],
    "a scale down": [*TWO, replace(WEB, at=50, replicas=1), pod("a", 60, "DELETED")],
    "a scale up": [*TWO, replace(WEB, at=50, replicas=4), *(pod(n, 60) for n in "cde")],
    "a retirement after a loss": [
        *THREE,
        pod("b", 61, "MODIFIED", ready=False),
        pod("a", 62, "DELETED"),
    ],
    "the end of a pod that never worked": [
        *TWO,
        pod("c", 60, ready=False),
        pod("c", 61, "DELETED"),
    ],
    "the deletion of the service": [*TWO, replace(WEB, at=60, kind="DELETED", deleting=True)]
    + [pod(name, 61, "DELETED") for name in "ab"],
    "a birth just after the suspension": [*TWO, replace(WEB, at=60, suspended=True), pod("c", 61)],
    "a record that is written again": [WEB, RECORD, replace(RECORD, at=5, kind="MODIFIED")],
}


@pytest.mark.parametrize("why", BROKEN)
def test_broken_rule_is_noticed(why: str) -> None:
    rule, events = BROKEN[why]
    found = judge(events, LAG)
    assert [name for name, said in found.broken.items() if said] == [rule], found.broken
    assert found.judged[rule] > 0


@pytest.mark.parametrize("why", RIGHTFUL)
def test_rightful_move_passes(why: str) -> None:
    found = judge(RIGHTFUL[why], LAG)
    assert not any(found.broken.values()), found.broken


def test_report_says_what_did_not_hold() -> None:
    report = Report(7, 3.0, "2 cores", deeds=["scale: web", "scale: web", "freeze: shop"])
    report.samples += [Sample(0, "soak-0", 90.0, 10), Sample(1, "soak-0", 95.0, 40)]
    assert report.holds
    assert "| scale | 2 |" in report.text()
    assert "at most 30 a minute" in report.text()
    report.judgement = judge(BROKEN["a tag"][1], LAG)
    assert not report.holds
    assert f"| {FOREIGN} | 1 | 1 |" in report.text()
