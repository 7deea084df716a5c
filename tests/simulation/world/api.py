"""The model API server: requests in, answers in bytes out, as a Kubernetes API server gives them.

What it knows: one resource version, uids, preconditions, generations, status apart from spec,
graceful deletion of pods, evictions under PodDisruptionBudgets, a quota, refusals by admission,
lists in pages, watches (`watching`). Who asks is a name; rights are not checked.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from immutable_operator.kube.errors import error_from
from immutable_operator.kube.times import second
from tests.simulation.world.admission import admit_eviction, admit_node, admit_pod
from tests.simulation.world.clock import VirtualLoop
from tests.simulation.world.fields import applied_status, taken_over
from tests.simulation.world.refusals import (
    Refused,
    already_exists,
    check_metadata,
    check_preconditions,
    check_replacement,
    not_found,
)
from tests.simulation.world.storage import Key, Obj, Storage, encode, merged, partial
from tests.simulation.world.watching import Lag, Stream, matches

__all__ = ["NAMESPACE", "Answer", "ModelApi", "Request"]

NAMESPACE = "shop"
OWNERS = {"immutableservices", "immutablenodepools"}
CUSTOM = {*OWNERS, "immutableactions", "immutablerevisions"}  # with a status
ROUTE = re.compile(
    r"/(?:api/v1|apis/[^/]+/[^/]+)(?:/namespaces/([^/]+))?/([^/]+)(?:/([^/]+))?(?:/([^/]+))?"
)


@dataclass(frozen=True)
class Request:
    """One request as it comes over the wire; ``who`` is the client's name."""

    who: str
    method: str
    path: str
    body: Obj = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    content: str = ""
    meta_only: bool = False

    @functools.cached_property
    def route(self) -> tuple[str, str, str, str]:
        """Namespace, resource, name, subresource; each may be ""."""
        return _route(self.path)

    @property
    def is_write(self) -> bool:
        return self.method != "GET"


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


class ModelApi:
    """One API server. ``quota`` is on pods; ``budgets`` are PodDisruptionBudgets by name.

    ``machines`` is how many more a provider has; None if there is no end to them. ``kinds`` are
    kinds that clients ask for, and their plurals, by group.
    """

    def __init__(self, loop: VirtualLoop, page: int = 500) -> None:
        self.loop = loop
        self.page = page
        self.storage = Storage(loop.time)
        self.quota: int | None = None
        self.machines: int | None = None
        self.budgets: dict[str, Obj] = {}
        self.kinds: dict[str, tuple[str, str]] = {}
        self.unwanted: Callable[[Obj], str | None] = lambda pod: None
        self.streams: list[Stream] = []
        self._tokens = itertools.count()
        self._pages: dict[str, tuple[int, list[Obj]]] = {}
        self.storage.listeners.append(self._spread)

    @property
    def now(self) -> str:
        return _second(int(self.loop.wall))

    def handle(self, request: Request) -> Answer:
        """Answer a request, with whatever it commits."""
        try:
            return Answer(200, self._serve(request))
        except Refused as refused:
            return Answer(refused.code, encode(refused.status))

    def ask(self, who: str, method: str, path: str, body: Obj | None = None, **more: Any) -> Obj:
        """A request of somebody in this world; raises what `kube.errors` says."""
        answer = self.handle(Request(who, method, path, body or {}, **more))
        if answer.status >= 300:
            raise error_from(answer.status, answer.body)
        found: Obj = msgspec.json.decode(answer.body)
        return found

    def watch(self, request: Request, silence: float, lag: Lag) -> Stream:
        """Open a watch; a version that is too old is told in its first line."""
        _, resource, _, _ = request.route
        since = int(request.query.get("resourceVersion", "0"))
        stream = Stream(self.loop, request, resource, silence, lag)
        if since < self.storage.compacted:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
            stream.send(encode({"type": "ERROR", "object": gone}) + b"\n")
            stream.end_soon()
            return stream
        for commit in self.storage.history.get(resource, ()):
            if commit.version > since:
                stream.tell(commit)
        self.streams = [s for s in self.streams if not s.closed]
        self.streams.append(stream)
        stream.begin(lambda: self.storage.version)
        return stream

    def _spread(self, commit: Any) -> None:
        for stream in self.streams:
            if stream.resource == commit.resource and not stream.closed:
                stream.tell(commit)

    def _serve(self, request: Request) -> bytes:
        namespace, resource, name, sub = request.route
        if resource == "selfsubjectreviews":
            return encode({"status": {"userInfo": {"username": "the operator"}}})
        if resource == "discovery":
            return encode(self._discover(request.path))
        if not name:
            if request.method == "GET":
                return self._list(request, namespace, resource)
            return encode(self._create(request, namespace, resource))
        before = self.storage.get(resource, (namespace, name))
        if before is None:
            raise not_found(resource, name)
        match request.method:
            case "GET":
                return encode(before)
            case "POST" if sub == "eviction":
                return encode(self._evict(request, before))
            case "DELETE":
                check_preconditions(request.body.get("preconditions") or {}, resource, before)
                return encode(self.remove(request.who, resource, before, request.body))
            case "PUT" | "PATCH":
                return encode(self._change(request, resource, sub, before))
        raise Refused(405, "MethodNotAllowed", request.method)

    def _discover(self, path: str) -> Obj:
        """What a group or a version of it has: only the kinds in ``kinds``."""
        _, _, group, *version = path.split("/")
        if group not in self.kinds:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        kind, plural = self.kinds[group]
        if version:
            return {"resources": [{"name": plural, "kind": kind}]}
        return {"preferredVersion": {"groupVersion": f"{group}/v1"}}

    def _list(self, request: Request, namespace: str, resource: str) -> bytes:
        query = request.query
        token = query.get("continue", "")
        if token:
            version, items = self._pages.pop(token, (0, []))
            if version < self.storage.compacted:
                raise Refused(410, "Expired", "the continue token is too old; list again")
        else:
            version = self.storage.version
            items = [
                obj
                for obj in self.storage.all(resource)
                if (not namespace or obj["metadata"].get("namespace") == namespace)
                and matches(query.get("labelSelector", ""), obj)
                and query.get("fieldSelector", "") in _fields(obj)
            ]
        limit = min(int(query.get("limit", "0")) or len(items) or 1, self.page)
        rest, token = items[limit:], ""
        if rest:
            token = f"page-{next(self._tokens)}"
            self._pages[token] = version, rest
        shown: Any = [partial(o) if request.meta_only else o for o in items[:limit]]
        meta = {"resourceVersion": str(version), "continue": token}
        return encode({"metadata": meta, "items": shown or (None if request.meta_only else [])})

    def _create(self, request: Request, namespace: str, resource: str) -> Obj:
        body = request.body
        name = body["metadata"]["name"]
        if self.storage.get(resource, (namespace, name)) is not None:
            raise already_exists(resource, name)
        meta = {
            **body["metadata"],
            "uid": self.storage.new_uid(),
            "creationTimestamp": self.now,
            "generation": 1,
        }
        if namespace:
            meta["namespace"] = namespace
        made = {**body, "metadata": meta}
        if resource == "pods":
            admit_pod(made, self.storage.all("pods"), self.quota, self.unwanted)
            made["status"] = {"phase": "Pending", "conditions": []}
            manager = request.query.get("fieldManager", request.who)
            spec = {"f:containers"}
            meta["managedFields"] = taken_over(made, (manager, "Update", ""), spec, self.now)
        elif resource == "nodes":
            admit_node(made, self.machines)
            made["status"] = {"conditions": [], **made["status"]}
        elif resource in CUSTOM:
            made.pop("status", None)
            if resource in OWNERS:
                made["status"] = {"observedGeneration": -1}
                names = {f"f:{key}" for key in made["spec"]}
                meta["managedFields"] = taken_over(
                    made, (request.who, "Update", ""), names, self.now
                )
        return self.storage.commit(request.who, resource, None, made).obj

    def _change(self, request: Request, resource: str, sub: str, before: Obj) -> Obj:
        """PUT, a merge patch, or an apply of a status."""
        body = request.body
        if request.method == "PUT":
            check_replacement(body.get("metadata") or {}, resource, before)
        # The status of a custom resource is written whatever uid is named.
        bound = not (sub == "status" and resource in CUSTOM)
        check_metadata(body.get("metadata") or {}, resource, before, bound=bound)
        manager = request.query.get("fieldManager", request.who)
        if sub == "status":
            after = self._with_status(request, before, manager)
        else:
            changed = body if request.method == "PUT" else merged(before, body)
            kept = {k: before["metadata"][k] for k in ("name", "uid", "creationTimestamp")}
            after = {**changed, "metadata": {**before["metadata"], **changed["metadata"], **kept}}
            if "status" in before:
                after["status"] = before["status"]
            after = self._with_generation(before, after, manager, resource)
        if after == before:
            return before
        meta = after["metadata"]
        waits = "deletionTimestamp" not in meta or meta.get("finalizers") or resource == "pods"
        return self.storage.commit(request.who, resource, before, after if waits else None).obj

    def _with_status(self, request: Request, before: Obj, manager: str) -> Obj:
        status: Obj = request.body.get("status") or {}
        if "apply" in request.content:
            return applied_status(before, status, manager, self.now)
        after = {**before, "status": merged(before.get("status") or {}, status)}
        names = {f"f:{k}" for k in status}
        kept = taken_over(before, (manager, "Update", "status"), names, self.now)
        gone = {f"f:{k}" for k, v in status.items() if v is None}
        for entry in kept:
            if entry.get("subresource") == "status":
                left: Obj = {n: {} for n in entry["fieldsV1"]["f:status"] if n not in gone}
                entry["fieldsV1"] = {"f:status": left}
        kept = [e for e in kept if any(e["fieldsV1"].values())]
        return {**after, "metadata": {**before["metadata"], "managedFields": kept}}

    def _with_generation(self, before: Obj, after: Obj, manager: str, resource: str) -> Obj:
        old, new = before.get("spec") or {}, after.get("spec") or {}
        if old == new or resource == "leases":
            return after
        names = {f"f:{k}" for k in {*old, *new} if old.get(k) != new.get(k)}
        if resource == "pods":
            names = {"f:containers"}
        meta = {
            **after["metadata"],
            "generation": before["metadata"]["generation"] + 1,
            "managedFields": taken_over(before, (manager, "Update", ""), names, self.now),
        }
        return {**after, "metadata": meta}

    def _evict(self, request: Request, pod: Obj) -> Obj:
        options = request.body.get("deleteOptions") or {}
        preconditions = options.get("preconditions") or {}
        if not pod["metadata"].get("deletionTimestamp"):
            admit_eviction(pod, self.storage.all("pods"), self.budgets)
        check_preconditions(preconditions, "pods", pod)
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastTransitionTime": self.now,
        }
        self.remove(request.who, "pods", pod, options, condition)
        return {"kind": "Status", "status": "Success", "metadata": {}}

    def remove(
        self, who: str, resource: str, obj: Obj, options: Obj, condition: Obj | None = None
    ) -> Obj:
        """Delete; a pod that runs is marked, and goes when its kubelet says so."""
        grace = options.get("gracePeriodSeconds")
        if resource == "pods" and grace != 0:
            if obj["metadata"].get("deletionTimestamp"):
                return obj
            ended = obj["status"]["phase"] in ("Failed", "Succeeded")
            if obj["spec"].get("nodeName") and not ended:
                grace = obj["spec"].get("terminationGracePeriodSeconds", 30)
                meta = {**obj["metadata"], "deletionTimestamp": second(self.loop.wall + grace)}
                status = obj["status"]
                if condition is not None:
                    conditions = [*status["conditions"], condition]
                    status = {**status, "conditions": conditions}
                after = {**obj, "metadata": meta, "status": status}
                return self.storage.commit(who, resource, obj, after).obj
        if obj["metadata"].get("finalizers"):
            if obj["metadata"].get("deletionTimestamp"):
                return obj
            meta = {**obj["metadata"], "deletionTimestamp": self.now}
            return self.storage.commit(who, resource, obj, {**obj, "metadata": meta}).obj
        return self.storage.commit(who, resource, obj, None).obj

    def put_status(self, who: str, key: Key, status: Obj, spec: Obj | None = None) -> None:
        """What a kubelet, a scheduler or a controller says of a pod."""
        before = self.storage.get("pods", key)
        assert before is not None
        after = {**before, "status": {**before["status"], **status}}
        if spec is not None:
            after["spec"] = {**before["spec"], **spec}
        if after != before:
            self.storage.commit(who, "pods", before, after)


_second = functools.lru_cache(maxsize=16)(second)


@functools.lru_cache(maxsize=1000)
def _route(path: str) -> tuple[str, str, str, str]:
    found = ROUTE.fullmatch(path)
    if found is None and path.startswith("/apis/"):
        return "", "discovery", "", ""
    assert found, path
    namespace, resource, name, sub = (part or "" for part in found.groups())
    return namespace, resource, name, sub


def _fields(obj: Obj) -> tuple[str, ...]:
    """The field selectors that select an object."""
    about = (obj.get("involvedObject") or {}).get("uid")
    return "", f"metadata.name={obj['metadata']['name']}", f"involvedObject.uid={about}"


def _name(obj: Obj) -> str:
    name: str = obj["metadata"]["name"]
    return name
