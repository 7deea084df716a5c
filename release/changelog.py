"""The section of CHANGELOG.md that becomes the notes of a release."""

from __future__ import annotations

import re

from release.tree import ROOT, ReleaseError

__all__ = ["notes"]


def notes(version: str, text: str | None = None) -> str:
    """Return the section of a version, without its title. Raises `ReleaseError`."""
    if text is None:
        text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    parts = re.split(r"(?m)^## (.*)$", text)
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        if title.split()[:1] == [version]:
            if not body.strip():
                raise ReleaseError(f"the section {version} of CHANGELOG.md is empty; write it")
            return f"{body.strip()}\n"
    raise ReleaseError(f"CHANGELOG.md has no section '## {version}'; add one")
