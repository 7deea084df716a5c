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

from immutable_operator.api.canary import Step
from immutable_operator.api.duration import seconds
from immutable_operator.api.errors import InvalidSpec
from immutable_operator.api.service import Immutability, ImmutableServiceSpec, validate_service
from immutable_operator.api.stateless import claims, node_local
from immutable_operator.api.template import born_with
from immutable_operator.domain.config.births import WRITABLE
from immutable_operator.domain.config.references import pinned
from immutable_operator.domain.model import (
    Accepted,
    AwaitCheck,
    BlueGreen,
    Canary,
    CanaryStep,
    OnAdmission,
    OnFailure,
    OnTaint,
    Pause,
    Port,
    RouteRef,
    SetReplicas,
    SetWeight,
    Spec,
    Traffic,
)
from immutable_operator.wire.check import checks_of
from immutable_operator.wire.regeneration import read_regeneration, readable

__all__ = ["read_spec"]

_NO_TEMPLATE: Final[Mapping[str, Any]] = {"template": {}}


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
    regeneration, left_out = read_regeneration(given.pop("regeneration", None))
    try:
        checked, invalid = validate_service(name, given), None
        template = born_with(checked.template)
        config = checked.immutability.config
        pins = pinned(template, config.mode, config.live)
    except InvalidSpec as error:
        checked, invalid = readable(ImmutableServiceSpec, given, _NO_TEMPLATE), str(error)
    except (AttributeError, TypeError):
        checked, invalid = (
            readable(ImmutableServiceSpec, given, _NO_TEMPLATE),
            "spec.template: not a pod template",
        )
    rollout, immutability = checked.rollout, checked.immutability
    spec = Spec(
        template=None if invalid else {**template, **_opted_out(immutability)},
        replicas=checked.replicas,
        max_surge=rollout.max_surge,
        max_unavailable=rollout.max_unavailable,
        min_ready_seconds=rollout.min_ready_seconds,
        progress_deadline_seconds=rollout.progress_deadline_seconds,
        on_failure=OnFailure(rollout.on_failure),
        bake_seconds=rollout.bake_seconds,
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
        admission=OnAdmission(immutability.admission),
        accepted=_accepted(immutability),
        strategy=rollout.strategy,
        traffic=_traffic(checked),
        http_route=_http_route(checked),
        checks=tuple(checks_of(rollout.checks)),
        blue_green=_blue_green(checked),
        canary=_canary(checked),
    )
    return spec if invalid else _with_kept_state(spec, immutability), invalid


def _accepted(immutability: Immutability) -> Accepted:
    given = immutability.accepted_changes
    return Accepted(frozenset(given.containers), tuple(given.paths))


def _traffic(spec: ImmutableServiceSpec) -> Traffic | None:
    given = spec.traffic
    if given is None:
        return None
    ports = (
        Port(
            number=port.port,
            target=port.port if port.target_port is None else port.target_port,
            name=port.name or "",
            protocol=port.protocol or "TCP",
            app_protocol=port.app_protocol or "",
            node_port=port.node_port,
        )
        for port in given.ports
    )
    return Traffic(
        ports=tuple(ports),
        type=given.type,
        session_affinity=given.session_affinity,
        distribution=given.traffic_distribution or "",
        annotations=tuple(sorted((given.annotations or {}).items())),
    )


def _http_route(spec: ImmutableServiceSpec) -> RouteRef | None:
    given = spec.traffic.route if spec.traffic else None
    return None if given is None else RouteRef(given.name, given.namespace or "")


def _blue_green(spec: ImmutableServiceSpec) -> BlueGreen | None:
    if spec.rollout.strategy != "BlueGreen":
        return None
    given = spec.rollout.blue_green
    if given is None:
        return BlueGreen()
    return BlueGreen(
        is_auto=given.promotion == "Auto",
        promote_after=seconds(given.promote_after) if given.promote_after else 0.0,
        preview_replicas=given.preview_replicas,
        keep_for=seconds(given.keep_for),
    )


def _canary(spec: ImmutableServiceSpec) -> Canary | None:
    given = spec.rollout.canary
    if given is None:
        return None
    steps, kept = tuple(map(_step, given.steps)), given.keep_for
    return Canary(steps) if kept is None else Canary(steps, seconds(kept))


def _step(given: Step) -> CanaryStep:
    if given.set_replicas is not None:
        return SetReplicas(given.set_replicas)
    if given.set_weight is not None:
        return SetWeight(given.set_weight)
    if given.check is not None:
        return AwaitCheck(given.check)
    duration = given.pause.duration if given.pause else None
    return Pause(None if duration is None else seconds(duration))


def _opted_out(immutability: Immutability) -> dict[str, bool]:
    """Return what a wanted template has beside a pod template."""
    return {WRITABLE: True} if immutability.writable_root_filesystem else {}


def _with_kept_state(spec: Spec, immutability: Immutability) -> Spec:
    """Add sentences about state that the template keeps without permission."""
    template = spec.template or {}
    local = next(node_local(template), "") if immutability.node_local == "Refuse" else ""
    claim = claims(template) if immutability.shared_volumes == "Refuse" else ""
    return replace(spec, node_local=local, claim=claim)
