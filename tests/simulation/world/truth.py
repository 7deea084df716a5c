"""What is so, told from the commits alone: the services and their pods, now and a while ago.

A pool and its nodes are told of in the same words.

Counted again here, with arithmetic of its own; nothing of the operator is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import floor

from tests.simulation.world import families
from tests.simulation.world.families import CLAIMS, PODS, Family, Limits, State, uid_of
from tests.simulation.world.storage import Commit, Obj

__all__ = ["SWEEP", "Pod", "Service", "Truth"]

REVISION, REPLACES = "immutable.dev/revision", "immutable.dev/replaces-uid"
POOL_UID, BECAUSE = "immutable.dev/pool-uid", "immutable.dev/because"
# What vanishes while kopf lists anew is known to be gone after the next sweep only.
SWEEP = 700.0


@dataclass
class Pod:
    """One pod, or one node, as it is. ``drifted``: what must not change of a node has changed.

    ``parts`` are its objects by resource: a node of Karpenter is a claim, and later a node, too.
    ``because`` is the reason of its birth.
    """

    name: str
    uid: str
    letter: str
    revision: str
    born: float
    ready_since: float | None = None
    version: str = ""
    terminating: bool = False
    ended: bool = False
    quarantined: bool = False
    tainted: bool = False
    verified: bool = False
    replaces: str = ""
    because: str = ""
    facts: tuple[str, ...] = ()
    drifted: bool = False
    parts: dict[str, State] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        return not (self.terminating or self.ended or self.quarantined)

    def available(self, now: float, min_ready: float) -> bool:
        """Ready for long enough, as the API server tells it: in whole seconds."""
        since = self.ready_since
        return self.active and since is not None and now >= floor(since) + min_ready


@dataclass
class Service:
    """One service, by uid. ``limits`` are those of each spec it had, and since when.

    ``unset`` says that the spec names no number now. The operator then keeps the one that it knew
    last, and there may have been others since that no operator saw; one that knows none counts the
    living. ``told`` is the number that it told last, ``unseen`` are the limits by what it may take
    for the number, until it tells one for the present spec. ``fresh`` says that nothing ran when
    what is wanted now was asked for first: then there is nothing to fall back to.
    """

    uid: str
    name: str
    family: Family = PODS
    generation: int = 0
    unset: bool = False
    gone_at: float | None = None
    limits: list[tuple[float, Limits]] = field(default_factory=list)
    pods: dict[str, Pod] = field(default_factory=dict)
    losses: list[tuple[float, str]] = field(default_factory=list)
    worked: set[str] = field(default_factory=set)
    numbers: set[int] = field(default_factory=set)
    good: str = ""
    ready: list[tuple[float, int]] = field(default_factory=list)
    observed: int = -1
    fresh: bool = True
    told: int | None = None
    unseen: list[Limits] = field(default_factory=list)

    def of_late(self, since: float) -> list[Limits]:
        """The limits that were in force at any time since then."""
        before = [known for at, known in self.limits if at <= since]
        late = (known for at, known in self.limits if at > since)
        return [*before[-1:], *late, *self.unseen]

    def tells(self, number: int, generation: int, at: float) -> None:
        """The operator tells which number it works for, of which generation of the spec."""
        self.told = number
        if generation != self.generation:
            return
        if self.unseen:
            numbers = [known.replicas for known in (*self.unseen, self.now)]
            if min(*numbers, max(1, len(self.active))) <= number <= max(numbers):
                self.limits.append((at, self.family.limits(self.now.spec, number)))
            self.unseen.clear()

    @property
    def now(self) -> Limits:
        return self.limits[-1][1]

    @property
    def active(self) -> list[Pod]:
        return [p for p in self.pods.values() if p.active]

    @property
    def machines(self) -> list[Pod]:
        return list(self.pods.values())

    def lost_since(self, since: float) -> set[str]:
        return {uid for at, uid in self.losses if at >= since}


class Truth:
    """Follows the commits. ``voluntary`` says whether a committer is an operator."""

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}

    def of_pod(self, obj: Obj) -> Service | None:
        """The service that controls an object, or the pool that a node belongs to."""
        meta = obj["metadata"]
        owners = [o["uid"] for o in meta.get("ownerReferences") or ()]
        owners.append((meta.get("annotations") or {}).get(POOL_UID, ""))
        return next((self.services[uid] for uid in owners if uid in self.services), None)

    def living(self, family: Family) -> Iterator[Service]:
        there = (s for s in self.services.values() if s.family is family)
        return (s for s in there if s.gone_at is None)

    def take(self, commit: Commit, *, voluntary: bool) -> None:
        """Become what is after a commit."""
        family = families.of(commit.resource)
        if family is None:
            return
        if commit.resource == family.owners:
            self._service(commit, family)
        else:
            service = self.of_pod(commit.obj) or self._holder(uid_of(commit.obj))
            if service is not None:
                self._pod(service, commit, voluntary)

    def _holder(self, uid: str) -> Service | None:
        return next((s for s in self.services.values() if uid in s.pods), None)

    def _service(self, commit: Commit, family: Family) -> None:
        meta = commit.obj["metadata"]
        known = Service(meta["uid"], meta["name"], family)
        service = self.services.setdefault(meta["uid"], known)
        if commit.after is None:
            service.gone_at = commit.at
            return
        spec = commit.after["spec"]
        if "deletionTimestamp" in meta:
            # It waits until its instances are gone: none is wanted any more.
            service.generation = meta["generation"]
            last = family.limits({**spec, "suspend": False}, 0)
            if service.now.replicas or service.now.suspend:
                service.limits.append((commit.at, last))
            return
        if meta["generation"] == service.generation:
            return
        service.generation = meta["generation"]
        kept = service.now.replicas if service.limits else 1
        replicas = spec.get("replicas")
        service.unset = replicas is None
        limits = family.limits(spec, kept if replicas is None else replicas)
        if service.limits and limits.letter != service.now.letter:
            service.fresh = not service.active
        service.limits.append((commit.at, limits))
        service.unseen.clear()
        if replicas is None:
            told = 1 if service.told is None else service.told
            numbers = sorted({told, len(service.active) or 1})
            service.unseen += [family.limits(spec, number) for number in numbers]

    def _pod(self, service: Service, commit: Commit, voluntary: bool) -> None:
        meta, at = commit.obj["metadata"], commit.at
        uid = uid_of(commit.obj)
        known = service.pods.get(uid)
        was = known is not None and known.active and known.ready_since is not None
        if commit.after is None and uid == meta["uid"]:
            service.pods.pop(uid, None)
        elif commit.after is None:
            if known is not None:  # the node of a claim
                known.parts.pop(commit.resource, None)
                _update(known, commit.obj, at)
        elif known is not None or uid == meta["uid"]:
            labels, annotations = (meta.get(key) or {} for key in ("labels", "annotations"))
            letter, revision = service.family.letter(commit.after), labels.get(REVISION, "")
            replaces = annotations.get(REPLACES, "")
            new = Pod(meta["name"], uid, letter, revision, at, replaces=replaces)
            new.because = annotations.get(BECAUSE, "").partition(":")[0]
            known = service.pods.setdefault(uid, new)
            known.parts[commit.resource] = service.family.state(commit.after)
            _update(known, commit.after, at)
        still = uid in service.pods and known is not None and known.active
        ready = still and known is not None and known.ready_since is not None
        if was and not ready and not voluntary:
            service.losses.append((at, uid))
        if ready and known is not None:
            service.worked.add(known.letter)
        if service.unseen:  # an operator that starts now counts those that are left
            number = len(service.active) or 1
            if all(known.replicas != number for known in service.unseen):
                service.unseen.append(service.family.limits(service.now.spec, number))
        self._measure(service, at)

    def _measure(self, service: Service, at: float) -> None:
        active = service.active
        ready = [p for p in active if p.ready_since is not None]
        if not service.ready or service.ready[-1][1] != len(ready):
            service.ready.append((at, len(ready)))
        revisions = {p.revision for p in active}
        if len(ready) >= service.now.replicas > 0 and len(revisions) == 1:
            service.good = revisions.pop()


def _update(pod: Pod, obj: Obj, at: float) -> None:
    state = _whole(pod.parts)
    pod.version = obj["metadata"]["resourceVersion"]
    pod.terminating, pod.ended = state.terminating, state.ended
    pod.quarantined, pod.tainted = state.quarantined, state.tainted
    changed = bool(state.facts) and state.facts != pod.facts
    pod.drifted = pod.drifted or (pod.verified and changed)
    pod.verified, pod.facts = state.verified, state.facts
    if not state.ready:
        pod.ready_since = None
    elif pod.ready_since is None:
        pod.ready_since = at


def _whole(parts: dict[str, State]) -> State:
    """The state of an instance, of one object or of a claim and its node."""
    claim = parts.get(CLAIMS)
    if claim is None:
        return next(iter(parts.values()))
    node = parts.get("nodes", claim)
    leaves, ended = claim.terminating or node.terminating, claim.ended
    return replace(node, terminating=leaves, ended=ended, ready=node.ready and not ended)
