"""The driver of pods against an API server's answers: done, refused or unknown."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from immutable_operator.api.names import (
    ANNOTATION_QUARANTINED,
    LABEL_REVISION,
    LABEL_SERVICE,
    QUARANTINED_SUFFIX,
)
from immutable_operator.domain.config.admission import differences
from immutable_operator.domain.model import (
    Because,
    Cause,
    Change,
    ChangeKind,
    Create,
    Move,
    Quarantine,
    Reason,
    Retire,
)
from immutable_operator.instances.driver import Refused, Seen, Unknown
from immutable_operator.instances.pods.codec import decode_pod, pod_body
from immutable_operator.instances.pods.driver import PodDriver
from immutable_operator.instances.pods.form import opened
from immutable_operator.instances.pods.watched import Pods
from immutable_operator.kube.client import KubeClient
from immutable_operator.runtime.memory import OwnerMemory
from immutable_operator.wire.revision import owner_reference
from tests.wire.scripted import CUT, SERVICE, Answer, Script, refusal

PODS = "/api/v1/namespaces/shop/pods"
POD = f"{PODS}/web-a"
EVICTION = f"{POD}/eviction"
BIRTH = Create("web-a", "0a1b2c3d", 0, 1, None, Because(Reason.CREATED, "it is wanted"))
TEMPLATE = {
    "metadata": {"labels": {"app": "web", "tier": "x"}},
    "spec": {"containers": [{"name": "web", "image": "x"}]},
}
EXISTS = refusal(409, 'pods "web-a" already exists')
GONE = refusal(404, 'pods "web-a" not found', kind="pods", name="web-a")
BUDGET = "The disruption budget web needs 3 healthy pods and has 3 currently"
TWO_BUDGETS = (
    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not"
    " support."
)
STORE = "etcdserver: request timed out"
WEBHOOK = (
    'Internal error occurred: failed calling webhook "w.example.com": failed to call webhook:'
    " the server could not find the requested resource"
)
DONE: dict[str, Any] = {"kind": "Status", "status": "Success"}


def pod(
    *,
    version: int = 7,
    owner: str = "s1",
    revision: str = "0a1b2c3d",
    ready: bool = False,
    **meta: Any,
) -> dict[str, Any]:
    reference = owner_reference(SERVICE) | {"uid": owner}
    conditions = [
        {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:00:00Z"}
    ]
    return {
        "metadata": {
            "name": "web-a",
            "namespace": "shop",
            "uid": "u1",
            "resourceVersion": str(version),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {LABEL_SERVICE: "web", LABEL_REVISION: revision, "app": "web", "tier": "x"},
            "ownerReferences": [reference],
            **meta,
        },
        "spec": {"containers": [{"name": "web", "image": "x"}]},
        "status": {"phase": "Running", "conditions": conditions},
    }


def view(*pods: dict[str, Any]) -> Pods:
    known = Pods(lambda owner: None, lambda record: None)
    known.replace([decode_pod(msgspec.json.encode(each)) for each in pods], 1)
    return known


def carried_out(
    script: Script, move: Create | Retire | Quarantine, known: Pods | None = None
) -> Seen:
    pods = view() if known is None else known

    async def story(client: KubeClient) -> Seen:
        driver = PodDriver(client, pods, lambda: 1_700_000_000.0)
        match move:
            case Create():
                return await driver.create(SERVICE, TEMPLATE, move)
            case _:
                return await driver.write(SERVICE, move)

    return script.run(story)


def refused(
    script: Script, move: Create | Retire | Quarantine, known: Pods | None = None
) -> Refused:
    with pytest.raises(Refused) as caught:
        carried_out(script, move, known)
    return caught.value


def heard(pods: Pods, body: dict[str, Any]) -> None:
    pods.upsert(decode_pod(msgspec.json.encode(body)), int(body["metadata"]["resourceVersion"]))


# Births.


def test_birth_is_seen_when_the_view_has_the_pod_or_a_later_version() -> None:
    script, pods = Script(pod(version=7)), view()
    seen = carried_out(script, BIRTH, pods)
    assert script.lines == [f"POST {PODS}"]
    body = script.asked[0].body
    assert body["metadata"]["name"] == "web-a"
    assert body["metadata"]["labels"][LABEL_REVISION] == "0a1b2c3d"
    assert body["metadata"]["ownerReferences"] == [owner_reference(SERVICE)]
    assert not seen()
    pods.advance(6)
    assert not seen()
    pods.advance(7)
    assert seen()
    pods = view()
    seen = carried_out(Script(pod(version=7)), BIRTH, pods)
    heard(pods, pod(version=3))
    assert seen()


PROXY = {"name": "web", "image": "x", "env": [{"name": "HTTP_PROXY", "value": "1"}]}
ADDED = (Change("spec.containers[web].env", ChangeKind.ADDED, "0" * 16),)


def changed_pod() -> dict[str, Any]:
    return {**pod(), "spec": {"containers": [PROXY]}}


def test_birth_that_admission_changed_is_refused_if_that_is_not_let_in() -> None:
    said = refused(Script(changed_pod()), replace(BIRTH, admits=()))
    assert said.cause is Cause.CHANGED
    assert "pod web-a: spec.containers[web].env[HTTP_PROXY] added" in said.message
    assert "immutability.acceptedChanges" in said.message
    # So is one with another change than the one that is let in, and one that is there already.
    assert refused(Script(changed_pod()), replace(BIRTH, admits=ADDED)).cause is Cause.CHANGED
    existing = Script(EXISTS, changed_pod())
    assert refused(existing, replace(BIRTH, admits=())).cause is Cause.CHANGED


def test_birth_that_admission_changed_is_done_where_that_is_let_in() -> None:
    script = Script(changed_pod())
    carried_out(script, BIRTH)
    assert script.lines == [f"POST {PODS}"]
    body = pod_body(SERVICE, TEMPLATE, BIRTH)
    usual = differences(body, opened(decode_pod(msgspec.json.encode(changed_pod())).form))
    carried_out(Script(changed_pod()), replace(BIRTH, admits=usual))


def test_birth_as_asked_for_is_done_whatever_is_let_in() -> None:
    for admits in ((), ADDED):
        carried_out(Script(pod()), replace(BIRTH, admits=admits))


def test_existing_pod_of_the_same_birth_counts_as_created() -> None:
    """The first answer was lost, or another replica was faster."""
    script, pods = Script(EXISTS, pod(version=9)), view()
    seen = carried_out(script, BIRTH, pods)
    assert script.lines == [f"POST {PODS}", f"GET {POD}"]
    assert not seen()
    pods.advance(9)
    assert seen()


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(pod(owner="s2"), id="of another service"),
        pytest.param(pod(owner="s2", labels={}), id="of another service, without labels"),
        pytest.param(pod(ownerReferences=[]), id="no owner"),
        pytest.param(
            pod(ownerReferences=[owner_reference(SERVICE) | {"controller": False}]),
            id="not controlled by this service",
        ),
        pytest.param(pod(revision="ffffffff"), id="of another revision"),
        pytest.param(pod(labels={LABEL_SERVICE: "web"}), id="without a revision"),
    ],
)
def test_another_pod_has_taken_the_name(found: dict[str, Any]) -> None:
    said = refused(Script(EXISTS, found), BIRTH)
    assert said.cause is Cause.NAME_TAKEN
    assert "web-a" in said.message


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"creationTimestamp": "never"}, id="born at no time"),
        pytest.param({"annotations": {"x": None}}, id="with a null"),
    ],
)
def test_malformed_foreign_pod_has_taken_the_name(odd: dict[str, Any]) -> None:
    said = refused(Script(EXISTS, pod(owner="s2", **odd)), BIRTH)
    assert said.cause is Cause.NAME_TAKEN


def test_birth_is_retried_when_the_name_becomes_free() -> None:
    said = refused(Script(EXISTS, GONE), BIRTH)
    assert said.cause is Cause.API_SERVER


@pytest.mark.parametrize(
    "look",
    [
        pytest.param(CUT, id="no answer"),
        pytest.param(refusal(500, STORE), id="its store does not answer"),
    ],
)
def test_unreadable_existing_pod_leaves_the_birth_unknown(look: Answer) -> None:
    with pytest.raises(Unknown):
        carried_out(Script(EXISTS, look), BIRTH)


# What an answer means, whatever the move.

RETIRE = Retire("web-a", "u1", Because(Reason.SCALED, "it is not wanted"))
WILL = Retire("web-a", "u1", Because(Reason.SCALED, "it is not wanted"), by_will=True)
UNREADY = Retire("web-a", "u1", Because(Reason.OUTDATED, "it is old"), while_unready=True)
QUARANTINE = Quarantine("web-a", "u1", Because(Reason.TAINTED, "exec by jane"))
MOVES = [BIRTH, RETIRE, WILL, UNREADY, QUARANTINE]
Moved = Create | Retire | Quarantine
each_move = pytest.mark.parametrize(
    "move", MOVES, ids=["birth", "eviction", "deletion", "deletion of unready", "quarantine"]
)


def before(move: Moved) -> list[dict[str, Any]]:
    """What is asked before the write."""
    return [pod()] if isinstance(move, Quarantine) else []


@each_move
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(CUT, id="none"),
        pytest.param(refusal(500, STORE), id="its store was slow"),
        pytest.param(refusal(503, "etcdserver: leader changed"), id="its store was away"),
        pytest.param(refusal(504, "Timeout: request did not complete"), id="it was slow"),
        pytest.param((200, "proxy", {}), id="no object"),
    ],
)
def test_pod_write_without_an_answer_has_an_unknown_result(move: Moved, answer: Answer) -> None:
    with pytest.raises(Unknown):
        carried_out(Script(*before(move), answer), move, view(pod()))


@each_move
def test_unreachable_webhook_refuses_the_write(move: Moved) -> None:
    refused(Script(*before(move), refusal(500, WEBHOOK)), move, view(pod()))


@each_move
def test_retry_after_of_a_pod_write_is_kept(move: Moved) -> None:
    busy = refusal(429, "Too many requests, please try again later.", retry_after="17")
    said = refused(Script(*before(move), busy), move, view(pod()))
    assert (said.cause, said.retry_after) == (Cause.API_SERVER, 17.0)
    memory = OwnerMemory()
    noted = memory.refusals.note(Move.RETIRE, "web-a", None, said, 100.0)
    assert noted.retry_at == 117.0


@pytest.mark.parametrize("move", [RETIRE, WILL, UNREADY, QUARANTINE])
def test_pod_with_another_uid_is_not_modified(move: Moved) -> None:
    """The uid of the request is not that of the pod: 409, and the view shows the pod."""
    other = refusal(409, "the UID in the precondition (u1) does not match the UID in record (u2)")
    said = refused(Script(*before(move), other), move, view(pod()))
    assert said.cause is Cause.API_SERVER


# Retirements.


def test_retirement_is_an_eviction_with_the_uid() -> None:
    script, pods = Script(DONE), view(pod(ready=True))
    seen = carried_out(script, RETIRE, pods)
    [asked] = script.asked
    assert asked.line == f"POST {EVICTION}"
    assert asked.body["kind"] == "Eviction"
    assert asked.body["deleteOptions"]["preconditions"] == {"uid": "u1"}
    assert not seen()
    pods.advance(1_000)
    assert not seen(), "an eviction has no version"
    heard(pods, pod(version=8, deletionTimestamp="2026-01-01T00:00:00Z"))
    assert seen()


@pytest.mark.parametrize("move", [RETIRE, WILL, UNREADY])
def test_deleted_pod_counts_as_retired_when_the_view_lacks_it(move: Retire) -> None:
    pods = view(pod())
    seen = carried_out(Script(GONE), move, pods)
    assert not seen()
    pods.replace([], 9)
    assert seen()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            refusal(
                429,
                "Cannot evict pod as it would violate the pod's disruption budget.",
                causes=[{"reason": "DisruptionBudget", "message": BUDGET}],
            ),
            id="one that is spent",
        ),
        pytest.param(refusal(500, TWO_BUDGETS), id="two of them"),
    ],
)
def test_disruption_budget_refuses_an_eviction(answer: Answer) -> None:
    said = refused(Script(answer), RETIRE, view(pod(ready=True)))
    assert said.cause is Cause.DISRUPTION_BUDGET


def test_scale_down_deletes_the_known_version_of_a_pod() -> None:
    script = Script(DONE)
    carried_out(script, WILL, view(pod(version=7, ready=True)))
    [asked] = script.asked
    assert asked.line == f"DELETE {POD}"
    assert asked.body["preconditions"] == {"uid": "u1", "resourceVersion": "7"}
    assert "gracePeriodSeconds" not in asked.body


def test_unready_pod_is_deleted_unless_ready_since() -> None:
    script = Script(DONE)
    carried_out(script, UNREADY, view(pod(version=7)))
    [asked] = script.asked
    assert asked.line == f"DELETE {POD}"
    assert asked.body["preconditions"] == {"uid": "u1", "resourceVersion": "7"}
    script, pods = Script(DONE), view(pod(version=7))
    heard(pods, pod(version=8, ready=True))
    carried_out(script, UNREADY, pods)
    assert script.lines == [f"POST {EVICTION}"], "now a budget counts on it"


@pytest.mark.parametrize("move", [WILL, UNREADY])
def test_pod_missing_from_the_view_is_not_deleted(move: Retire) -> None:
    script = Script()
    assert carried_out(script, move)()
    assert script.asked == []


# Quarantine.


def test_quarantine_removes_all_labels_but_the_operators_with_the_uid() -> None:
    script, pods = Script(pod(), pod(version=12)), view(pod())
    seen = carried_out(script, QUARANTINE, pods)
    assert script.lines == [f"GET {POD}", f"PATCH {POD}"]
    patch = script.asked[1]
    assert patch.form == "application/merge-patch+json"
    meta = patch.body["metadata"]
    assert meta["uid"] == "u1"
    assert meta["labels"] == {
        "app": None,
        "tier": None,
        LABEL_SERVICE: "web" + QUARANTINED_SUFFIX,
    }
    mark = json.loads(meta["annotations"][ANNOTATION_QUARANTINED])
    assert mark["labels"] == {"app": "web", "tier": "x"}
    assert not seen()
    pods.advance(12)
    assert seen()


@pytest.mark.parametrize("answers", [(GONE,), (pod(), GONE)])
def test_deleted_pod_needs_no_quarantine(answers: tuple[Any, ...]) -> None:
    pods = view(pod())
    seen = carried_out(Script(*answers), QUARANTINE, pods)
    assert not seen()
    pods.replace([], 9)
    assert seen()
