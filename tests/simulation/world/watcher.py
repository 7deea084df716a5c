"""The independent watcher: the invariants of safety, checked at each request and each commit.

What an operator does is held against what its view may justify: the specs that were in force, and
the losses that others brought about, within the time by which its view may be behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from immutable_operator.api.names import LABEL_SERVICE
from tests.simulation.world import families
from tests.simulation.world.exposure import wrong_write
from tests.simulation.world.families import NODES, PODS, uid_of
from tests.simulation.world.node_watcher import NodeWatcher
from tests.simulation.world.storage import Commit, Obj
from tests.simulation.world.truth import SWEEP, Pod, Service, Truth

if TYPE_CHECKING:
    from tests.simulation.world.api import Request
    from tests.simulation.world.world import World

__all__ = ["Watcher"]

PREFIX = "immutable.dev/"


class Watcher:
    """Calls ``broken`` with the number of an invariant and a sentence."""

    def __init__(self, world: World, truth: Truth, broken: Callable[[str, str], None]) -> None:
        self._world, self._truth, self._broken = world, truth, broken
        self.nodes = NodeWatcher(world, truth, broken)
        self._late: set[str] = set()

    # Requests, before they are on their way.

    def sent(self, who: str, request: Request) -> None:
        """18: who does not hold the lease writes nothing; 10: deletions say whom they mean."""
        _, resource, name, sub = request.route
        if not request.is_write or resource in ("leases", "selfsubjectreviews"):
            return
        if (holder := self._world.holder) != who:
            self._broken("18", f"{who} writes {request.path}, and {holder} holds the lease")
        body = request.body
        if request.method == "DELETE" or sub == "eviction":
            options = body if request.method == "DELETE" else body.get("deleteOptions") or {}
            if not (options.get("preconditions") or {}).get("uid"):
                self._broken("10", f"{request.method} {request.path} names no uid")
        if resource == "pods" and (request.method == "DELETE" or sub == "eviction"):
            self.nodes.sent(request)
        if request.method == "DELETE" and resource == "pods":
            self._deleted(name, (body.get("preconditions") or {}).get("resourceVersion"))

    def _deleted(self, name: str, version: str | None) -> None:
        """15: what is available and wanted leaves by eviction only.

        Of a pod that changed meanwhile the API server refuses the deletion. Others that were lost
        while the operator heard nothing are there as far as it knows, and it scales down by that.
        """
        for service in self._truth.living(PODS):
            for pod in service.pods.values():
                if pod.name != name or (version and pod.version != version):
                    continue
                if pod.active and pod.ready_since is not None:
                    wanted = min(k.replicas for k in service.of_late(self._world.behind))
                    known = len(service.active) + len(service.lost_since(self._world.behind))
                    if max(known, self._labelled(service.name)) <= wanted:
                        self._broken("15", f"{name} is available, and was deleted, not evicted")

    def _labelled(self, service: str) -> int:
        """How many pods carry a service's label, strangers that were claimed by mistake, too."""
        pods = self._world.api.storage.all("pods")
        labels = [p["metadata"].get("labels") or {} for p in pods if not _leaves(p)]
        return sum(found.get(LABEL_SERVICE) == service for found in labels)

    # Commits, before the truth has taken them in.

    def committed(self, commit: Commit) -> None:
        """Check what an operator has done; the truth is still that of a moment before."""
        family = families.of(commit.resource)
        if commit.resource == "immutablerevisions":
            self._revision(commit)
        elif commit.resource == "services":
            if (wrong := wrong_write(commit)) is not None:
                self._broken("9", wrong)
        elif family is not None and commit.resource == family.owners:
            self._status(commit)
        elif family is not None:
            self._instance(commit)

    def _instance(self, commit: Commit) -> None:
        service = self._truth.of_pod(commit.obj)
        before, after = commit.before, commit.after
        if service is None or families.of(commit.resource) is not service.family:
            self._foreign(commit)
            return
        if before is None:
            self._born(service, commit)
            return
        known = service.pods.get(uid_of(commit.obj))
        if service.family is NODES and known is not None:
            self.nodes.committed(service, known, commit)
        if after is None or service.family.state(after).terminating:
            if commit.who == self._world.holder:
                self._retired(service, known)
        elif service.family is PODS:
            self._written(before, after)

    def _foreign(self, commit: Commit) -> None:
        labels = commit.obj["metadata"].get("labels") or {}
        if commit.resource == "pods" and {PREFIX + "service", PREFIX + "pool"} & labels.keys():
            return
        if commit.resource == "pods" and self.nodes.may_evict(commit):
            return
        self._broken("9", f"{commit.name} is none of ours, and was written")

    def _born(self, service: Service, commit: Commit) -> None:
        if commit.who != self._world.holder:
            self._late.add(commit.obj["metadata"]["uid"])
            return  # sent in time, and on the way for long: it counts as nobody's
        limits = service.of_late(self._world.behind)
        name = commit.name
        there = service.machines if service.family.counts_leaving else service.active
        counted = [p for p in there if p.uid not in self._late]
        most = max(known.most for known in limits)
        if len(counted) + 1 > most:
            self._broken("1", f"{name} is number {len(counted) + 1} of at most {most}")
        if service.gone_at is not None and service.gone_at < self._world.now - SWEEP:
            self._broken("11", f"{name} was born for a service that is gone")
        if all(known.suspend for known in limits):
            self._broken("13", f"{name} was born while suspended")
        if service.family is NODES:
            self.nodes.born(service, commit, self._late)
        letter = service.family.letter(commit.obj)
        if self._world.holds(
            service.family
        ):  # a freeze, or a ConfigMap that is not there: what ran before goes on
            limits = [known for _, known in service.limits]
        if letter not in {known.letter for known in limits} | service.worked:
            self._broken("5", f"{name} was born of {letter}, which is not wanted and never worked")
        self._pinned(service, commit.obj)

    def _pinned(self, service: Service, pod: Obj) -> None:
        """8: it runs what its revision recorded."""
        revision = (pod["metadata"].get("labels") or {}).get(PREFIX + "revision", "")
        record = self._world.revision(service, revision)
        if record is None:
            if service.gone_at is None and service.good == revision:
                self._broken("8", f"{pod['metadata']['name']}: no record of revision {revision}")
        elif service.family.recorded(record) != service.family.letter(pod):
            self._broken("8", f"{pod['metadata']['name']} is not what {revision} recorded")

    def _retired(self, service: Service, pod: Pod | None) -> None:
        if pod is None or pod.terminating:
            return
        now, behind = self._world.now, self._world.behind
        limits = service.of_late(behind)
        if all(known.suspend for known in limits):
            self._broken("13", f"{pod.name} was retired while suspended")
        least = min(known.min_ready for known in limits) if self._world.clocks_right else 0.0
        if not pod.available(now, max(known.min_ready for known in limits)):
            return
        if service.family is NODES:
            self.nodes.retired(service, pod)
        left = sum(p.available(now, least) for p in service.pods.values()) - 1
        lost = len(service.lost_since(behind))
        fewest = min(known.fewest for known in limits)
        if left < fewest - lost:
            text = f"{pod.name} was retired: {left} available, at least {fewest} were to be"
            self._broken("2", f"{text}; {lost} were lost of late")

    def _written(self, before: Obj, after: Obj) -> None:
        """7: only reserved metadata, or the labels of one that goes into quarantine."""
        name = after["metadata"]["name"]
        if before["spec"] != after["spec"]:
            self._broken("7", f"the spec of {name} was written")
        old, new = (o["metadata"].get("labels") or {} for o in (before, after))
        quarantined = PREFIX + "quarantined" in (after["metadata"].get("annotations") or {})
        foreign = {k for k in {*old, *new} if old.get(k) != new.get(k) and PREFIX not in k}
        if foreign and not quarantined:
            self._broken("7", f"labels {sorted(foreign)} of {name} were written")

    def _revision(self, commit: Commit) -> None:
        service = self._truth.of_pod(commit.obj)
        if service is None:
            return
        spec = commit.obj["spec"]
        if commit.before is None:
            number, highest = spec["number"], max(service.numbers, default=0)
            # What was given up may arrive after the next one, with a number of its own.
            is_next = number > highest or commit.who.endswith("(gave up)")
            if (number in service.numbers or not is_next) and service.gone_at is None:
                self._broken("6", f"{commit.name}: revision {number} after {highest}")
            service.numbers.add(number)
        elif commit.after is None:
            if spec["revision"] == service.good and self._world.may_know(commit.obj):
                self._broken("4", f"{commit.name} is the last good one, and was deleted")
            if any(p.revision == spec["revision"] and p.active for p in service.pods.values()):
                self._broken("4", f"{commit.name} has instances, and was deleted")

    def _status(self, commit: Commit) -> None:
        if commit.after is None or commit.before is None:
            return
        service = self._truth.services[commit.after["metadata"]["uid"]]
        status: dict[str, Any] = commit.after.get("status") or {}
        observed = status.get("observedGeneration", -1)
        if observed < service.observed and commit.who == self._world.holder:
            self._broken("12", f"observedGeneration fell from {service.observed} to {observed}")
        service.observed = max(service.observed, observed)
        number = status.get("desiredReplicas")
        if number is not None:
            service.tells(number, observed, commit.at)
        true = {
            c["type"]: c["reason"] for c in status.get("conditions") or () if c["status"] == "True"
        }
        if "Ready" in true and {"Reconciling", "Stalled"} & set(true):
            self._broken("12", f"Ready beside {sorted(true)}")
        if true.get("Ready") == "Current":
            behind = self._world.behind
            seen = [n for at, n in service.ready if at >= behind] + [
                n for at, n in service.ready if at < behind
            ][-1:]
            # A number that left the manifest before the operator saw it is not known to anybody.
            told = status.get("desiredReplicas", 0) if service.unset else None
            fewest = (
                min(known.replicas for known in service.of_late(behind)) if told is None else told
            )
            # One that was lost may still be in the view when another one gets ready.
            most = max(seen, default=0) + len(service.lost_since(behind))
            if most < fewest:
                self._broken("12", f"Ready with {most} of {fewest} instances")


def _leaves(pod: Obj) -> bool:
    return "deletionTimestamp" in pod["metadata"]
