"""Who refused a request, told from the words of the API server; and what a run says in the end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from immutable_operator.cli.outcome import Outcome, Result, refusal
from immutable_operator.cli.paths import PATHS, UNTRIED
from immutable_operator.cli.report import conclusion, line
from immutable_operator.cli.verify import chosen
from immutable_operator.kube.errors import ApiError

POLICY = (
    "pods \"web-im1\" is forbidden: ValidatingAdmissionPolicy 'connect.immutable.dev' with binding"
    " 'connect.immutable.dev' denied request: it cannot be accessed"
)
RBAC = 'pods "web" is forbidden: User "jane" cannot patch resource "pods" in API group ""'
QUOTA = 'pods "web" is forbidden: exceeded quota: none, requested: pods=1'


@pytest.mark.parametrize(
    ("status", "text", "own_words", "layer"),
    [
        (403, POLICY, None, "L2 policy connect"),
        (422, POLICY, None, "L2 policy connect"),
        (403, POLICY.replace("connect.immutable.dev", "theirs"), None, "L2 policy theirs"),
        (403, RBAC, None, "L3 RBAC for jane"),
        (403, 'admission webhook "a.example" denied the request: no', None, "webhook a.example"),
        (422, "spec: image x has no digest", "digest", "API server itself"),
        (409, "pod is already assigned to node", "already assigned", "API server itself"),
        # These say nothing about the path: the request is wrong, or something else is in the way.
        (422, "spec: image x has no digest", None, None),
        (422, "spec.tolerations: Invalid value", "digest", None),
        (403, QUOTA, "digest", None),
        (404, "pods not found: digest", "digest", None),
        (500, "digest", "digest", None),
        (0, "no answer in time", None, None),
    ],
)
def test_only_a_refusal_of_the_path_counts(
    status: int, text: str, own_words: str | None, layer: str | None
) -> None:
    found = refusal(ApiError(status, "", text), own_words)
    assert (found.layer if found else None) == layer


@pytest.mark.parametrize("expected", [None, *Result])
@pytest.mark.parametrize("result", Result)
def test_stronger_protection_than_expected_passes(result: Result, expected: Result | None) -> None:
    order = list(Result)
    row = Outcome("P1", "a path", result, expected)
    assert row.ok == (expected is None or order.index(result) <= order.index(expected))


def test_last_line_names_failed_paths_and_not_untried_ones() -> None:
    rows = [
        Outcome("A", "a", Result.PREVENTED, Result.PREVENTED, "L3 RBAC for jane"),
        Outcome("B", "b", Result.HEALED, Result.HEALED, seconds=1.0),
        Outcome("C", "c", Result.NOT_COVERED, None, detail="no request"),
    ]
    assert conclusion(rows).startswith(
        "all 2 paths are protected: 1 prevented, 1 healed; 1 of them only"
    )
    wrong = Outcome("D", "d", Result.HEALED, Result.PREVENTED, seconds=1.0)
    assert conclusion([*rows, wrong]) == "1 of 3 paths are not protected: D"


def test_row_is_no_wider_than_its_columns() -> None:
    for path in PATHS:
        row = Outcome(path.id, path.what, Result.HEALED, path.expected, "by it", seconds=1234.5)
        columns = line(row).split("  ")
        assert columns[0] == path.id
        assert path.what in [column.strip() for column in columns]


def test_paths_are_selected_by_id_row_or_letter() -> None:
    assert chosen("") == PATHS
    assert [path.id for path in chosen("P2, P6-exec")] == [
        "P2-deadline",
        "P2-toleration",
        "P6-exec",
    ]
    assert {path.id[0] for path in chosen("C")} == {"C"}
    with pytest.raises(ValueError, match="unknown path 'P99'"):
        chosen("P1,P99")


def test_path_ids_are_unique() -> None:
    assert len({path.id for path in PATHS}) == len(PATHS)


def test_documented_rows_are_exactly_those_tried_or_listed() -> None:
    text = (Path(__file__).parents[2] / "docs" / "enforcement.md").read_text()
    documented = set(re.findall(r"^\| ([A-Z]\d+) \|", text, re.MULTILINE))
    tried = {path.id.partition("-")[0] for path in PATHS}
    listed = {row for row, *_ in UNTRIED}
    assert tried | listed == documented
    assert not tried & listed
