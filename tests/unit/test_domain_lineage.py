"""What is recorded of an instance, and what stays of it on record."""

from __future__ import annotations

from dataclasses import replace

import pytest

from immutable_operator.domain.lineage import (
    MOST,
    Entry,
    Retirement,
    births,
    merged,
    reasons,
    retirements,
)
from immutable_operator.domain.model import (
    Because,
    Instance,
    Reason,
    Request,
    Retire,
    View,
    purpose_of_request,
)
from tests.unit.given import NOW, REVISIONS, name_of, view

OUTDATED = Because(Reason.OUTDATED, "its revision is not the wanted one")


def entry(number: int, *, retired: float | None = None) -> Entry:
    return Entry(number % 3, f"web-{number}", f"uid-{number}", NOW + number, retired=retired)


def authored() -> View:
    """A service without instances, whose revisions were written by jenkins."""
    given = view(wanted="B")
    return replace(given, revisions=tuple(replace(r, author="jenkins") for r in given.revisions))


def successor(because: Because, purpose: str = "") -> Instance:
    [born] = view("B +").instances
    before = replace(born, replaces=name_of("A0"), replaces_uid="uid-A0")
    return replace(before, because=because, purpose=purpose, slot=2, born=NOW + 0.7)


def test_birth_is_recorded_as_its_certificate_states_it() -> None:
    given = replace(authored(), instances=(successor(OUTDATED),))
    assert births(given, set()) == (
        Entry(
            slot=2,
            name=name_of("B0"),
            uid="uid-B0",
            born=NOW,
            revision=REVISIONS["B"].id,
            because="Outdated: its revision is not the wanted one",
            replaces=name_of("A0"),
            replaces_uid="uid-A0",
            by="jenkins",
        ),
    )


def test_birth_is_observed_once() -> None:
    assert births(view("A ##"), {"uid-A0", "uid-A1"}) == ()


@pytest.mark.parametrize(
    ("reason", "by"),
    [(Reason.REQUESTED, "alice"), (Reason.CREATED, "jenkins"), (Reason.EXPIRED, "")],
)
def test_author_is_the_user_or_tool_that_asked_for_the_replacement(reason: Reason, by: str) -> None:
    purpose = purpose_of_request("r1")
    born = successor(Because(reason, "so"), purpose)
    asked = Request("again", "r1", NOW, "alice")
    given = replace(authored(), instances=(born,), requests=(asked,))
    assert [e.by for e in births(given, set())] == [by]


def test_retirement_is_seen_when_an_instance_is_deleted_or_gone() -> None:
    given = view("A #-")
    why = reasons([Retire(name_of("A1"), "uid-A1", OUTDATED)])
    found = retirements(given, ["uid-A0", "uid-A1", "uid-A2"], why, NOW + 0.5)
    assert found == (Retirement("uid-A1", NOW, str(OUTDATED)), Retirement("uid-A2", NOW))


def test_retirement_by_others_has_the_reason_that_the_cluster_reports() -> None:
    [lost] = view("A -").instances
    given = replace(view(""), departed=(replace(lost, leaving="its node was deleted"),))
    assert retirements(given, ["uid-A0"], {}, NOW) == (
        Retirement("uid-A0", NOW, "its node was deleted"),
    )


def test_entry_on_record_stays_when_the_operator_starts_again() -> None:
    recorded = replace(entry(1), by="alice")
    found = merged([recorded], [entry(1), entry(2)], [], {"uid-1", "uid-2"}, NOW)
    assert found == (recorded, entry(2))


def test_retirement_that_no_operator_saw_is_recorded_at_the_next_look() -> None:
    assert merged([entry(1)], [], [], set(), NOW + 9.5) == (entry(1, retired=NOW + 9),)


def test_first_observation_of_a_retirement_counts() -> None:
    recorded = entry(1, retired=NOW + 5)
    found = merged([recorded], [], [Retirement("uid-1", NOW + 8, "later")], set(), NOW + 9)
    assert found == (recorded,)


def test_retirement_that_was_taken_back_is_no_longer_on_record() -> None:
    recorded = replace(entry(1, retired=NOW + 5), retired_because="Evacuating: x")
    assert merged([recorded], [], [], {"uid-1"}, NOW + 9) == (entry(1),)


def test_birth_and_retirement_of_one_batch_are_one_entry() -> None:
    [found] = merged([], [entry(1)], [Retirement("uid-1", NOW + 3, "so")], set(), NOW + 9)
    assert (found.retired, found.retired_because) == (NOW + 3, "so")


def test_successor_of_the_same_second_comes_after_its_predecessor() -> None:
    first, last = replace(entry(0), name="z"), replace(entry(0), name="a", uid="uid-a")
    last = replace(last, replaces=first.name, replaces_uid=first.uid)
    assert merged([], [last, first], [], {"uid-0", "uid-a"}, NOW) == (first, last)


def test_newest_entries_are_kept_and_a_restart_changes_nothing() -> None:
    everything = [entry(number) for number in range(MOST + 20)]
    existing = {e.uid for e in everything}
    kept = merged([], everything, [], existing, NOW)
    assert kept == tuple(everything[20:])
    assert merged(kept, everything, [], existing, NOW) == kept


def test_record_whose_oldest_entries_are_dropped_reads_in_the_same_order() -> None:
    """Of two of one second, the ancestors of one were dropped: its place may not change with it."""
    chain = [entry(0)]
    for number in range(1, MOST - 1):
        chain.append(replace(entry(number), replaces_uid=chain[-1].uid))
    last = NOW + MOST
    late = replace(entry(MOST, retired=None), slot=0, born=last, replaces_uid=chain[0].uid)
    other = replace(entry(MOST + 1, retired=None), slot=1, born=last)
    everything = [*chain, late, other]
    alive = {e.uid for e in everything}
    once = merged((), everything, (), alive, NOW)
    assert len(once) == MOST
    assert merged(once, (), (), alive, NOW) == once
