"""From the stored spec of an ImmutableService to what plans need, keeping all that can be read.

The API server refuses most invalid specs, but not all (a time zone that does not exist), and
another version of the CRD may have accepted more. If a part of the regeneration cannot be read,
only that part is ignored; if anything else cannot be read, the template is: running instances are
kept and repaired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError

from immutable_operator.api import ImmutableServiceSpec, InvalidSpec, validate_service
from immutable_operator.api.duration import seconds
from immutable_operator.api.regeneration import Regeneration as GivenRegeneration
from immutable_operator.api.regeneration import Window as GivenWindow
from immutable_operator.api.template import born_with
from immutable_operator.domain.calendar.regeneration import Regeneration
from immutable_operator.domain.calendar.windows import Cron, Window, problem_of
from immutable_operator.domain.config.references import pinned
from immutable_operator.domain.model import OnTaint, Spec
from immutable_operator.wire.windows import windows_of

__all__ = ["read_spec"]

_NEVER_OPEN: Final = Window(Cron(""), 0.0)
_AGES: Final = ("maxAge", "hardMaxAge")


def read_spec(name: str, body: Any, since: float) -> tuple[Spec, str | None]:
    """Read a spec; also return why its template or rollout cannot be read, if so.

    Parameters
    ----------
    name
        Name of the ImmutableService.
    body
        Its spec as the API server returns it.
    since
        The latest time at which the schedule can have been written.
    """
    given = dict(body) if isinstance(body, Mapping) else {}
    regeneration, left_out = _regeneration(given.pop("regeneration", None))
    try:
        checked, invalid = validate_service(name, given), None
        template = born_with(checked.template)
        config = checked.immutability.config
        pins = pinned(template, config.mode, config.live)
    except InvalidSpec as error:
        checked, invalid = _readable(given), str(error)
    except (AttributeError, TypeError):
        checked, invalid = _readable(given), "spec.template: it is not a pod template"
    rollout, immutability = checked.rollout, checked.immutability
    spec = Spec(
        template=None if invalid else template,
        replicas=checked.replicas,
        max_surge=rollout.max_surge,
        max_unavailable=rollout.max_unavailable,
        min_ready_seconds=rollout.min_ready_seconds,
        progress_deadline_seconds=rollout.progress_deadline_seconds,
        history_limit=checked.history_limit,
        suspend=checked.suspend,
        on_taint=OnTaint(immutability.on_taint),
        quarantine_seconds=seconds(immutability.quarantine_for),
        replace_restarted=immutability.restarts == "Replace",
        regeneration=replace(regeneration, schedule_since=since),
        drain_protection=rollout.drain_protection,
        counts_terminating=rollout.pod_replacement == "TerminationComplete",
        pinned={} if invalid else pins,
        problems=left_out,
    )
    return spec, invalid


def _readable(given: Mapping[str, Any]) -> ImmutableServiceSpec:
    """Keep the fields that can be read, each on its own; the template is not among them."""
    kept: dict[str, Any] = {"template": {}}
    for field, value in given.items():
        if field == "template":
            continue
        try:
            ImmutableServiceSpec.model_validate({"template": {}, field: value})
        except ValidationError:
            continue
        kept[field] = value
    return ImmutableServiceSpec.model_validate(kept)


def _regeneration(given: Any) -> tuple[Regeneration, tuple[str, ...]]:
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
        if problem := problem_of(window.schedule, window.time_zone, seconds(window.duration)):
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
