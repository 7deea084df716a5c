"""Configuration as part of a revision: what is pinned, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ABSENT", "CONFIG_MAP", "SECRET", "ConfigKey", "Pin", "Source"]

# A ConfigMap and a Secret may have the same name, so the kind is part of every key.
ConfigKey = tuple[str, str]
CONFIG_MAP, SECRET = "ConfigMap", "Secret"
ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Pin:
    """A ConfigMap or Secret as part of a revision: its name, its copy's name, and its digest.

    If it was optional and did not exist, the digest is `ABSENT` and there is no copy.
    """

    name: str
    snapshot: str
    digest: str
    kind: str = CONFIG_MAP

    @property
    def key(self) -> ConfigKey:
        """Kind and name of what is pinned."""
        return self.kind, self.name


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of a ConfigMap or Secret: its digest (`ABSENT` if it does not exist), or why
    none is known.

    ``author`` is the field manager that last wrote its content; "" if it is not known. ``same`` are
    digests under other keys that stand for the same content. ``denied`` says that the operator has
    no right to read it. While an object is being read nothing is known of it, and there is no
    `Source`.
    """

    digest: str | None
    problem: str = ""
    author: str = ""
    same: frozenset[str] = frozenset()
    denied: bool = False
