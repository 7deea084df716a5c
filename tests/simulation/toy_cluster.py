"""A toy cluster: one service, its pods and what befalls them, on a clock that is set by hand.

It knows what the planner has to live with: pods that take time to become ready, that crash,
that cannot pull, that end; evictions that take time and that a PodDisruptionBudget forbids; a
quota; names that a stranger has. What the operator sees may lag behind what is.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from immutable_operator.domain.config.hashing import is_made_of
from immutable_operator.domain.families.pods import SPEC_CHANGED
from immutable_operator.domain.model import (
    ABSENT,
    ConfigKey,
    Create,
    CreateRevision,
    CreateSnapshot,
    DeleteBudget,
    DeleteRevision,
    DeleteRoute,
    DisruptionBudget,
    Finding,
    Freeze,
    HttpRoute,
    Instance,
    Outcome,
    Quarantine,
    Request,
    Retire,
    Revision,
    Route,
    RouteLack,
    RunCheck,
    SetBudget,
    SetRoute,
    SetVerdict,
    SetWeights,
    Source,
    Spec,
    Trouble,
    TroubleKind,
    revision_name,
)
from immutable_operator.domain.routing import route_as_set
from immutable_operator.domain.weights import weights_as_set
from immutable_operator.kube.errors import (
    DISRUPTION_BUDGET,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TooManyRequests,
)
from tests.unit.given import NOW, REVISIONS, SERVICE

__all__ = ["BEHAVIOURS", "START", "Behaviour", "ToyCluster"]

START = NOW
GRACE = 2.0
# A surplus goes by the owner's will, the tainted ones of it first.
WILL = ("Scaled", "Tainted", "Drifted")


@dataclass(frozen=True)
class Behaviour:
    """What becomes of the pods of one template; times are seconds after birth."""

    about: str
    ready_after: float | None = 5.0
    trouble: Trouble | None = None
    trouble_after: float = 2.0
    settled_after: float = 30.0
    ends_after: float | None = None
    refused: str = ""


CRASHES = Trouble(TroubleKind.CRASH_LOOP, "container web keeps exiting with code 1 (Error)")
UNPULLABLE = Trouble(TroubleKind.IMAGE_PULL, "container web: image web cannot be pulled")
BEHAVIOURS = {
    "A": Behaviour("works"),
    "B": Behaviour("works"),
    "C": Behaviour("crashes", ready_after=None, trouble=CRASHES),
    "D": Behaviour("cannot be pulled", ready_after=None, trouble=UNPULLABLE, settled_after=12),
    "E": Behaviour("ends at once", ready_after=None, ends_after=1),
    "F": Behaviour("is refused", refused="spec.containers[0].image: a policy forbids it"),
}


class ToyCluster:
    """What is (``pods``) and what a watcher has seen of it (``seen``).

    ``tell`` is called with a verb and a pod's name for what happens without the operator;
    ``lag`` gives the seconds until the watcher sees such a thing.
    """

    def __init__(
        self,
        rng: random.Random,
        tell: Callable[[str, str], None],
        lag: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.now = START
        self.rng, self.tell, self.lag = rng, tell, lag
        self.spec = Spec(None)
        self.generation = 0
        self.pods: dict[str, Instance] = {}
        self.seen: dict[str, Instance] = {}
        self.revisions: dict[str, Revision] = {}
        self.configs: dict[ConfigKey, Source] = {}
        self.snapshots: dict[str, str] = {}
        # Secrets that the spec wants pinned, in a namespace that is not granted.
        self.withheld: frozenset[ConfigKey] = frozenset()
        self.budgets: tuple[DisruptionBudget, ...] = ()
        self.routes: dict[str, Route] = {}
        self.freezes: tuple[Freeze, ...] = ()
        self.refuses_routes = False
        self.http_route: HttpRoute | None = None
        self.has_gateway = True
        self.requests: dict[str, Request] = {}
        self.retry = ""
        # What the checks of a revision find, one measurement after the other; the last one stays.
        self.findings: dict[str, list[Finding]] = {}
        self._letters: dict[str, str] = {}
        self.strangers: set[str] = set()
        self.quota: int | None = None
        self.min_available: int | None = None
        self.behaviours = dict(BEHAVIOURS)
        self.patched_after: float | None = None
        self.writes = 0
        self._versions: dict[str, int] = {}
        self._seen_versions: dict[str, int] = {}
        self._count = itertools.count(1)
        self._events: list[tuple[float, float, int, Callable[[], None]]] = []

    # Time: what is to happen, and making it happen.

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Let ``what`` happen; things of one moment happen in an order of the seed's choice."""
        entry = (self.now + seconds, self.rng.random(), next(self._count), what)
        heapq.heappush(self._events, entry)

    @property
    def next_event(self) -> float | None:
        return self._events[0][0] if self._events else None

    def happen(self, most: int = 1000) -> None:
        """Let at most ``most`` of the things happen whose time has come."""
        while self._events and self._events[0][0] <= self.now and most > 0:
            heapq.heappop(self._events)[3]()
            most -= 1

    # The API as the operator uses it. What it writes, it has seen.

    def create(self, birth: Create) -> None:
        self.writes += 1
        record = self.revisions.get(birth.revision)
        for pin in record.config if record else ():
            # Same revision, same content: whatever the ConfigMap says by now.
            assert self.snapshots.get(pin.snapshot, ABSENT) == pin.digest, pin
        behaviour = self._behaviour(birth.revision)
        if behaviour.refused:
            raise Invalid(422, "Invalid", f'Pod "{birth.name}" is invalid: {behaviour.refused}')
        if birth.name in self.strangers or birth.name in self.pods:
            raise Conflict(409, "AlreadyExists", f'pods "{birth.name}" already exists')
        counted = sum(not pod.ended for pod in self.pods.values())
        if self.quota is not None and counted >= self.quota:
            text = f"exceeded quota: pods, requested: pods=1, used: pods={counted},"
            text = f'pods "{birth.name}" is forbidden: {text} limited: pods={self.quota}'
            raise Forbidden(403, "Forbidden", text)
        pod = Instance(
            name=birth.name,
            uid=f"uid-{next(self._count)}",
            revision=birth.revision,
            slot=birth.slot,
            incarnation=birth.incarnation,
            born=self.now,
            replaces=birth.replaces,
            heals=birth.heals,
            tries=birth.tries,
            because=birth.because,
            purpose=birth.purpose,
            replaces_uid=birth.replaces_uid,
            node=f"n{birth.slot % 3}",
        )
        self._put(pod, at_once=True)
        self._live(pod, behaviour)

    def evict(self, retirement: Retire) -> None:
        self.writes += 1
        pod = self.pods.get(retirement.name)
        if pod is None:
            raise NotFound(404, "NotFound", f'pods "{retirement.name}" not found')
        if pod.uid != retirement.uid:
            raise Conflict(409, "Conflict", "the uid in the precondition is not that of the pod")
        healthy = sum(p.ready_since is not None and p.active for p in self.pods.values())
        ready = pod.ready_since is not None
        shown = self.seen.get(retirement.name)
        deleted = retirement.while_unready and (shown is None or shown.ready_since is None)
        if deleted and ready:  # the deletion names the version in which it was not ready
            raise Conflict(409, "Conflict", "the object has been modified")
        by_eviction = not (retirement.by_will or deleted)
        protected = self.min_available is not None and not pod.ended and by_eviction
        assert not retirement.by_will or str(retirement.because).startswith(WILL)
        if protected and healthy - ready < (self.min_available or 0):
            needs = f"needs {self.min_available} healthy pods and has {healthy} currently"
            raise TooManyRequests(
                429,
                "TooManyRequests",
                f"The disruption budget {SERVICE} {needs}",
                causes=(DISRUPTION_BUDGET,),
            )
        self._leave(pod, at_once=True)

    def quarantine(self, order: Quarantine) -> None:
        self.writes += 1
        pod = self.pods.get(order.name)
        if pod is None or pod.uid != order.uid:
            raise NotFound(404, "NotFound", f'pods "{order.name}" not found')
        self._put(replace(pod, quarantined=self.now), at_once=True)

    def record(self, record: CreateRevision) -> None:
        self.writes += 1
        assert record.id not in self.revisions
        known = [revision.number for revision in self.revisions.values()]
        assert record.number > max(known, default=0)
        name = revision_name(SERVICE, record.id)
        uid = f"uid-{record.number}"
        made = Revision(record.id, record.number, record.hash, name, uid, record.config)
        self.revisions[record.id] = made
        template = (self.spec and self.spec.template) or {}
        made_of = (letter for letter, r in REVISIONS.items() if is_made_of(r, template))
        self._letters[record.id] = next(made_of, "")

    def snapshot(self, copy: CreateSnapshot) -> None:
        self.writes += 1
        assert copy.revision.id in self.revisions
        if self.configs.get(copy.pin.key, Source(ABSENT)).digest != copy.pin.digest:
            raise Conflict(409, "Conflict", f"ConfigMap {copy.pin.name} was changed")
        self.snapshots[copy.pin.snapshot] = copy.pin.digest

    def mark(self, mark: SetVerdict) -> None:
        self.writes += 1
        known = self.revisions.get(mark.revision.id)
        if known is None:
            raise NotFound(404, "NotFound", f"{mark.revision.name} not found")
        self.revisions[known.id] = replace(known, verdict=mark.verdict)

    def found(self, run: RunCheck) -> Finding:
        """What a check finds: it passes if nothing else was decided."""
        findings = self.findings.get(run.revision) or [Finding.PASSED]
        return findings.pop(0) if len(findings) > 1 else findings[0]

    def forget(self, record: DeleteRevision) -> None:
        self.writes += 1
        gone = [r.id for r in self.revisions.values() if r.uid == record.uid]
        for id_ in gone:
            # The garbage collector takes the copies along.
            for pin in self.revisions.pop(id_).config:
                self.snapshots.pop(pin.snapshot, None)

    def answer(self, outcome: Outcome) -> None:
        """The status of an action is written; one that is over is not asked about again."""
        self.writes += 1
        request = self.requests.get(outcome.uid)
        if request is None:
            return
        if outcome.phase in ("Succeeded", "Failed"):
            del self.requests[outcome.uid]
            return
        asked = request.asked or outcome.asked
        known = replace(request, phase=outcome.phase, message=outcome.message, asked=asked)
        self.requests[outcome.uid] = known

    def protect(self, order: SetBudget | DeleteBudget) -> None:
        self.writes += 1
        self.budgets = ()
        if isinstance(order, SetBudget):
            least, revision = order.min_available, order.revision
            own = DisruptionBudget("own", "own", least, is_own=True, revision=revision)
            self.budgets = (own,)

    def route(self, order: SetRoute | DeleteRoute) -> None:
        self.writes += 1
        if self.refuses_routes:
            raise Forbidden(403, "Forbidden", "services is forbidden: exceeded quota: services")
        known = self.routes.get(order.name)
        if isinstance(order, SetRoute):
            assert known is None or known.is_own, f"Service {order.name} of somebody else"
            self.routes[order.name] = route_as_set(order)
        elif known is not None and known.uid == order.uid:
            del self.routes[order.name]

    def weigh(self, order: SetWeights) -> None:
        """Write the weights of the HTTPRoute; a gateway uses them at once, if there is one."""
        if self.refuses_routes:
            raise Forbidden(403, "Forbidden", "the route may not be written")
        if self.http_route is None or self.http_route.version != order.version:
            raise Conflict(409, "Conflict", "the object has been modified")
        written = weights_as_set(self.http_route, order)
        self.http_route = replace(written, is_observed=self.has_gateway)

    def edit_weights(self, percent: int | None, editor: str = "kubectl-edit") -> None:
        """Somebody else writes the weights, or deletes the HTTPRoute (None)."""
        if percent is None or self.http_route is None:
            self.http_route = HttpRoute("web", "shop", lack=RouteLack.MISSING)
            return
        order = SetWeights("shop", "web", "", self.http_route.version, percent)
        self.http_route = replace(weights_as_set(self.http_route, order), editor=editor)

    def gateway(self, *, is_there: bool) -> None:
        """Take the gateway away, or let it come back and look at the HTTPRoute."""
        self.has_gateway = is_there
        if self.http_route is not None and is_there:
            self.http_route = replace(self.http_route, is_observed=True)

    def edit_route(self, name: str, **fields: Any) -> None:
        """Somebody changes a Service of the operator; without fields, it is deleted."""
        if name in self.routes:
            if fields:
                self.routes[name] = replace(self.routes[name], editor="kubectl-edit", **fields)
            else:
                del self.routes[name]

    # What befalls pods without the operator.

    def delete(self, name: str) -> None:
        """Somebody deletes a pod."""
        if name in self.pods and not self.pods[name].terminating:
            self.tell("deleted by hand", name)
            self._leave(self.pods[name])

    def reach_into(self, name: str) -> None:
        """Somebody opens a shell in a pod, as the mark on it says."""
        pod = self.pods.get(name)
        if pod is not None and not pod.terminating:
            self.tell("reached into", name)
            self._put(replace(pod, taint="exec by jane"))

    def forget_copies(self, number: int) -> None:
        """Somebody deletes the copies of the configuration of a revision."""
        for record in self.revisions.values():
            for pin in record.config if record.number == number else ():
                self.snapshots.pop(pin.snapshot, None)

    def lose(self, name: str) -> None:
        """A pod is gone at once, as when its node is."""
        if name in self.pods:
            self.tell("lost", name)
            self._put(None, name=name)

    def end(self, name: str) -> None:
        """A pod ends for good: evicted by its node, or turned away by it."""
        pod = self.pods.get(name)
        if pod is not None and not pod.ended:
            self.tell("ended", name)
            over = Trouble(TroubleKind.ENDED, "it ended (Failed)")
            self._put(replace(pod, ended=True, ready_since=None, trouble=over))

    def unready(self, name: str, seconds: float | None) -> None:
        """A pod is not ready for a while, or for ever."""
        pod = self.pods.get(name)
        if pod is not None and pod.ready_since is not None and pod.active:
            self.tell("not ready any more", name)
            self._put(replace(pod, ready_since=None))
            if seconds is not None:
                self.after(seconds, lambda: self._become_ready(pod.uid, name))

    def live(self, pods: list[Instance]) -> None:
        """Begin with these pods instead of none, each with the life of its template."""
        for pod in pods:
            self._put(pod, at_once=True)
            if pod.terminating:
                self.after(GRACE, lambda pod=pod: self._go(pod.uid, pod.name))  # type: ignore[misc]
            elif not pod.ended:
                self._live(pod, self._behaviour(pod.revision))

    # Inside.

    def _behaviour(self, revision: str) -> Behaviour:
        letters = [letter for letter, known in REVISIONS.items() if known.id == revision]
        letters += filter(None, [self._letters.get(revision)])
        return self.behaviours[letters[0]] if letters else Behaviour("unknown", ready_after=None)

    def _live(self, pod: Instance, behaviour: Behaviour) -> None:
        uid, name = pod.uid, pod.name
        if behaviour.ready_after is not None and pod.ready_since is None:
            self.after(behaviour.ready_after, lambda: self._become_ready(uid, name))
        if behaviour.trouble is not None:
            settled = replace(behaviour.trouble, settled=True)
            self.after(
                behaviour.trouble_after, lambda: self._get_into(uid, name, behaviour.trouble)
            )
            self.after(behaviour.settled_after, lambda: self._get_into(uid, name, settled))
        if self.patched_after is not None:
            self.after(self.patched_after, lambda: self._patch(uid, name))
        if behaviour.ends_after is not None:
            self.after(behaviour.ends_after, lambda: self._end_if(uid, name))

    def _same(self, uid: str, name: str) -> Instance | None:
        pod = self.pods.get(name)
        return pod if pod is not None and pod.uid == uid and pod.active else None

    def _become_ready(self, uid: str, name: str) -> None:
        if pod := self._same(uid, name):
            self.tell("ready", name)
            self._put(replace(pod, ready_since=self.now, trouble=None))

    def _get_into(self, uid: str, name: str, trouble: Trouble | None) -> None:
        if pod := self._same(uid, name):
            again = " again and again" if trouble and trouble.settled else ""
            self.tell(f"in trouble{again}: {trouble.kind if trouble else ''}", name)
            self._put(replace(pod, trouble=trouble, ready_since=None))

    def _patch(self, uid: str, name: str) -> None:
        """Something changes every new pod."""
        if self.patched_after is not None and (pod := self._same(uid, name)):
            self.tell("patched", name)
            self._put(replace(pod, taint=f"{SPEC_CHANGED} (by autoscaler)"))

    def _end_if(self, uid: str, name: str) -> None:
        if self._same(uid, name):
            self.end(name)

    def _leave(self, pod: Instance, *, at_once: bool = False) -> None:
        self._put(replace(pod, terminating=True), at_once=at_once)
        self.after(GRACE, lambda: self._go(pod.uid, pod.name))

    def _go(self, uid: str, name: str) -> None:
        pod = self.pods.get(name)
        if pod is not None and pod.uid == uid:
            self.tell("gone", name)
            self._put(None, name=name)

    def _put(self, pod: Instance | None, *, name: str = "", at_once: bool = False) -> None:
        """Change what is, and let the watcher see it, in order, but perhaps later."""
        name = pod.name if pod else name
        if pod:
            self.pods[name] = pod
        else:
            del self.pods[name]
        version = self._versions[name] = next(self._count)

        def deliver() -> None:
            if version < self._seen_versions.get(name, 0):
                return
            self._seen_versions[name] = version
            if pod:
                self.seen[name] = pod
            else:
                self.seen.pop(name, None)

        lag = 0.0 if at_once else self.lag()
        if lag:
            self.after(lag, deliver)
        else:
            deliver()
