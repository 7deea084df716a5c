"""From a stored spec to what plans need: the parts that services and node pools share.

What can be read is kept; what cannot is described in one sentence each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from immutable_operator.api.duration import seconds
from immutable_operator.api.owner import SpecT
from immutable_operator.api.regeneration import Regeneration as GivenRegeneration
from immutable_operator.api.regeneration import Window as GivenWindow
from immutable_operator.domain.calendar.regeneration import Regeneration
from immutable_operator.domain.calendar.windows import Cron, Window, problem_of
from immutable_operator.wire.windows import windows_of

__all__ = ["read_regeneration", "readable"]

_NEVER_OPEN: Final = Window(Cron(""), 0.0)
_AGES: Final = ("maxAge", "hardMaxAge")


def readable(model: type[SpecT], given: Mapping[str, Any], needed: Mapping[str, Any]) -> SpecT:
    """Keep the fields that can be read, each on its own.

    ``needed`` are valid values of the required fields, which replace those that were written.
    """
    kept = dict(needed)
    for field, value in given.items():
        if field in needed:
            continue
        try:
            model.model_validate({**needed, field: value})
        except ValidationError:
            continue
        kept[field] = value
    return model.model_validate(kept)


def read_regeneration(given: Any) -> tuple[Regeneration, tuple[str, ...]]:
    """Read what can be read, and describe in one sentence each what is ignored."""
    fields = dict(given) if isinstance(given, Mapping) else {}
    windows, found = _windows(fields.pop("windows", None))
    checked = _checked(fields, found)
    wanted = Regeneration(
        max_age=seconds(checked.max_age) if checked.max_age else None,
        hard_max_age=seconds(checked.hard_max_age) if checked.hard_max_age else None,
        jitter=int(checked.jitter.removesuffix("%")) / 100,
        max_concurrent=checked.max_concurrent,
        windows=windows,
        schedule=_schedule(checked, found),
    )
    return wanted, tuple(found)


def _windows(given: Any) -> tuple[tuple[Window, ...], list[str]]:
    """Read windows. One that cannot be read never opens: no window at all would mean always."""
    read, found = [], []
    listed = given if isinstance(given, list) else [given] if given else []
    for index, item in enumerate(listed):
        path = f"spec.regeneration.windows[{index}]"
        try:
            window = GivenWindow.model_validate(item)
        except ValidationError as error:
            found += [f"{path}{_told(detail)}" for detail in error.errors(include_url=False)]
            continue
        if problem := problem_of(window.schedule, window.zone, seconds(window.duration)):
            found.append(f"{path}: {problem}")
        else:
            read.append(window)
    return windows_of(read) or ((_NEVER_OPEN,) if listed else ()), found


def _checked(fields: Mapping[str, Any], found: list[str]) -> GivenRegeneration:
    """Read the fields that can be read; two ages that contradict each other are both ignored."""
    try:
        return GivenRegeneration.model_validate(fields)
    except ValidationError as error:
        details = error.errors(include_url=False)
    found += [f"spec.regeneration{_told(detail)}" for detail in details]
    wrong = {field for detail in details for field in detail["loc"][:1] or _AGES}
    return _checked({key: text for key, text in fields.items() if key not in wrong}, found)


def _schedule(checked: GivenRegeneration, found: list[str]) -> Cron | None:
    if not checked.schedule:
        return None
    if problem := problem_of(checked.schedule, checked.time_zone):
        found.append(f"spec.regeneration.schedule: {problem}")
        return None
    return Cron(checked.schedule, checked.time_zone)


def _told(detail: Mapping[str, Any]) -> str:
    path = "".join(f".{part}" for part in detail["loc"])
    return f"{path}: {detail['msg'].removeprefix('Value error, ')}"
