"""The output: a row as soon as it is known, and a last line with the conclusion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from immutable_operator.cli.outcome import Outcome, Result
from immutable_operator.cli.written import as_text

__all__ = ["conclusion", "heading", "line", "reasons", "report"]

WIDTHS = (18, 44, 18)
HEADS = ("PATH", "WHAT IS TRIED", "RESULT", "BY")


def _columns(*texts: str) -> str:
    *padded, last = texts
    cells = [text.ljust(width) for text, width in zip(padded, WIDTHS, strict=True)]
    return "".join([*cells, last]).rstrip()


def heading() -> str:
    """The column headings."""
    return _columns(*HEADS)


def line(row: Outcome) -> str:
    """One row. A path that cannot be tried has the explanation instead of a layer."""
    by = row.detail if row.expected is None else row.layer
    mark = "" if row.ok else "  <- expected: " + str(row.expected)
    return _columns(row.id, row.path, row.words, f"{by}{mark}".strip())


def reasons(rows: Iterable[Outcome]) -> list[str]:
    """A line for each row with an unexpected result: the observation."""
    return [f"{row.id}: {row.detail or row.words}" for row in rows if not row.ok]


def conclusion(rows: Sequence[Outcome]) -> str:
    """The last line: the ids of the unprotected paths, or that all paths are protected."""
    tried = [row for row in rows if row.expected is not None]
    wrong = [row.id for row in tried if not row.ok]
    if wrong:
        return f"{len(wrong)} of {len(tried)} paths are not protected: {', '.join(wrong)}"
    counts = [
        f"{count} {str(result).lower()}"
        for result in Result
        if (count := sum(row.result is result for row in tried))
    ]
    text = f"all {len(tried)} paths are protected: {', '.join(counts)}"
    if by_rights := sum(row.by_rights for row in tried):
        text += (
            f"; {by_rights} of them only because you lack permissions:"
            " run it as an administrator to see what other users can do"
        )
    return text


def report(rows: Sequence[Outcome], about: dict[str, Any], output: str = "json") -> str:
    """The result as JSON or YAML; ``about`` describes the command, the cluster, the operator."""
    body = {**about, "results": [row.body() for row in rows], "ok": all(row.ok for row in rows)}
    return as_text(body, output)
