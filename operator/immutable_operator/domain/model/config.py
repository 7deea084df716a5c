"""Configuration as part of a revision: what is pinned, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ABSENT", "CONFIG_MAP", "SECRET", "Pin", "Source"]

CONFIG_MAP, SECRET = "ConfigMap", "Secret"
ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Pin:
    """A ConfigMap as part of a revision: its name, the name of its copy, and its digest.

    The digest of one that was optional and not there is `ABSENT`; it has no copy.
    """

    name: str
    snapshot: str
    digest: str


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of a ConfigMap: its digest (`ABSENT` if it is not there), or why none is.

    ``author`` is the field manager that last wrote its content; "" where that is not known.

    Of one that is being read nothing is known, and there is no `Source`.
    """

    digest: str | None
    problem: str = ""
    author: str = ""
