"""From the stored spec of an ImmutableNodePool to what plans need, keeping all that can be read.

As for a service (`wire.spec`): if a part of the regeneration cannot be read, only that part is
ignored; if anything else cannot be read, the template is: existing nodes are kept and repaired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from immutable_operator.api.duration import seconds
from immutable_operator.api.errors import InvalidSpec
from immutable_operator.api.nodepool import ImmutableNodePoolSpec, SmokePod, validate_pool
from immutable_operator.domain.model import OnDrift, OnFailure, PoolSpec, Spec
from immutable_operator.wire.regeneration import read_regeneration, readable

__all__ = ["read_pool_spec"]

_RECORDED: Final = ("image", "template", "provider")
# Fields that cannot be left out, and the template, which is not used if anything cannot be read.
_NEEDED: Final[Mapping[str, Any]] = {
    "image": {"id": "unknown"},
    "provider": {"simulated": {}},
    "template": None,
}


def read_pool_spec(name: str, body: Any, since: float) -> tuple[Spec, str | None]:
    """Read a spec; also return why its template or rollout cannot be read, if so.

    Parameters
    ----------
    name
        Name of the ImmutableNodePool.
    body
        Its spec as the API server returns it.
    since
        The latest time at which the schedule can have been written.
    """
    given = dict(body) if isinstance(body, Mapping) else {}
    regeneration, left_out = read_regeneration(given.pop("regeneration", None))
    try:
        checked, invalid = validate_pool(name, given), None
    except InvalidSpec as error:
        checked, invalid = readable(ImmutableNodePoolSpec, given, _NEEDED), str(error)
    rollout = checked.rollout
    spec = Spec(
        template=None if invalid else _template(checked),
        replicas=checked.replicas,
        max_surge=rollout.max_surge,
        max_unavailable=rollout.max_unavailable,
        progress_deadline_seconds=rollout.progress_deadline_seconds,
        on_failure=OnFailure(rollout.on_failure),
        bake_seconds=rollout.bake_seconds,
        history_limit=checked.history_limit,
        suspend=checked.suspend,
        # A node that is being drained is a machine that exists: no other takes its place before.
        counts_terminating=True,
        regeneration=replace(regeneration, schedule_since=since),
        problems=left_out,
        pool=_pool(checked),
    )
    return spec, invalid


def _template(checked: ImmutableNodePoolSpec) -> dict[str, Any]:
    """Return what is part of a revision: as written, without what is unset or empty."""
    written = checked.model_dump(by_alias=True, exclude_none=True, include=set(_RECORDED))
    found: dict[str, Any] = {key: _without_empty(written.get(key, {})) for key in _RECORDED}
    for kind in written["provider"]:
        found["provider"].setdefault(kind, {})
    for taint in found["template"].get("taints", ()):
        if not taint.get("value"):
            taint.pop("value", None)
    return found


def _without_empty(value: Any) -> Any:
    """Leave out empty maps and lists; an empty text is a value, for example of a label."""
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _without_empty(item) for key, item in value.items()}
    return {key: item for key, item in kept.items() if item not in ({}, [])}


def _pool(checked: ImmutableNodePoolSpec) -> PoolSpec:
    verify, drain = checked.rollout.verify, checked.drain
    return PoolSpec(
        settle_seconds=seconds(verify.settle),
        smoke=_smoke(verify.smoke_pod) if verify.smoke_pod else None,
        drift={
            fact: OnDrift(wanted)
            for fact, wanted in checked.drift.model_dump(by_alias=True).items()
        },
        drain_timeout=seconds(drain.timeout),
        delete_after=drain.on_blocked == "DeleteAfter",
        drains=checked.deletion_policy == "Drain",
    )


def _smoke(wanted: SmokePod) -> dict[str, Any]:
    """Return the spec of the pod, apart from its node and its tolerations."""
    container: dict[str, Any] = {"name": "smoke", "image": wanted.image}
    for field, given in (("command", wanted.command), ("args", wanted.args)):
        if given:
            container[field] = list(given)
    return {
        "containers": [container],
        "restartPolicy": "Never",
        "activeDeadlineSeconds": int(seconds(wanted.timeout)),
        "automountServiceAccountToken": False,
    }
