"""Weights: the share of the traffic that an HTTPRoute gives to a new revision.

The preview Service selects the new revision, the other one the revision that has the traffic. What
the weights are to be follows from the steps on record, and from what the two Services select: no
request is sent to instances that do not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

from immutable_operator.domain.goal import current_step, is_previewing, is_restored, share
from immutable_operator.domain.model import (
    Announcement,
    HttpRoute,
    Move,
    Refusal,
    Revision,
    Route,
    RouteLack,
    SetWeight,
    SetWeights,
    preview_name,
)
from immutable_operator.domain.standing import live_revision
from immutable_operator.domain.turn import Turn

__all__ = [
    "ROUTE_UNUSABLE",
    "Weighing",
    "in_effect",
    "observed_weight",
    "previewed_by_weight",
    "unweighed",
    "weighing",
    "weight",
    "weights_as_set",
]

ROUTE_UNUSABLE = "RouteNotReady"
WEIGHTS_RESTORED = "WeightsRestored"


@dataclass(frozen=True, slots=True)
class Weighing:
    """What is to be written now, what is said of it, and when a refused write may be retried."""

    moves: tuple[SetWeights, ...] = ()
    due: tuple[float, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    notes: tuple[str, ...] = ()


def weighing(turn: Turn) -> Weighing:
    """Return the write that makes the weights what they are to be."""
    route, percent = usable(turn), weight(turn)
    if route is None or turn.spec.suspend or route.percent == percent:
        return Weighing()
    refused = _refused(turn)
    if refused is not None and refused.retry_at > turn.now:
        return Weighing(due=(refused.retry_at,))
    move = SetWeights(route.namespace, route.name, route.uid, route.version, percent)
    gets = preview_name(turn.view.name)
    note = f"HTTPRoute {route.name} gives {percent} % of the traffic to Service {gets}"
    return Weighing((move,), (), _restored(turn, route, percent), (note,))


def weight(turn: Turn) -> int:
    """Return the percentage of the traffic that the new revision is to get now.

    Only a revision that is rolled out in steps gets some, and only what it can answer.
    """
    live, wanted = live_revision(turn.view), turn.wanted
    if live is None or wanted is None or wanted.verdict.is_failed or is_restored(turn):
        return 0
    shown, other = _service(turn, preview_name(turn.view.name)), _service(turn, turn.view.name)
    if shown is None or shown.revision != wanted.id:
        return 0
    # After the promotion the share stays until the other Service selects the revision, too.
    serves = live.id if other is None else other.revision
    there = turn.count_available(i for i in turn.view.instances if i.revision == wanted.id)
    return 0 if not there or serves in (None, "", wanted.id) else _of_steps(turn, wanted, there)


def _of_steps(turn: Turn, wanted: Revision, there: int) -> int:
    """Return the weight of the last step that sets one and whose instances were available."""
    steps = turn.spec.canary.steps if turn.spec.canary else ()
    step, done = current_step(turn), wanted.verdict.step
    if step is None:
        done = len(steps)
    elif isinstance(step, SetWeight) and not turn.target.freeze.holds:
        done += there >= (share(turn) or 0)
    set_ = [each.percent for each in steps[:done] if isinstance(each, SetWeight)]
    return set_[-1] if set_ else 0


def usable(turn: Turn) -> HttpRoute | None:
    """Return the HTTPRoute if its weights can be written."""
    route = turn.view.http_route
    if turn.spec.http_route is None or turn.spec.template is None or route is None:
        return None
    return route if route.lack is None and route.rules else None


def is_divided(turn: Turn) -> bool:
    """Return whether an HTTPRoute divides the traffic: once one revision alone has it."""
    return turn.spec.http_route is not None and live_revision(turn.view) is not None


def observed_weight(turn: Turn) -> int | None:
    """Return the percentage that the new revision gets now; None if no HTTPRoute divides it."""
    route = usable(turn)
    return route.percent if route is not None and is_divided(turn) else None


def in_effect(turn: Turn) -> bool:
    """Return whether the share of the traffic is as the steps say, as far as that can be seen."""
    if not is_divided(turn):
        return True
    route = usable(turn)
    if route is None or route.percent != weight(turn):
        return False
    return route.is_observed and not route.refused


def previewed_by_weight(turn: Turn) -> str | None:
    """Return the revision that gets traffic by a weight, as observed; None if none does.

    Its instances are needed until the weight was seen to be 0, also where it may not be written.
    """
    route, shown = turn.view.http_route, _service(turn, preview_name(turn.view.name))
    if turn.spec.http_route is None or route is None or not route.sends or shown is None:
        return None
    return shown.revision or None


def unweighed(turn: Turn) -> str | None:
    """Return in a sentence why the traffic cannot be divided; None if nothing prevents it."""
    ref, route = turn.spec.http_route, turn.view.http_route
    if ref is None or turn.spec.template is None or route is None:
        return None
    if route.lack is not None:
        return _lacking(turn, route, route.lack)
    name = turn.view.name
    if not route.rules:
        return (
            f"{_named(turn, route)} has no rule with a backendRef to Service {name}; add one,"
            " or correct spec.traffic.route"
        )
    refused = _refused(turn)
    if refused is not None and route.percent != weight(turn):
        return f"{_named(turn, route)}: {refused.message}"
    if not is_previewing(turn):
        return None
    if route.refused:
        return f"a gateway refuses {_named(turn, route)}: {route.refused}"
    if not route.is_observed:
        return f"no gateway has accepted the present rules of {_named(turn, route)} yet"
    return None


def _lacking(turn: Turn, route: HttpRoute, lack: RouteLack) -> str:
    named = _named(turn, route)
    if lack is RouteLack.DISABLED:
        return (
            f"the operator does not write {named}, because it was installed without"
            " gateway.enabled; set it in the values of the chart, or remove spec.traffic.route"
        )
    if lack is RouteLack.UNSERVED:
        return f"the API server has no HTTPRoutes; install the Gateway API, and create {named}"
    if lack is RouteLack.MISSING:
        return f"{named} does not exist; create it, or correct spec.traffic.route"
    return (
        f"{named} does not permit references from this namespace; create a ReferenceGrant in"
        f" namespace {route.namespace} from ImmutableServices of namespace {turn.view.namespace}"
        " to HTTPRoutes"
    )


def _named(turn: Turn, route: HttpRoute) -> str:
    other = "" if route.namespace == turn.view.namespace else f"{route.namespace}/"
    return f"HTTPRoute {other}{route.name}"


def _restored(turn: Turn, route: HttpRoute, percent: int) -> tuple[Announcement, ...]:
    """Return an event if somebody else changed weights that were to stay as they were."""
    before = turn.view.prior.rollout
    told = 0 if before is None or before.weight is None else before.weight
    if not route.editor or told != percent:
        return ()
    text = (
        f"the weights of {_named(turn, route)} were changed by {route.editor}; Service"
        f" {preview_name(turn.view.name)} gets {percent} % of the traffic again"
    )
    return (Announcement(WEIGHTS_RESTORED, text, f"{route.uid}/{route.version}", True),)


def weights_as_set(route: HttpRoute, move: SetWeights) -> HttpRoute:
    """Return an HTTPRoute as it is after the weights were written and a gateway uses them."""
    return HttpRoute(
        name=route.name,
        namespace=route.namespace,
        uid=route.uid,
        version=route.version + 1,
        rules=route.rules,
        percent=move.percent,
        sends=bool(move.percent),
        is_observed=True,
    )


def _refused(turn: Turn) -> Refusal | None:
    return next((r for r in turn.view.refusals if r.move is Move.WEIGHTS), None)


def _service(turn: Turn, name: str) -> Route | None:
    """Return a Service of the operator as observed."""
    own = (r for r in turn.view.routes if r.name == name and r.is_own and not r.is_leaving)
    return next(own, None)
