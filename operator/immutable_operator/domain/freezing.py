"""Change freezes: whether one is active now, until when, and which requests override it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from immutable_operator.domain.calendar.windows import is_open, next_close, next_open
from immutable_operator.domain.model import Command, Freeze, Request

__all__ = ["Frozen", "active_freeze"]


@dataclass(frozen=True, slots=True)
class Frozen:
    """The freeze that is active now. ``again`` is when that next changes by time alone.

    ``by`` is the active freeze that ends last; ``repairs`` says that at least one active freeze
    holds back repairs, too. ``overridden`` is a request that overrides the freeze for the whole
    service; ``exempt`` are the names of the instances for which requests override it.
    """

    by: Freeze | None = None
    until: float | None = None
    again: float | None = None
    overridden: Request | None = None
    repairs: bool = False
    exempt: frozenset[str] = frozenset()

    @property
    def holds(self) -> bool:
        return self.by is not None and self.overridden is None

    @property
    def message(self) -> str:
        """For people: which freeze, why, until when, and how to override it."""
        if self.by is None:
            return ""
        end = ""
        if self.until is not None:
            end = f" until {datetime.fromtimestamp(self.until, UTC):%Y-%m-%dT%H:%M:%SZ}"
        return (
            f"ImmutableFreeze {self.by.name} is active{end}: {self.by.reason}; to override it,"
            " create an ImmutableAction with overrideFreeze and a reason"
        )


def active_freeze(freezes: Iterable[Freeze], requests: Iterable[Request], now: float) -> Frozen:
    """Return the freeze that is active now and ends last."""
    holding: list[tuple[float, str, Freeze]] = []
    changes: list[float] = []
    for freeze in freezes:
        begins, ends = freeze.begins or 0.0, freeze.ends
        if ends is not None and ends <= now:
            continue
        if begins > now:
            changes.append(begins)
            continue
        if freeze.windows and not is_open(freeze.windows, now):
            changes += [t for t in (next_open(freeze.windows, now), ends) if t is not None]
            continue
        closes = next_close(freeze.windows, now) if freeze.windows else None
        end = min((t for t in (closes, ends) if t is not None), default=float("inf"))
        holding.append((end, freeze.name, freeze))
    if not holding:
        return Frozen(again=min(changes, default=None))
    end, _, freeze = max(holding, key=lambda item: item[:2])
    until = None if end == float("inf") else end
    again = min((*changes, *(item[0] for item in holding)), default=None)
    mine = [r for r in requests if r.override_freeze and r.command is Command.REGENERATE]
    passing = sorted(mine, key=lambda r: (r.created, r.name))
    whole = next((r for r in passing if r.instance is None), None)
    repairs = whole is None and any(item[2].repairs for item in holding)
    exempt = frozenset(r.instance for r in passing if r.instance is not None)
    return Frozen(freeze, until, None if again == float("inf") else again, whole, repairs, exempt)
