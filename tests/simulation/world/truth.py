"""What is so, told from the commits alone: the services and their pods, now and a while ago.

Counted again here, with arithmetic of its own; nothing of the operator is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import floor
from typing import Any

from tests.simulation.world.admission import is_ready
from tests.simulation.world.cluster import letter_of
from tests.simulation.world.storage import Commit, Obj

__all__ = ["Limits", "Pod", "Service", "Truth"]

QUARANTINED, TAINTED = "immutable.dev/quarantined", "immutable.dev/tainted"
REVISION = "immutable.dev/revision"


@dataclass(frozen=True)
class Limits:
    """What one spec allows."""

    replicas: int
    surge: int
    unavailable: int
    min_ready: float
    suspend: bool
    letter: str

    @property
    def most(self) -> int:
        return self.replicas + self.surge

    @property
    def fewest(self) -> int:
        return max(0, self.replicas - self.unavailable)

    @classmethod
    def of(cls, spec: Obj, replicas: int) -> Limits:
        rollout = spec.get("rollout") or {}
        surge = _share(rollout.get("maxSurge", "25%"), replicas, up=True)
        unavailable = min(_share(rollout.get("maxUnavailable", 0), replicas, up=False), replicas)
        if not surge and not unavailable:
            unavailable = 1
        return cls(
            replicas,
            surge,
            unavailable,
            float(rollout.get("minReadySeconds", 0)),
            bool(spec.get("suspend")),
            letter_of(spec["template"]),
        )


def _share(value: Any, total: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    exact = int(str(value).removesuffix("%")) * total
    return -(-exact // 100) if up else exact // 100


@dataclass
class Pod:
    """One pod as it is."""

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
    last, and there may have been others since that no operator saw: ``told`` is the number that it
    told last, ``unseen`` are the limits by that number until it tells one for the present spec.
    """

    uid: str
    name: str
    generation: int = 0
    unset: bool = False
    gone_at: float | None = None
    limits: list[tuple[float, Limits]] = field(default_factory=list)
    pods: dict[str, Pod] = field(default_factory=dict)
    losses: list[tuple[float, str]] = field(default_factory=list)
    worked: set[str] = field(default_factory=set)
    highest: int = 0
    good: str = ""
    ready: list[tuple[float, int]] = field(default_factory=list)
    observed: int = -1
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
        now = [known for known in self.unseen if known.replicas == number]
        self.limits += [(at, known) for known in now[:1]]
        self.unseen.clear()

    @property
    def now(self) -> Limits:
        return self.limits[-1][1]

    @property
    def active(self) -> list[Pod]:
        return [p for p in self.pods.values() if p.active]

    def lost_since(self, since: float) -> set[str]:
        return {uid for at, uid in self.losses if at >= since}


class Truth:
    """Follows the commits. ``voluntary`` says whether a committer is an operator."""

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}

    def of_pod(self, obj: Obj) -> Service | None:
        """The service that controls an object."""
        owners = obj["metadata"].get("ownerReferences") or ()
        return next((self.services[o["uid"]] for o in owners if o["uid"] in self.services), None)

    def living(self) -> Iterator[Service]:
        return (s for s in self.services.values() if s.gone_at is None)

    def take(self, commit: Commit, *, voluntary: bool) -> None:
        """Become what is after a commit."""
        if commit.resource == "immutableservices":
            self._service(commit)
        elif commit.resource == "pods":
            service = self.of_pod(commit.obj) or self._holder(commit.obj["metadata"]["uid"])
            if service is not None:
                self._pod(service, commit, voluntary)

    def _holder(self, uid: str) -> Service | None:
        return next((s for s in self.services.values() if uid in s.pods), None)

    def _service(self, commit: Commit) -> None:
        meta = commit.obj["metadata"]
        service = self.services.setdefault(meta["uid"], Service(meta["uid"], meta["name"]))
        if commit.after is None:
            service.gone_at = commit.at
            return
        if meta["generation"] == service.generation:
            return
        service.generation = meta["generation"]
        spec = commit.after["spec"]
        kept = service.now.replicas if service.limits else 1
        replicas = spec.get("replicas")
        service.unset = replicas is None
        limits = Limits.of(spec, kept if replicas is None else replicas)
        service.limits.append((commit.at, limits))
        service.unseen.clear()
        if replicas is None and service.told is not None:
            service.unseen.append(Limits.of(spec, service.told))

    def _pod(self, service: Service, commit: Commit, voluntary: bool) -> None:
        meta, at = commit.obj["metadata"], commit.at
        uid = meta["uid"]
        known = service.pods.get(uid)
        was = known is not None and known.active and known.ready_since is not None
        if commit.after is None:
            service.pods.pop(uid, None)
        else:
            known = service.pods.setdefault(
                uid,
                Pod(meta["name"], uid, letter_of(commit.after), _label(meta), at),
            )
            _update(known, commit.after, at)
        still = uid in service.pods and known is not None and known.active
        ready = still and known is not None and known.ready_since is not None
        if was and not ready and not voluntary:
            service.losses.append((at, uid))
        if ready and known is not None:
            service.worked.add(known.letter)
        self._measure(service, at)

    def _measure(self, service: Service, at: float) -> None:
        active = service.active
        ready = [p for p in active if p.ready_since is not None]
        if not service.ready or service.ready[-1][1] != len(ready):
            service.ready.append((at, len(ready)))
        revisions = {p.revision for p in active}
        if len(ready) == len(active) >= service.now.replicas > 0 and len(revisions) == 1:
            service.good = revisions.pop()


def _label(meta: Obj) -> str:
    label: str = (meta.get("labels") or {}).get(REVISION, "")
    return label


def _update(pod: Pod, obj: Obj, at: float) -> None:
    annotations = obj["metadata"].get("annotations") or {}
    pod.version = obj["metadata"]["resourceVersion"]
    pod.terminating = "deletionTimestamp" in obj["metadata"]
    pod.ended = obj["status"]["phase"] in ("Failed", "Succeeded")
    pod.quarantined = QUARANTINED in annotations
    pod.tainted = TAINTED in annotations
    if not is_ready(obj) or pod.ended:
        pod.ready_since = None
    elif pod.ready_since is None:
        pod.ready_since = at
