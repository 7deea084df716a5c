"""The documents of the repository, and the code blocks in them.

A page says by the language and the title of a block what a reader, and a test, does with it:

- ``bash``: commands to run; with the title `FAILS` they are refused, with `BY_HAND` they need a
  machine of the reader's own and are not run by the test;
- ``text`` with the title `OUTPUT`: what the commands above print; without a title: an example;
- ``yaml`` with the name of a file as title: the file, which the commands below use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BY_HAND", "FAILS", "OUTPUT", "PAGES", "ROOT", "Block", "blocks", "shows", "tutorials"]

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    ROOT / "charts/immutable-operator/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
"""All pages that a user reads."""
OUTPUT, FAILS, BY_HAND = "Output", "Refused", "On your machine"
ELLIPSIS = "..."  # any lines, in an output
_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")
_TITLE = re.compile(r'title="(?P<title>[^"]*)"')
# What differs from run to run, as printed and as written in a page.
_MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"-\d{8}-\d{6}\b"), "-DATE"),
    (re.compile(r"\b(\w[\w-]*)-im[0-9a-f]{8}-[a-z0-9]{5}\b"), r"\1-POD"),
    (re.compile(r"\bim[0-9a-f]{8}\b"), "imREVISION"),
    (re.compile(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{8}\b"), "REVISION"),
    (re.compile(r"\b(?:\d+(?:\.\d+)?(?:d|h|m|s)){1,3}\b"), "AGE"),
    (re.compile(r"\b\d+(?:\.\d+)? s\b"), "AGE"),
)


@dataclass(frozen=True)
class Block:
    """One fenced code block: language, title, text, and the line where it begins."""

    language: str
    title: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """The code blocks of a page in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        number += 1
        if fence is None:
            continue
        start, indent = number, len(fence["indent"])
        while lines[number].strip() != "```":
            number += 1
        text = "".join(f"{line[indent:]}\n" for line in lines[start:number])
        number += 1
        language, _, rest = fence["info"].partition(" ")
        title = _TITLE.search(rest)
        yield Block(language, title["title"] if title else "", text, start)


def tutorials() -> list[Path]:
    """Every page that has commands: the README, the quick start, each how-to and others."""
    return [page for page in PAGES if any(block.language == "bash" for block in blocks(page))]


def shows(output: str, printed: str) -> bool:
    """Whether a page shows what was printed, but for ages, times, names of pods and blanks."""
    rest = _masked(printed)
    parts: list[list[str]] = [[]]
    for line in _masked(output):
        if line == ELLIPSIS:
            parts.append([])
        else:
            parts[-1].append(line)
    for index, part in enumerate(parts):
        places = range(len(rest) - len(part) + 1) if index else range(1)
        found = next((n for n in places if rest[n : n + len(part)] == part), None)
        if found is None:
            return False
        rest = rest[found + len(part) :]
    return not rest or (len(parts) > 1 and not parts[-1])


def _masked(text: str) -> list[str]:
    lines = []
    for line in text.splitlines():
        for pattern, word in _MASKS:
            line = pattern.sub(word, line)
        lines.append(" ".join(line.split()))
    return [line for line in lines if line]
