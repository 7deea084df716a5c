"""The model API server of the simulation refuses as the real one: the same writes to both."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from immutable_operator.kube import client as client_module
from immutable_operator.kube.errors import ApiError, error_from
from tests.cluster.denying import denied_by_webhook
from tests.cluster.operator_process import Installation
from tests.cluster.refusing import (
    NODES,
    Bed,
    Write,
    config_map,
    deletion,
    evict,
    in_namespace,
    items,
    metadata,
    pod,
    record,
    refusal,
    stale,
    until_denied,
    verdict,
)
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.namespaces import fresh_namespace
from tests.simulation.world.api import ModelApi, Request
from tests.simulation.world.clock import VirtualLoop
from tests.waiting import wait_for

OTHER, OLD = "11111111-1111-1111-1111-111111111111", "1"
VERBS = {"create": "POST", "delete": "DELETE", "patch": "PATCH", "apply": "PATCH", "update": "PUT"}
# What is another on each cluster: uids, versions, names of webhooks.
OWN = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|record \(\d+\)|webhook '[^']+'")
NODE = f"{NODES}/node-0"
Made = Callable[[Bed], Write]


@dataclass(frozen=True)
class Both:
    """A real API server and the model of one, with the same objects."""

    bed: Bed
    model: ModelApi
    bodies: list[bytes]

    def compare(self, write: Write) -> Json:
        """The Status that both answer with."""
        self.bodies.clear()
        refusal(self.bed.operator if "immutable.dev" in write.path else self._admin, write)
        real, model = json.loads(self.bodies[-1]), self.answer_of_model(write)
        assert _alike(model) == _alike(real)
        return model

    def answer_of_model(self, write: Write) -> Json:
        content = "application/apply-patch+yaml" if write.verb == "apply" else ""
        verb = VERBS[write.verb]
        answer = self.model.handle(Request("us", verb, write.path, write.body, content=content))
        assert answer.status >= 400, f"the model accepts it: {write}"
        status: Json = json.loads(answer.body)
        assert status["code"] == answer.status
        return status

    @property
    def _admin(self) -> Path:
        return self.bed.plane.kubeconfig()


def _alike(status: Json) -> Json:
    """Without what differs; the real one tells some causes twice."""
    found: Json = json.loads(OWN.sub("its own", json.dumps(status).replace('\\"', "'")))
    if causes := found.get("details", {}).get("causes"):
        found["details"]["causes"] = [c for i, c in enumerate(causes) if c not in causes[:i]]
    return found


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies of all refusals, as they came."""
    seen: list[bytes] = []

    def read(status: int, body: bytes, retry_after: str | None = None) -> ApiError:
        seen.append(body)
        return error_from(status, body, retry_after)

    monkeypatch.setattr(client_module, "error_from", read)
    return seen


@pytest.fixture(scope="module")
def bed(control_plane: ControlPlane, installation: Installation, module_namespace: str) -> Bed:
    return Bed.made(control_plane, module_namespace)


@pytest.fixture
def both(bed: Bed, bodies: list[bytes]) -> Iterator[Both]:
    yield from _both(bed, bodies)


@pytest.fixture
def apart(
    control_plane: ControlPlane, installation: Installation, namespace: str, bodies: list[bytes]
) -> Iterator[Both]:
    """In a namespace of its own, for what is refused of every pod."""
    with fresh_namespace(control_plane) as namespace:
        yield from _both(Bed.made(control_plane, namespace), bodies)


def _both(bed: Bed, bodies: list[bytes]) -> Iterator[Both]:
    loop = VirtualLoop()
    yield Both(bed, _model(loop, bed), bodies)
    loop.close()


def _model(loop: VirtualLoop, bed: Bed) -> ModelApi:
    model = ModelApi(loop)
    node = {"metadata": {"name": "node-0"}, "spec": {}, "status": {"nodeInfo": {"osImage": "a"}}}
    for path, body in (
        (bed.pods, pod()),
        (bed.config_maps, config_map("c")),
        (bed.records, record()),
        (NODES, node),
    ):
        model.ask("us", "POST", path, body)
    ready = [{"type": "Ready", "status": "True"}]
    status = {"phase": "Running", "conditions": ready}
    model.put_status("kubelet", (bed.namespace, "w"), status, {"nodeName": "node-0"})
    return model


WRITES: dict[str, Made] = {
    "name of a pod": lambda b: Write("create", b.pods, pod()),
    "name of a node": lambda b: Write("create", NODES, {"metadata": {"name": "node-0"}}),
    "name of a record": lambda b: Write("create", b.records, record()),
    "name of a copy": lambda b: Write("create", b.config_maps, config_map("c")),
    "no pod to evict": lambda b: evict(b.namespace, "gone", uid=OTHER),
    "no pod to delete": lambda b: deletion(items(b.namespace, "gone"), uid=OTHER),
    "no pod to patch": lambda b: Write("patch", items(b.namespace, "gone"), metadata()),
    "no node": lambda b: Write("patch", f"{NODES}/gone", metadata()),
    "no record": lambda b: deletion(f"{b.records}/gone", uid=OTHER),
    "uid, evicted": lambda b: evict(b.namespace, "w", uid=OTHER),
    "uid, deleted": lambda b: deletion(b.pod, uid=OTHER),
    "version, deleted": lambda b: deletion(b.pod, resourceVersion=OLD),
    "uid and version, deleted": lambda b: deletion(b.pod, uid=OTHER, resourceVersion=OLD),
    "uid of a node, deleted": lambda b: deletion(NODE, uid=OTHER),
    "uid of a record, deleted": lambda b: deletion(f"{b.records}/probe-im00000000", uid=OTHER),
    "uid, patched": lambda b: Write("patch", b.pod, metadata(uid=OTHER)),
    "uid of a node, patched": lambda b: Write("patch", NODE, metadata(uid=OTHER)),
    "version, patched": lambda b: Write("patch", b.pod, metadata(resourceVersion=OLD)),
    "version and uid, patched": lambda b: Write(
        "patch", NODE, metadata(uid=OTHER, resourceVersion=OLD)
    ),
    "version, updated": lambda b: _update(b, resourceVersion=OLD),
    "uid, updated": lambda b: _update(b, uid=OTHER),
    "uid and version, updated": lambda b: _update(b, uid=OTHER, resourceVersion=OLD),
    "version of a status, applied": lambda b: verdict(b, resourceVersion=OLD),
}


def _update(bed: Bed, **meta: str) -> Write:
    return Write("update", f"{bed.config_maps}/c", stale(**meta))


@pytest.mark.parametrize("what", WRITES)
def test_model_refuses_in_the_same_words(both: Both, what: str) -> None:
    both.compare(WRITES[what](both.bed))


def test_status_of_a_custom_resource_is_bound_to_no_uid(both: Both) -> None:
    """Neither refuses it: what must not be written to a successor needs the resource version."""
    write = verdict(both.bed, uid=OTHER)
    with pytest.raises(pytest.fail.Exception, match="accepted"):
        refusal(both.bed.operator, write)
    with pytest.raises(AssertionError, match="accepts"):
        both.answer_of_model(write)


def test_model_tells_a_quota_in_the_same_words(apart: Both) -> None:
    apart.model.quota = 1
    quotas = in_namespace(apart.bed.namespace, "resourcequotas")
    body = {"metadata": {"name": "pods"}, "spec": {"hard": {"pods": "1"}}}
    apart.bed.plane.api().request("POST", quotas, body)
    words = "exceeded quota: pods, requested: pods=1, used: pods=1"
    until_denied(apart.bed.plane, apart.bed.pods, pod("new"), words)
    apart.compare(Write("create", apart.bed.pods, pod("new")))


def test_model_tells_budgets_in_the_same_words(apart: Both) -> None:
    api, namespace = apart.bed.plane.api(), apart.bed.namespace
    budgets = in_namespace(namespace, "poddisruptionbudgets", "apis/policy/v1")
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "w"}}}

    def add(name: str) -> None:
        api.request("POST", budgets, {"metadata": {"name": name}, "spec": spec})
        path = f"{budgets}/{name}"
        wait_for("the budget is counted", lambda: api.get(path)["status"].get("currentHealthy"))
        apart.model.budgets[name] = {"labels": {"app": "w"}, "minAvailable": 1}

    add("keep")
    apart.compare(evict(namespace, "w"))
    apart.compare(evict(namespace, "w", uid=OTHER))
    add("second")
    apart.compare(evict(namespace, "w"))


def test_model_tells_a_webhook_in_the_same_words(apart: Both) -> None:
    """That of a provider of machines, in the model; here it is one of pods."""
    apart.model.machines = 0
    node = {"metadata": {"name": "new"}, "status": {"nodeInfo": {"osImage": "a"}}}
    model = apart.answer_of_model(Write("create", NODES, node))
    said = model["message"].partition("denied the request: ")[2]
    answers = {"new": {"code": 403, "reason": "Forbidden", "message": said}}
    plane, path = apart.bed.plane, apart.bed.pods
    with denied_by_webhook(plane, apart.bed.namespace, answers):
        until_denied(plane, path, pod("new"), said)
        refusal(plane.kubeconfig(), Write("create", path, pod("new")))
    assert _alike(model) == _alike(json.loads(apart.bodies[-1]))


def test_model_tells_an_invalid_pod_in_the_same_form(both: Both) -> None:
    """What is not valid is another thing for each: a letter of the simulation, a field here."""
    both.model.unwanted = lambda pod: "spec.restartPolicy: no"
    model = both.answer_of_model(Write("create", both.bed.pods, pod("new")))
    refusal(
        both.bed.plane.kubeconfig(),
        Write("create", both.bed.pods, pod("new", restartPolicy="Rarely")),
    )
    real = json.loads(both.bodies[-1])
    for status in (model, real):
        [cause] = status["details"].pop("causes")
        assert cause["field"] == "spec.restartPolicy"
        assert cause.keys() == {"reason", "message", "field"}
        told = f'Pod "new" is invalid: spec.restartPolicy: {cause["message"]}'
        assert status.pop("message") == told
    assert model == real
