"""Bugs of the tool that nobody can notice: what they change, and why that changes nothing."""

from __future__ import annotations

__all__ = ["EQUIVALENT"]

# By the changed lines, as ``tests.mutants.sample`` prints them.
EQUIVALENT: dict[str, str] = {
    "step = Decimal(1) -> step = Decimal(2)": "a number is rounded to the exponent of the step",
    "ensure_ascii=False, -> ensure_ascii=None,": "None is as false as False",
    "return Target(running, False, held, lacking=(lack,), due=(refused.retry_at,), notes=(note,))"
    " -> "
    "return Target(running, None, held, lacking=(lack,), due=(refused.retry_at,), notes=(note,))": (
        "None is as false as False"
    ),
    "for (uid, birth), early, forced in zip(fleet, soft, hard, strict=True):"
    " -> for (uid, birth), early, forced in zip(fleet, soft, hard, strict=False):": (
        "each list has one entry for each instance"
    ),
    "return Saying(SUSPENDED, SUSPENDED, text) -> return Saying(None, SUSPENDED, text)": (
        "Suspended is none of the three conditions of which one may be True"
    ),
    "return f\" {when} {wall(at, 'UTC')}; to promote it now: {promote}; to reject it: {abort}\""
    " -> "
    "return f\" {when} {wall(at, 'utc')}; to promote it now: {promote}; to reject it: {abort}\"": (
        "the name of the zone is shown as the zone spells it"
    ),
    "if after >= before: -> if after > before:": (
        "where both are equal, the search for the end of a gap ends at the same moment"
    ),
    "return Proof(verdict, not checks, not checks) -> return Proof(verdict, not checks, checks)": (
        "in the plan that begins a rollout the promotion does not look at it"
    ),
}
