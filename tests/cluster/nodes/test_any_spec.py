"""Whatever spec the API server accepts: it converges, or says why not; the operator never stumbles.

Specs are drawn from the schemas of the definitions (tests/unit/any_spec.py), and the API server
refuses some of them. A failing run prints its seed: ``SEED=7 SPECS=200 pytest <this file>``.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from immutable_operator.api.action import ACTION
from immutable_operator.api.freeze import FREEZE
from immutable_operator.api.kind import Kind
from immutable_operator.api.names import API_VERSION
from immutable_operator.api.nodepool import POOL
from immutable_operator.api.service import SERVICE
from tests.cluster.node_pools import Pool
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.services import condition
from tests.controlplane import ControlPlane
from tests.controlplane.api import ApiError, Json
from tests.unit.any_spec import any_spec, drawn
from tests.waiting import wait_for

# The same specs in each run of `make test`; a search with more specs has others each time.
SEARCHED = random.SystemRandom().randrange(2**31) if os.environ.get("SPECS") else 4711
SEED = int(os.environ.get("SEED") or SEARCHED)
SPECS = int(os.environ.get("SPECS") or 16)
SETTLED_SECONDS = 90.0
MOST = 3
# Whatever does not become ready fails within seconds, not after ten minutes.
SHORT = {"progressDeadlineSeconds": 8, "bakeSeconds": 1}


@dataclass
class Drawn:
    """Objects of one kind with drawn specs; ``accepted`` are the names of those that exist."""

    plane: ControlPlane
    kind: Kind
    namespace: str
    prefix: str

    def __post_init__(self) -> None:
        self.specs: dict[str, Json] = {}
        self.refused: list[str] = []

    @property
    def collection(self) -> str:
        where = f"namespaces/{self.namespace}/" if self.kind.scope == "Namespaced" else ""
        return f"/apis/{API_VERSION}/{where}{self.kind.plural}"

    def create(self, change: Callable[[Json, random.Random], Json], count: int = SPECS) -> None:
        chance = random.Random(SEED)
        for number, spec in enumerate(drawn(any_spec(self.kind), count, SEED)):
            name, spec = f"{self.prefix}{number}", change(spec, chance)
            body = {"apiVersion": API_VERSION, "kind": self.kind.name, "spec": spec}
            try:
                made = self.plane.api().request(
                    "POST", self.collection, {**body, "metadata": {"name": name}}
                )
            except ApiError as error:
                if error.status not in (400, 422):
                    raise
                self.refused.append(f"{error}")
                continue
            self.specs[name] = made["spec"]
        told = "\n".join(self.refused)
        assert len(self.specs) >= count / 8, f"seed {SEED}: almost all are refused:\n{told}"

    def objects(self) -> dict[str, Json]:
        items = self.plane.api().get(self.collection)["items"]
        found = {item["metadata"]["name"]: item for item in items}
        return {name: found[name] for name in self.specs if name in found}

    def until_all(self, what: str, check: Callable[[Json], bool]) -> None:
        """Until each of them was seen so at some time: some change for ever."""
        waiting = set(self.specs)

        def seen() -> bool:
            waiting.difference_update(n for n, item in self.objects().items() if check(item))
            return not waiting

        def rest() -> str:
            found = self.objects()
            return f"seed {SEED}:\n" + "\n".join(json.dumps(found.get(n)) for n in sorted(waiting))

        wait_for(f"{self.kind.plural} {what}", seen, SETTLED_SECONDS, rest)

    def remove(self) -> None:
        for name in self.specs:
            try:
                self.plane.api().request("DELETE", f"{self.collection}/{name}")
            except ApiError as error:
                if error.status != 404:
                    raise


@contextmanager
def without_a_stumble(operator: OperatorProcess) -> Iterator[None]:
    """The operator logs no exception in the block: whatever is expected is told in a sentence."""
    before = len(operator.records())
    yield
    found = [record for record in operator.records()[before:] if "exception" in record]
    assert not found, f"seed {SEED}: {found[0]['exception']}"


def is_settled(item: Json) -> bool:
    """Whether its status is about this spec, and says that all is done, or what is waited for."""
    status = item.get("status", {})
    if status.get("observedGeneration") != item["metadata"]["generation"]:
        return False
    ready, stalled = condition(item, "Ready"), condition(item, "Stalled")
    told = [(b["reason"], b["message"]) for b in status.get("blockers") or ()]
    if stalled.get("status") == "True":
        told.append((stalled["reason"], stalled["message"]))
    assert stalled.get("reason") != "InvalidSpec", (
        f"seed {SEED}: the API server accepted what the operator refuses: {stalled['message']}"
    )
    assert all(reason and message for reason, message in told), item
    return bool(told) or ready.get("status") == "True" or ready.get("reason") == "Suspended"


def says_what_it_does(item: Json) -> bool:
    ready = condition(item, "Ready")
    return bool(ready.get("reason") and ready.get("message"))


def few(spec: Json) -> Json:
    """Not thousands of instances."""
    return {"replicas": min(spec["replicas"], MOST)} if "replicas" in spec else {}


def of_service(spec: Json, _: random.Random) -> Json:
    """Without what would make the test slow, or its pods stay for ever."""
    rollout = {**(spec.get("rollout") or {}), **SHORT, "minReadySeconds": 0}
    (spec["template"].get("metadata") or {}).pop("finalizers", None)
    return {**spec, **few(spec), "rollout": rollout}


def of_pool(spec: Json, _: random.Random) -> Json:
    verify = {**(spec.get("rollout") or {}).get("verify", {}), "settle": "1s"}
    if "smokePod" in verify:
        verify["smokePod"] = {**verify["smokePod"], "timeout": "3s"}
    rollout = {**(spec.get("rollout") or {}), **SHORT, "verify": verify}
    simulated: Json = (spec["provider"] or {}).get("simulated") or {}
    image = {"id": "image-1"}  # of ids and digests the unit tests have enough
    return {
        **spec,
        **few(spec),
        "image": image,
        "rollout": rollout,
        "provider": {"simulated": simulated},
    }


@pytest.fixture
def services(
    control_plane: ControlPlane, operator: OperatorProcess, namespace: str
) -> Iterator[Drawn]:
    """Services with drawn specs, settled."""
    made = Drawn(control_plane, SERVICE, namespace, "s")
    with without_a_stumble(operator):
        made.create(of_service)
        made.until_all("are done, or say why not", is_settled)
    yield made
    made.remove()


def test_any_accepted_service_converges_or_says_why_not(
    services: Drawn, operator: OperatorProcess
) -> None:
    """And any action and freeze beside them is answered."""
    plane, namespace = services.plane, services.namespace
    freezes = Drawn(plane, FREEZE, "", f"f-{namespace}-")
    actions = Drawn(plane, ACTION, namespace, "a")
    targets = list(services.specs)

    def of_namespace(spec: Json, chance: random.Random) -> Json:
        ends: dict[str, Any] = {"until": "2199-01-01T00:00:00Z"} if chance.random() < 0.7 else {}
        return {**spec, **ends, "namespaces": [namespace]}

    def of_a_target(spec: Json, chance: random.Random) -> Json:
        spec = {key: text for key, text in spec.items() if key not in ("pool", "actor")}
        return {**spec, "service": chance.choice(targets)}

    try:
        with without_a_stumble(operator):
            actions.create(of_a_target)
            actions.until_all(
                "have a phase", lambda item: bool(item.get("status", {}).get("phase"))
            )
            freezes.create(of_namespace, count=SPECS // 2)
            # A freeze stops the clock of the progress deadline: what waits need not be a blocker.
            services.until_all("say what they do", says_what_it_does)
    finally:
        freezes.remove()


def test_any_accepted_pool_converges_or_says_why_not(
    control_plane: ControlPlane, operator: OperatorProcess
) -> None:
    pools = Drawn(control_plane, POOL, "", "any-")
    try:
        with without_a_stumble(operator):
            pools.create(of_pool)
            pools.until_all("are done, or say why not", is_settled)
    finally:
        for name in pools.specs:
            Pool(control_plane, name).remove()
