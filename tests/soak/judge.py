"""The invariants, judged over everything that the watcher saw.

Nothing here knows how the operator plans: only what users asked for, what was done to pods, and
what the API server showed. A decision is made with a view that is somewhat old, and by a leader
that may have stopped for a while; so each limit is that of the most generous spec of the last
``lag`` seconds. Numbers in brackets are those of the invariants in docs/reliability.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.soak.seen import Asked, Event, PodSeen, Recorded, Taken

__all__ = ["RULES", "Judgement", "judge"]

# Events of several watches arrive in an order of their own.
AHEAD = 2.0
RULES = (
    "No birth exceeds replicas + maxSurge",
    "No retirement leaves fewer than replicas - maxUnavailable available",
    "A suspended service creates and retires nothing",
    "Pods run images that were asked for, pinned by digest",
    "The images of a running pod never change",
    "Revision numbers rise and are never reused",
    "At most one of Ready, Reconciling and Stalled is True",
    "The observed generation never falls",
)
MORE, FEWER, SUSPENDED, FOREIGN, CHANGED, NUMBERS, CONDITIONS, OBSERVED = RULES


@dataclass
class Judgement:
    """How often each rule was judged, and a sentence for each time that it did not hold."""

    judged: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RULES, 0))
    broken: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def that(self, rule: str, holds: bool, said: str) -> None:
        self.judged[rule] += 1
        if not holds:
            self.broken[rule].append(said)


def judge(events: Iterable[Event], lag: float) -> Judgement:
    """Judge everything that happened, in order; ``lag`` in seconds."""
    listed = sorted(events, key=lambda event: event.at)
    return _Judge(listed, lag).run()


class _Judge:
    def __init__(self, events: list[Event], lag: float) -> None:
        self._events, self._lag = events, lag
        self._found = Judgement()
        self._asked: dict[str, list[Asked]] = defaultdict(list)
        for event in events:
            if isinstance(event, Asked):
                self._asked[event.service].append(event)
        taken = [event for event in events if isinstance(event, Taken)]
        self._taken = {event.name: event.at for event in reversed(taken)}
        self._pods: dict[str, dict[str, PodSeen]] = defaultdict(dict)
        self._losses: dict[str, list[float]] = defaultdict(list)
        self._numbers: dict[str, dict[int, str]] = defaultdict(dict)
        self._latest: dict[str, Asked] = {}

    def run(self) -> Judgement:
        for event in self._events:
            match event:
                case Asked():
                    self._status(event)
                case Recorded():
                    self._record(event)
                case PodSeen() if event.service in self._asked:
                    self._pod(event)
        return self._found

    def _in_force(self, service: str, at: float) -> list[Asked]:
        """The versions of a service on which a decision at this time can be based."""
        before, within = None, []
        for asked in self._asked[service]:
            if asked.at <= at - self._lag:
                before = asked
            elif asked.at <= at + AHEAD:
                within.append(asked)
        return [before, *within] if before is not None else within

    def _pod(self, pod: PodSeen) -> None:
        known = self._pods[pod.service]
        before = known.get(pod.uid)
        if pod.active:
            known[pod.uid] = pod
        else:
            known.pop(pod.uid, None)
        if before is None:
            if pod.kind == "ADDED":
                self._birth(pod)
            return
        unchanged = before.images == pod.images
        self._found.that(CHANGED, unchanged, f"{pod.name}: {before.images} became {pod.images}")
        if not pod.active:
            self._end(before, pod)
        elif before.ready and not pod.ready:
            self._losses[pod.service].append(pod.at)

    def _birth(self, pod: PodSeen) -> None:
        asked = self._in_force(pod.service, pod.at)
        if not asked:
            return  # a service that the watch of services shows later
        active = len(self._pods[pod.service])
        most = max(a.replicas + a.surge for a in asked)
        told = f"{pod.name} ({pod.because})"
        self._found.that(MORE, active <= most, f"{told}: {active} active, at most {most}")
        waits = all(a.suspended for a in asked)
        self._found.that(SUSPENDED, not waits, f"{told} was created while suspended")
        ever = {
            image for a in self._asked[pod.service] if a.at <= pod.at + AHEAD for image in a.images
        }
        pinned = all("@sha256:" in image for image in pod.images)
        self._found.that(FOREIGN, pinned and pod.images <= ever, f"{told} runs {pod.images}")

    def _end(self, before: PodSeen, pod: PodSeen) -> None:
        """A pod was told to end; by whom decides what must hold."""
        asked = self._in_force(pod.service, pod.at)
        gone = not asked or any(a.deleting for a in asked)
        if gone:
            return
        if self._taken.get(pod.name, pod.at + AHEAD) < pod.at + AHEAD:
            if before.ready:
                self._losses[pod.service].append(pod.at)
            return
        waits = all(a.suspended for a in asked)
        self._found.that(SUSPENDED, not waits, f"{pod.name} was retired while suspended")
        if not before.ready:
            return
        ready = sum(other.ready for other in self._pods[pod.service].values())
        least = min(a.replicas - a.unavailable for a in asked)
        lost = sum(at > pod.at - self._lag for at in self._losses[pod.service])
        holds = ready >= least - lost
        said = f"{pod.name} was retired: {ready} ready, at least {least} - {lost} lost needed"
        self._found.that(FEWER, holds, said)

    def _record(self, record: Recorded) -> None:
        known = self._numbers[record.service]
        if record.kind != "ADDED" or known.get(record.number) == record.uid:
            return
        risen = record.number > max(known, default=0)
        known[record.number] = record.uid
        self._found.that(NUMBERS, risen, f"revision {record.revision} got number {record.number}")

    def _status(self, asked: Asked) -> None:
        true = asked.true & {"Ready", "Reconciling", "Stalled"}
        self._found.that(CONDITIONS, len(true) <= 1, f"{asked.service}: {sorted(true)}")
        before = self._latest.get(asked.service)
        self._latest[asked.service] = asked
        if before is not None:
            fell = asked.observed < before.observed
            said = f"{asked.service}: {before.observed} became {asked.observed}"
            self._found.that(OBSERVED, not fell, said)
