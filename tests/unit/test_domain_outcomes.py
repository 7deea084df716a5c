"""What a change of a revision's record tells for the first time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from immutable_operator.domain.model import FactType, Phase, Verdict
from immutable_operator.domain.outcomes import new_outcomes

BEFORE = Verdict(Phase.PROGRESSING, started=100.0)
FAILED = replace(BEFORE, phase=Phase.FAILED, failed=150.0)
GOOD = replace(BEFORE, phase=Phase.GOOD, completed=200.0)
CASES: dict[str, tuple[Verdict, Verdict, tuple[FactType, ...]]] = {
    "it bakes": (BEFORE, replace(BEFORE, baking=150.0), ()),
    "its rollout is complete": (BEFORE, GOOD, (FactType.GOOD,)),
    "it is promoted": (BEFORE, replace(BEFORE, promoted=150.0), (FactType.PROMOTED,)),
    "it fails and is kept": (BEFORE, FAILED, (FactType.FAILED,)),
    "it fails and is rolled back": (
        BEFORE,
        replace(FAILED, fallback="0a1b2c3d"),
        (FactType.FAILED, FactType.ROLLED_BACK),
    ),
    "it fails after its promotion": (
        replace(BEFORE, promoted=120.0),
        replace(FAILED, promoted=120.0),
        (FactType.FAILED,),
    ),
    "the sentence about its failure changes": (FAILED, replace(FAILED, message="it crashes"), ()),
    "it fails again after a retry": (
        replace(BEFORE, started=160.0),
        replace(FAILED, started=160.0, failed=170.0),
        (FactType.FAILED,),
    ),
    "it is restored, and not complete": (
        replace(GOOD, phase=Phase.SUPERSEDED),
        replace(GOOD, started=300.0),
        (),
    ),
    "it is restored and complete": (
        replace(GOOD, started=300.0),
        replace(GOOD, started=300.0, completed=310.0),
        (FactType.GOOD,),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_becomes_of_a_revision_is_told_once(case: str) -> None:
    before, after, expected = CASES[case]
    assert new_outcomes(before, after) == expected
    assert new_outcomes(after, after) == ()
