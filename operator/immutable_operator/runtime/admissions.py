"""What admission made of each pod: its form is compared with the template of its revision.

Pods of the same form are compared once. The template of an older revision is read from its record,
once for each form that is not known yet, which is after a restart at most.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from immutable_operator.api.names import REVISION_PLURAL
from immutable_operator.domain.config.admission import differences
from immutable_operator.domain.config.hashing import template_of
from immutable_operator.domain.config.references import with_snapshots
from immutable_operator.domain.model import Backoff, Change, OnAdmission, Revision
from immutable_operator.instances.pods.codec import BORN, PodRecord
from immutable_operator.instances.pods.form import opened
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import NotFound
from immutable_operator.runtime.inquiry import Inquiry
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.revision import REVISIONS

__all__ = ["Admissions"]

MOST_FORMS = 4096
MOST_TEMPLATES = 256
RETRY = Backoff(5.0, 60.0)

Template = Mapping[str, Any]
Changes = tuple[Change, ...]
K = TypeVar("K")
V = TypeVar("V")
# Owner, namespace, name and uid of a revision whose template is not known.
_Key = tuple[str, str, str, str]


class Admissions:
    """Changes by admission; ``changed`` gets the uid of an owner of which more is known now."""

    def __init__(self, client: KubeClient, changed: Callable[[str], None]) -> None:
        self._client = client
        self._changed = changed
        self._changes: OrderedDict[tuple[str, bytes], Changes] = OrderedDict()
        self._templates: OrderedDict[str, Template] = OrderedDict()
        self._inquiry = Inquiry("template of a revision cannot be read", self._read, retry=RETRY)

    def look(
        self,
        service: OwnerRecord,
        pods: Iterable[PodRecord],
        revisions: Iterable[Revision],
        baselines: Mapping[str, int],
    ) -> Mapping[str, Changes]:
        """Return by uid what admission changed in the pods of which that can be known."""
        if service.spec.admission is OnAdmission.ALLOW:
            return {}
        known = {r.id: r for r in revisions}
        found = {}
        for pod in pods:
            revision = known.get(pod.content.revision)
            if revision is None or not _is_as_born(pod, baselines):
                continue
            changes = self._compared(service, revision, pod.form)
            if changes is not None:
                found[pod.uid] = changes
        return found

    async def run(self) -> None:
        """Read requested templates, a few at a time, forever."""
        await self._inquiry.run()

    def _compared(self, service: OwnerRecord, revision: Revision, form: bytes) -> Changes | None:
        key = (revision.uid, form)
        if (changes := self._changes.get(key)) is None:
            template = self._template(service, revision)
            if template is None:
                return None
            changes = differences(with_snapshots(template, revision.config), opened(form))
        _keep(self._changes, key, changes, MOST_FORMS)
        return changes

    def _template(self, service: OwnerRecord, revision: Revision) -> Template | None:
        wanted = service.spec.template
        if wanted is not None and (template := template_of(revision, wanted)) is not None:
            return template
        if (known := self._templates.get(revision.uid)) is None:
            self._inquiry.want((service.uid, service.namespace, revision.name, revision.uid))
        return known

    async def _read(self, key: _Key) -> float | None:
        owner, namespace, name, uid = key
        path = REVISIONS.item(namespace, name)
        try:
            body = msgspec.json.decode(await self._client.get(path, resource=REVISION_PLURAL))
        except NotFound:
            return None  # the view will show that the record is gone
        if body["metadata"]["uid"] == uid:
            _keep(self._templates, uid, body["spec"].get("template") or {}, MOST_TEMPLATES)
            self._changed(owner)
        return None


def _is_as_born(pod: PodRecord, baselines: Mapping[str, int]) -> bool:
    """Return whether its form shows what admission made of it: no client changed it since."""
    it = pod.content
    touched = it.taint is not None or it.terminating or it.quarantined is not None
    if touched or it.gated or it.edited or not pod.form:
        return False
    return it.generation <= max(BORN, baselines.get(pod.uid, BORN))


def _keep(cache: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > most:
        cache.popitem(last=False)
