"""Gathers evidence about a service's instances from other sources than the instances."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from immutable_operator.domain.config.references import config_references
from immutable_operator.domain.model import (
    CONFIG_MAP,
    SECRET,
    Evidence,
    Instance,
    Pin,
    Revision,
)
from immutable_operator.instances.pods.codec import BORN, PodRecord
from immutable_operator.kube.store import Children
from immutable_operator.runtime.admissions import Admissions
from immutable_operator.runtime.images import ImageProofs
from immutable_operator.wire.config import ConfigRecord, Configs
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["RECREATED", "Baselines", "Witnesses"]

# The API server stores times of objects and containers in whole seconds.
CLOCK_SECONDS = 1.0
RECREATED = "was deleted and recreated while the pod was running"


class Baselines:
    """The legitimate generation of each instance: the one with which it was bound to its node.

    It is 1, unless scheduling gates held the instance back: the component that added a gate removes
    it, and may set node constraints. An instance that was seen unchanged and without gates never
    had any. For an instance that was not seen before it was bound (the operator was restarted), its
    managed fields decide.
    """

    def __init__(self) -> None:
        self._rightful: dict[str, int] = {}

    def of(self, pods: Iterable[PodRecord]) -> Mapping[str, int]:
        """Return the legitimate generations by uid, where they are known by now."""
        known, self._rightful = self._rightful, {}
        for pod in pods:
            rightful = known.get(pod.uid) or _rightful(pod.content)
            if rightful is not None:
                self._rightful[pod.uid] = rightful
        return self._rightful


def _rightful(instance: Instance) -> int | None:
    if instance.generation <= BORN and not instance.gated:
        return BORN
    if not instance.node:
        return None
    return BORN if instance.edited else instance.generation


class Witnesses:
    """All sources of evidence about an instance other than the instance itself."""

    def __init__(
        self,
        configs: Mapping[str, Configs],
        images: ImageProofs,
        pods: Children[PodRecord],
        admissions: Admissions,
        secret_copy: Callable[[str, str], ConfigRecord | None] = lambda namespace, name: None,
    ) -> None:
        """``secret_copy`` returns the copy of a Secret that has this namespace and name."""
        self._configs = configs
        self._images = images
        self._pods = pods
        self._secret_copy = secret_copy
        self._admissions = admissions

    def evidence(
        self,
        service: OwnerRecord,
        baselines: Baselines,
        revisions: Iterable[Revision] = (),
    ) -> Evidence:
        """Return what is known now about the instances of one service."""
        pods, recorded = list(self._pods.of(service.uid)), tuple(revisions)
        known = baselines.of(pods)
        template = service.spec.template or {}
        pairs = {
            (image, reported)
            for pod in pods
            if pod.content.reported
            for name, reported in pod.content.reported
            for image in [dict(pod.content.images).get(name, "")]
        }
        return Evidence(
            baselines=known,
            different=self._images.different(frozenset(pairs), service.uid),
            replaced=self._replaced(service, template, pods, recorded)
            | self._copied(service, pods, recorded),
            admission=self._admissions.look(service, pods, recorded, known),
        )

    def _replaced(
        self,
        service: OwnerRecord,
        template: Mapping[str, Any],
        pods: Iterable[PodRecord],
        revisions: Iterable[Revision],
    ) -> dict[str, str]:
        """Find live configuration that was recreated since. Pinned objects are read from copies."""
        found = {}
        # Whether a Secret is pinned is decided for each revision, when it is recorded.
        pinned = {key for key in service.spec.pinned if key[0] == CONFIG_MAP}
        copied = {r.id: r.digests.keys() for r in revisions}
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
                if (kind, name) in copied.get(pod.content.revision, ()):
                    continue
                if since is not None and at > since + CLOCK_SECONDS:
                    found[pod.uid] = f"{kind} {name} {RECREATED}"
        return found

    def _copied(
        self, service: OwnerRecord, pods: Iterable[PodRecord], revisions: Iterable[Revision]
    ) -> dict[str, str]:
        """Find pods that are older than the copy that they read, by the cluster's clock."""
        youngest: dict[str, tuple[float, str]] = {}
        for revision in revisions:
            made = [
                (copy.created, f"{pin.kind} {copy.name}")
                for pin in revision.config
                if (copy := self._copy(service.namespace, pin))
            ]
            youngest[revision.id] = max(made, default=(0.0, ""))
        found = {}
        for pod in pods:
            at, snapshot = youngest.get(pod.content.revision, (0.0, ""))
            if at > pod.content.born + CLOCK_SECONDS:
                found[pod.uid] = f"{snapshot} {RECREATED}"
        return found

    def _copy(self, namespace: str, pin: Pin) -> ConfigRecord | None:
        if pin.kind == SECRET:
            return self._secret_copy(namespace, pin.snapshot)
        configs = self._configs.get(pin.kind)
        return configs.get(namespace, pin.snapshot) if configs else None
