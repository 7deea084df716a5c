"""What ``get`` says of a release that is under way: the steps of a canary, and its checks."""

from __future__ import annotations

from collections.abc import Iterator

from immutable_operator.cli.objects import Json

__all__ = ["release_lines"]


def release_lines(body: Json, verdict: Json) -> Iterator[str]:
    """Yield a line of the steps of a service, and one for each check of its revision.

    ``verdict`` is the status of the revision; nothing is said of one that is complete.
    """
    rollout = (body.get("spec") or {}).get("rollout") or {}
    steps = (rollout.get("canary") or {}).get("steps") or ()
    at = ((body.get("status") or {}).get("rollout") or {}).get("step")
    if steps and at:
        marked = [f"[{text}]" if n == at else text for n, text in enumerate(map(_step, steps), 1)]
        yield f"step {at} of {len(steps)}: {', '.join(marked)}"
    if verdict.get("phase") != "Good":
        yield from map(_check, verdict.get("checks") or ())


def _step(step: Json) -> str:
    pause = step.get("pause")
    if pause is None:
        return " ".join(f"{kind} {value}" for kind, value in step.items())
    return f"pause for {pause['for']}" if "for" in pause else "pause until promoted"


def _check(check: Json) -> str:
    counts = [f"{check[found]} {found}" for found in ("passed", "failed") if check.get(found)]
    results = check.get("results") or ()
    last = results[-1].get("message") if results else ""
    said = ", ".join([str(check.get("phase", "Running")), *counts])
    return f"check {check['name']}: {said}{f'; {last}' if last else ''}"
