"""`kubectl immutable history`, and which revision a word of the command line names."""

from __future__ import annotations

from typing import Any

import pytest

from immutable_operator.cli.asked import candidates
from immutable_operator.cli.diff import earlier
from immutable_operator.cli.history import Marks, table
from immutable_operator.cli.problem import CannotRun
from immutable_operator.cli.records import find_good, find_record, outcome
from immutable_operator.cli.table import age, aligned
from immutable_operator.domain.config.hashing import revision_hash
from immutable_operator.domain.model import ABSENT, CONFIG_MAP, SECRET, ConfigKey, Pin, Revision

NOW = 1_800_000_000.0
BORN = "2027-01-15T07:00:00Z"  # an hour before
SETTINGS, TLS = (CONFIG_MAP, "settings"), (SECRET, "tls")
TEMPLATE = {"spec": {"containers": [{"name": "web", "image": "web@sha256:1"}]}}


def record(number: int, id_: str, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": f"web-im{id_}", "creationTimestamp": BORN},
        "spec": {
            "number": number,
            "revision": id_,
            "reason": "Created",
            "image": "web@9f2c41d07a1b",
            "by": "kubectl",
        },
        "status": status,
    }


GOOD = record(1, "aaaaaaaa", phase="Good", completed=BORN, replaced="2 instances in 3 s")
BAD = record(
    2,
    "bbbbbbbb",
    phase="Failed",
    reason="CrashLoop",
    message="web-1: exits",
    fallback="aaaaaaaa",
)
RECORDS = [GOOD, BAD, record(3, "00000002")]


def revision(number: int, **digests: str) -> Revision:
    """A revision that pins the ConfigMap or the Secret with these digests."""
    keys: dict[str, ConfigKey] = {"settings": SETTINGS, "tls": TLS}
    config = {keys[name]: digest for name, digest in digests.items()}
    pins = tuple(Pin(name, f"{name}-copy", digest, kind) for (kind, name), digest in config.items())
    full = revision_hash(TEMPLATE, config=config)
    return Revision(f"{number:08x}", number, full, f"web-im{number:08x}", "uid", pins)


def test_table_marks_what_runs_and_what_is_asked_for() -> None:
    head, good, bad, _ = table(RECORDS, Marks({"aaaaaaaa": 2}, "aaaaaaaa", "bbbbbbbb"), NOW)
    rows = [dict(zip(head, row, strict=True)) for row in (good, bad)]
    assert [(row["RUNS"], row["ASKED"]) for row in rows] == [("2", "-"), ("0", "*")]
    assert [row["AGE"] for row in rows] == ["60m", "60m"]
    assert rows[0]["OUTCOME"] == "2 instances in 3 s"
    assert rows[1]["OUTCOME"] == "CrashLoop: web-1: exits; went back to revision 1 (aaaaaaaa)"


def test_table_without_right_to_list_pods_marks_the_target() -> None:
    _, good, bad, _ = table(RECORDS, Marks(None, "aaaaaaaa"), NOW)
    assert (good[3], bad[3]) == ("?", "-")


def test_cell_has_one_line_and_is_never_empty() -> None:
    told = record(1, "aaaaaaaa", phase="Failed", message="one\n\x1b[31mtwo")
    assert table([told], Marks(), NOW)[1][-1] == "one \\x1b[31mtwo"
    assert table(RECORDS, Marks(), NOW)[3][-1] == "-"


def test_wide_table_names_config_and_times() -> None:
    pinned = record(1, "aaaaaaaa", startedAt=BORN)
    pinned["spec"]["config"] = [{"name": "settings"}, {"kind": "Secret", "name": "tls"}]
    head, row = table([pinned], Marks(), NOW, wide=True)
    cells = dict(zip(head, row, strict=True))
    assert cells["CONFIG"] == "ConfigMap/settings,Secret/tls"
    assert (cells["STARTED"], cells["COMPLETED"]) == ("60m", "-")


def test_rejection_is_shown_with_its_user() -> None:
    told = record(
        2,
        "bbbbbbbb",
        phase="Failed",
        reason="Rejected",
        message="rejected by jane: slow",
        rejectedBy="jane",
    )
    assert outcome(told, [told]) == "rejected by jane: slow"


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("bbbbbbbb", 2), ("BBBBBBBB", 2), ("web-imbbbbbbbb", 2), ("00000002", 3), ("2", 2)],
)
def test_revision_is_found_by_number_id_or_name(text: str, number: int) -> None:
    assert find_record(RECORDS, text)["spec"]["number"] == number


@pytest.mark.parametrize("text", ["7", "cccccccc", "", "-1", "two", "²"])
def test_unknown_revision_names_those_on_record(text: str) -> None:
    with pytest.raises(CannotRun, match=r"on record are: 1 \(aaaaaaaa\), 2 \(bbbbbbbb\), 3 \("):
        find_record(RECORDS, text)


def test_revision_that_is_not_good_names_the_good_ones() -> None:
    assert find_good(RECORDS, "1") is GOOD
    with pytest.raises(CannotRun, match=r"revision 2 \(bbbbbbbb\) is Failed; .*: 1 \(aaaaaaaa\)$"):
        find_good(RECORDS, "2")
    with pytest.raises(CannotRun, match="is Pending"):
        find_good(RECORDS, "3")


@pytest.mark.parametrize(
    ("current", "good", "asked", "expected"),
    [
        ("aaaaaaaa", "aaaaaaaa", BAD, GOOD),
        ("bbbbbbbb", "aaaaaaaa", BAD, GOOD),
        ("aaaaaaaa", "aaaaaaaa", None, GOOD),
        ("aaaaaaaa", "aaaaaaaa", GOOD, None),
        ("aaaaaaaa", None, GOOD, None),
    ],
    ids=["went back", "rolls out", "not recorded", "runs", "first"],
)
def test_diff_compares_with_what_runs_or_ran(
    current: str, good: str | None, asked: Any, expected: Any
) -> None:
    status = {"currentRevision": current, "lastGoodRevision": good}
    assert earlier(status, RECORDS, asked) is expected


def test_asked_revision_has_the_content_of_the_config_maps() -> None:
    old, new = revision(1, settings="sha256:1"), revision(2, settings="sha256:2")
    pinned = {SETTINGS: False}
    assert candidates(TEMPLATE, [old, new], {SETTINGS: "sha256:1"}, pinned) == [old]
    assert candidates(TEMPLATE, [old, new], {SETTINGS: "sha256:3"}, pinned) == []
    absent = revision(3, settings=ABSENT)
    assert candidates(TEMPLATE, [old, absent], {SETTINGS: ABSENT}, pinned) == [absent]


def test_what_cannot_be_read_counts_as_unchanged() -> None:
    old, new = revision(1, tls="hmac-sha256:1"), revision(2, tls="hmac-sha256:2")
    unpinned = revision(3)
    found = candidates(TEMPLATE, [old, new, unpinned], {}, {TLS: False})
    assert found == [unpinned, new, old]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (119, "119s"),
        (120, "2m"),
        (130, "2m10s"),
        (3600, "60m"),
        (3 * 3600 + 60, "3h1m"),
        (47 * 3600, "47h"),
        (2 * 86400 + 3600, "2d1h"),
        (400 * 86400, "400d"),
        (731 * 86400, "2y1d"),
    ],
)
def test_age_is_written_as_by_kubectl(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_columns_are_aligned_without_blanks_at_the_end() -> None:
    assert aligned([("A", "B"), ("long", "x"), ("s", "")]) == ["A      B", "long   x", "s"]
