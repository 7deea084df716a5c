"""Gathers what is known against a service's instances from elsewhere than from themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from immutable_operator.domain.config.references import config_references
from immutable_operator.domain.model import Evidence, Revision
from immutable_operator.instances.pods.codec import PodRecord
from immutable_operator.runtime.images import ImageProofs
from immutable_operator.wire.config import Configs
from immutable_operator.wire.service import ServiceRecord

__all__ = ["Baselines", "Witnesses"]

# Times of objects and of containers are told in whole seconds.
CLOCK_SECONDS = 1.0


class Baselines:
    """The generation at which each instance that was born with gates got its node.

    In memory only: after a restart of the operator it is the one that is seen first.
    """

    def __init__(self) -> None:
        self._first: dict[str, int] = {}

    def of(self, pods: Iterable[PodRecord]) -> Mapping[str, int]:
        seen = {p.uid: p.content.generation for p in pods if p.content.node}
        self._first = {uid: self._first.get(uid, now) for uid, now in seen.items()}
        return self._first


class Witnesses:
    """All that can say something about an instance beside the instance."""

    def __init__(self, configs: Mapping[str, Configs], images: ImageProofs) -> None:
        self._configs = configs
        self._images = images

    def evidence(
        self,
        service: ServiceRecord,
        pods: Iterable[PodRecord],
        baselines: Baselines,
        revisions: Iterable[Revision] = (),
    ) -> Evidence:
        """What is known now about the instances of one service."""
        if service.spec is None:
            return Evidence()
        pods = list(pods)
        template = service.spec.template
        gated = bool((template.get("spec") or {}).get("schedulingGates"))
        pairs = {
            (image, reported)
            for pod in pods
            if pod.content.reported
            for name, reported in pod.content.reported
            for image in [dict(pod.content.images).get(name, "")]
        }
        return Evidence(
            baselines=baselines.of(pods) if gated else {},
            different=self._images.different(frozenset(pairs), service.uid),
            replaced=self._replaced(service, template, pods)
            | self._copied(service, pods, revisions),
        )

    def _replaced(
        self, service: ServiceRecord, template: Mapping[str, Any], pods: Iterable[PodRecord]
    ) -> dict[str, str]:
        """What is read live and is another object now. A pinned one is read from its copy."""
        found = {}
        pinned = service.spec.pinned if service.spec else {}
        made = [
            (kind, name, record.created)
            for kind, name in sorted(config_references(template))
            if (kind, name) not in pinned
            and (configs := self._configs.get(kind))
            and (record := configs.get(service.namespace, name))
        ]
        for kind, name, at in made:
            for pod in pods:
                since = pod.running_since
                if since is not None and at > since + CLOCK_SECONDS:
                    found[pod.uid] = f"{kind} {name} was deleted and made anew while it ran"
        return found

    def _copied(
        self, service: ServiceRecord, pods: Iterable[PodRecord], revisions: Iterable[Revision]
    ) -> dict[str, str]:
        """Those whose copy of a ConfigMap is younger than they are, by the cluster's clock."""
        youngest: dict[str, tuple[float, str]] = {}
        for revision in revisions:
            made = [
                (copy.created, f"{pin.kind} {copy.name}")
                for pin in revision.config
                if (configs := self._configs.get(pin.kind))
                and (copy := configs.get(service.namespace, pin.snapshot))
            ]
            youngest[revision.id] = max(made, default=(0.0, ""))
        found = {}
        for pod in pods:
            at, snapshot = youngest.get(pod.content.revision, (0.0, ""))
            if at > pod.content.born + CLOCK_SECONDS:
                found[pod.uid] = f"{snapshot} was deleted and made anew while it ran"
        return found
