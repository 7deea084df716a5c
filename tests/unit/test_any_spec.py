"""Whatever the schema of a kind allows is read, planned and written without an exception.

The API server refuses some of it by rules in CEL; the operator must not depend on that, because
another version of the definitions may have let it pass. ``HYPOTHESIS_EXAMPLES=10000`` searches
longer; tests/cluster/test_any_spec.py shows it with a real API server.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from immutable_operator.api.action import ACTION
from immutable_operator.api.freeze import FREEZE
from immutable_operator.api.nodepool import POOL as POOL_KIND
from immutable_operator.api.service import SERVICE as SERVICE_KIND
from immutable_operator.domain.families.nodes import NODES
from immutable_operator.domain.families.pods import PODS
from immutable_operator.domain.forecast import forecast
from immutable_operator.domain.foreseen import Assumed
from immutable_operator.domain.model import ABSENT, Because, Create, Policy, Reason, Source, View
from immutable_operator.instances.nodes.simulated import node_body
from immutable_operator.instances.pods.codec import decode_pod, pod_body
from immutable_operator.instances.pods.form import opened
from immutable_operator.kube.reading import READ_ERRORS
from immutable_operator.wire.action import decode_action
from immutable_operator.wire.freeze import decode_freeze
from immutable_operator.wire.owner import POOL, SERVICE, OwnerKind, OwnerRecord
from immutable_operator.wire.revision import decode_revision, revision_body
from immutable_operator.wire.status import status_body, stored_status
from tests.unit.any_spec import any_spec
from tests.unit.examples import examples
from tests.unit.given import NOW
from tests.unit.service_specs import spec as good_spec

Json = dict[str, Any]

# Of a forecast: what is odd about a spec shows at its begin, and a year of short lives is long.
SHORT = {"MOST_PLANS": 30, "MOST_WORK": 3000}
any_example = settings(
    max_examples=examples(80),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module", autouse=True)
def short_forecasts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for limit, value in SHORT.items():
            patch.setattr(f"immutable_operator.domain.forecast.{limit}", value)
        yield


META = {
    "name": "web",
    "namespace": "shop",
    "uid": "u",
    "resourceVersion": "5",
    "generation": 1,
    "creationTimestamp": "2027-01-15T08:00:00Z",
}
FAMILIES = {SERVICE.word: PODS, POOL.word: NODES}
EVERY_REASON = {"Ready", "Reconciling", "Stalled"}


def owner(kind: OwnerKind, spec: Json) -> OwnerRecord:
    return OwnerRecord.of({"metadata": META, "spec": spec}, kind, "immutable-system")


def view(record: OwnerRecord) -> View:
    return View(
        name=record.name,
        namespace=record.namespace,
        uid=record.uid,
        generation=record.generation,
        spec=record.spec,
        invalid=record.invalid,
        configs={key: Source(ABSENT) for key in record.spec.pinned},
    )


def check_owner(kind: OwnerKind, spec: Json) -> None:
    """Read, plan to the end, and write all that is written for an owner with this spec."""
    record = owner(kind, spec)
    seen = view(record)
    found = forecast(seen, NOW, FAMILIES[kind.word], Assumed(), Policy())
    conditions = {c.type: c for c in found.status.conditions}
    assert conditions.keys() >= EVERY_REASON
    assert all(conditions[kind].reason and conditions[kind].message for kind in EVERY_REASON)
    status = found.status
    told = [*(c.message for c in status.conditions), *(b.message for b in status.blockers)]
    for problem in (record.invalid or "", *record.spec.problems):
        assert any(problem in message for message in told), problem
    body = {"metadata": META, "status": status_body(record, found.status)["status"]}
    again = stored_status(OwnerRecord.of(msgspec.to_builtins(body), kind, "home"))
    assert [c.type for c in again.conditions] == [c.type for c in found.status.conditions]
    if found.revision is not None and record.spec.template is not None:
        recorded = revision_body(record, record.spec.template, found.revision)
        recorded["metadata"]["uid"] = "r"
        assert decode_revision(msgspec.json.encode(recorded)).content.hash == found.revision.hash


def birth(revision: str) -> Create:
    return Create(
        "web-im12345678-abcde", revision, 0, 0, None, Because(Reason.CREATED, "the service is new")
    )


@any_example
@given(any_spec(SERVICE_KIND))
def test_any_service_is_planned(spec: Json) -> None:
    check_owner(SERVICE, spec)


@any_example
@given(any_spec(POOL_KIND))
def test_any_pool_is_planned(spec: Json) -> None:
    check_owner(POOL, spec)


@any_example
@given(any_spec(SERVICE_KIND))
def test_pod_of_any_template_is_written_and_read(spec: Json) -> None:
    record = owner(SERVICE, spec)
    if record.spec.template is None:
        return
    body = pod_body(record, record.spec.template, birth("12345678"))
    body["metadata"] |= {"uid": "p", "resourceVersion": "7", "generation": 1}
    body["metadata"]["creationTimestamp"] = META["creationTimestamp"]
    try:
        pod = decode_pod(msgspec.json.encode(body))
    except READ_ERRORS:
        return  # the API server stores no such pod
    assert pod.content.revision == "12345678"
    if pod.form:
        opened(pod.form)


@any_example
@given(any_spec(POOL_KIND))
def test_node_of_any_template_is_written(spec: Json) -> None:
    record = owner(POOL, spec)
    if record.spec.template is not None:
        msgspec.json.encode(node_body(record, record.spec.template, birth("12345678")))


@any_example
@given(any_spec(ACTION))
def test_any_action_is_read(spec: Json) -> None:
    found = decode_action(msgspec.json.encode({"metadata": META, "spec": spec}))
    assert found.content.command == spec["type"]


@any_example
@given(any_spec(FREEZE))
def test_any_freeze_is_read_and_says_what_it_does(spec: Json) -> None:
    found = decode_freeze(msgspec.json.encode({"metadata": META, "spec": spec}))
    assert found.content.reason
    seen = replace(view(owner(SERVICE, good_spec())), freezes=(found.content,))
    assert forecast(seen, NOW, PODS, Assumed(), Policy()).status.conditions
