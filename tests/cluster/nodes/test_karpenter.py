"""Node pools with the real Karpenter: what it cannot start, and what its clouds say."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterable, Iterator

import pytest

from immutable_operator.api.names import ANNOTATION_SLOT, ANNOTATION_TRIES
from immutable_operator.domain.families.draining import DELETION_BLOCKED
from tests.cluster.audit import OperatorRequests
from tests.cluster.node_claims import GROUP, NodeClaims
from tests.cluster.node_pools import NodeHistory, Pool, is_verified
from tests.cluster.node_providers import KARPENTER, ProvidedPool, machines
from tests.cluster.operator_process import Operators
from tests.controlplane import ControlPlane
from tests.controlplane.api import ApiError, Json
from tests.controlplane.karpenter import CLAIMS, NODE_CLASSES, Karpenter

CREATE = "create nodeclaims"
NO_CAPACITY = "there is no capacity left in test-zone-a"
EVENTS = "/api/v1/namespaces/default/events"
AWS = "karpenter.k8s.aws"
SPOT = "aws-node-termination-handler/spot-itn"

pytestmark = pytest.mark.usefixtures("with_karpenter")


@pytest.fixture
def one(pool: Pool) -> Iterator[ProvidedPool]:
    """A pool of one node of Karpenter that is not applied yet."""
    made = ProvidedPool(KARPENTER, pool)
    yield made
    made.remove()


def of_class(name: str, kind: str = "KWOKNodeClass", group: str = GROUP) -> Json:
    return machines(nodeClassRef={"group": group, "kind": kind, "name": name})


def condition(status: str, message: str) -> Json:
    made = {"type": "Ready", "status": status, "reason": "Test", "message": message}
    return {"status": {"conditions": [{**made, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}


def blocked(pool: Pool, reason: str, says: str) -> None:
    pool.until(f"{reason}: {says}", lambda: says in pool.blockers().get(reason, ""))


def tries(claim: Json) -> int:
    return int(claim["metadata"]["annotations"].get(ANNOTATION_TRIES, 0))


def tries_of(claims: Iterable[Json]) -> list[int]:
    return [tries(claim) for claim in claims]


def finalizers(*names: str) -> Json:
    return {"metadata": {"finalizers": list(names)}}


class Refusing(threading.Thread):
    """Plays Karpenter, which is not running, in a zone without capacity: says so, deletes.

    Its finalizer keeps the claim until it comes to it again.
    """

    def __init__(self, pool: ProvidedPool) -> None:
        super().__init__(daemon=True)
        self._pool, self._kept = pool, set(pool.objects())
        self._over = threading.Event()
        self.seen: dict[str, Json] = {}

    def run(self) -> None:
        while not self._over.wait(0.2):
            for name, claim in self._pool.objects().items():
                meta = claim["metadata"]
                if name in self._kept:
                    continue
                if "deletionTimestamp" in meta:
                    self._pool.plane.api().merge_patch(f"{CLAIMS}/{name}", finalizers())
                else:
                    self.seen[meta["uid"]] = claim
                    self._refuse(name, meta["uid"])

    def _refuse(self, name: str, uid: str) -> None:
        api = self._pool.plane.api()
        about = {"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "name": name, "uid": uid}
        event = {
            "metadata": {"name": f"{name}.{uid}"},
            "involvedObject": about,
            "reason": "InsufficientCapacityError",
            "message": NO_CAPACITY,
            "type": "Warning",
        }
        try:
            api.merge_patch(f"{CLAIMS}/{name}", finalizers("karpenter.sh/termination"))
            api.request("POST", EVENTS, event)
            self._pool.delete_object(name)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    def most_tries(self, but: Iterable[str] = ()) -> int:
        """Of all claims that were refused but these uids."""
        return max((tries(claim) for uid, claim in self.refused() if uid not in but), default=0)

    def fewest_tries(self, slots: int) -> int:
        """Of the places 0 to ``slots`` - 1."""
        by_slot = self._by_slot()
        return min(map(max, map(tries_of, by_slot))) if len(by_slot) == slots else 0

    def assert_growing_pauses(self, asked: OperatorRequests) -> None:
        """Each claim that was asked for is one more try of its place, later than the one before."""
        pool = self._pool
        pool.until("each is refused", lambda: asked.codes(CREATE) == {201: len(self.seen)})
        for claims in self._by_slot():
            assert tries_of(claims) == list(range(len(claims)))
            # The second try comes at once, the next ones after 2, 4 and so on seconds.
            _, *pauses = gaps([claim["metadata"]["creationTimestamp"] for claim in claims])
            assert all(pause > 2 * 2**n - 1 for n, pause in enumerate(pauses)), pauses

    def refused(self) -> list[tuple[str, Json]]:
        return list(self.seen.items())

    def _by_slot(self) -> list[list[Json]]:
        """The claims of each place, in the order of their tries."""
        slots: dict[str, list[Json]] = {}
        for _, claim in sorted(self.refused(), key=lambda item: tries(item[1])):
            slots.setdefault(claim["metadata"]["annotations"][ANNOTATION_SLOT], []).append(claim)
        return list(slots.values())

    def __enter__(self) -> Refusing:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self.join()


def test_missing_node_class_is_named_and_no_claim_is_created(one: ProvidedPool) -> None:
    asked = OperatorRequests.from_now(one.plane)
    name = f"{one.name}-late"
    one.apply(provider=of_class(name))
    blocked(one, "Config", f"KWOKNodeClass {name} not found; create it, or name another one")
    assert asked.count(CREATE) == 0
    NodeClaims(one.plane).add_class(name)
    one.until_ready()
    assert not one.blockers()


def test_node_class_that_is_not_ready_is_named_with_its_reason(one: ProvidedPool) -> None:
    name = NodeClaims(one.plane).add_class(f"{one.name}-sick")
    path = f"{NODE_CLASSES}/{name}/status"
    one.plane.api().merge_patch(path, condition("False", "the subnet is gone"))
    asked = OperatorRequests.from_now(one.plane)
    one.apply(provider=of_class(name))
    blocked(one, "Config", f"KWOKNodeClass {name} is not ready: the subnet is gone")
    assert asked.count(CREATE) == 0
    one.plane.api().merge_patch(path, condition("True", ""))
    one.until_ready()


def test_unknown_kind_of_node_class_is_named(one: ProvidedPool) -> None:
    one.apply(provider=of_class("default", "AKSNodeClass", "karpenter.azure.com"))
    blocked(one, "Config", "AKSNodeClass (karpenter.azure.com) is not installed; install it")


def test_claim_that_vanishes_leaves_the_predecessor_alone_and_says_why(
    one: ProvidedPool, karpenter: Karpenter
) -> None:
    """The real Karpenter finds no node class, deletes the claim, and says so in an event only."""
    name = NodeClaims(one.plane).add_class(f"{one.name}-brief")
    one.apply(provider=of_class(name))
    one.until_ready()
    [before], [node] = one.objects(), one.nodes()
    asked = OperatorRequests.from_now(one.plane)
    karpenter.kill()
    try:
        one.apply(image={"id": "image-2"})
        one.until("a successor is asked for", lambda: len(one.objects()) == 2)
        one.plane.api().request("DELETE", f"{NODE_CLASSES}/{name}")
    finally:
        karpenter.revive()
    one.until("the successor is gone", lambda: set(one.objects()) == {before})
    blocked(one, "Config", f"KWOKNodeClass {name} not found")
    assert is_verified(one.nodes()[node])
    assert asked.count(CREATE) == 1
    NodeClaims(one.plane).add_class(name)
    one.until_ready()
    assert before not in one.objects()


def test_refused_capacity_is_retried_with_growing_pauses_and_the_predecessor_stays(
    one: ProvidedPool, karpenter: Karpenter, operators: Operators
) -> None:
    one.apply()
    one.until_ready()
    [before], [node] = one.objects(), one.nodes()
    karpenter.kill()
    try:
        with Refusing(one) as refusing:
            asked = OperatorRequests.from_now(one.plane)
            one.apply(image={"id": "image-2"})
            blocked(one, "Capacity", NO_CAPACITY)
            one.until("it is tried again", lambda: refusing.most_tries() >= 3)
            refusing.assert_growing_pauses(asked)
            assert is_verified(one.nodes()[node])
            assert before in one.objects()
            # A new leader does not know of the tries before: it begins with short pauses again.
            known = set(refusing.seen)
            operators.restart().until_leading()
            one.until("it is tried again", lambda: refusing.most_tries(but=known) >= 2)
            again = [tries(claim) for uid, claim in refusing.refused() if uid not in known]
            assert len(again) == len(set(again)), "each is one more try"
            blocked(one, "Capacity", NO_CAPACITY)
            assert is_verified(one.nodes()[node])
    finally:
        karpenter.revive()
    one.until_ready()
    assert before not in one.objects()


def test_refused_capacity_for_a_new_pool_is_retried_with_pauses_for_each_node(
    one: ProvidedPool, karpenter: Karpenter
) -> None:
    karpenter.kill()
    try:
        with Refusing(one) as refusing:
            asked = OperatorRequests.from_now(one.plane)
            one.apply(replicas=2)
            one.until("both are tried again", lambda: refusing.fewest_tries(2) >= 2)
            refusing.assert_growing_pauses(asked)
            blocked(one, "Capacity", NO_CAPACITY)
    finally:
        karpenter.revive()
    one.until_ready()


def gaps(moments: list[str]) -> list[float]:
    seconds = [time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) for text in moments]
    return [after - before for before, after in itertools.pairwise(seconds)]


def test_machine_type_that_does_not_exist_is_named(one: ProvidedPool) -> None:
    one.apply()
    one.until_ready()
    [before] = one.objects()
    key = "node.kubernetes.io/instance-type"
    wrong = [{"key": key, "operator": "In", "values": ["huge"]}]
    asked = OperatorRequests.from_now(one.plane)
    one.apply(provider=machines(requirements=wrong))
    blocked(one, "Config", "instance type not found (instance-type=huge)")
    assert asked.count(CREATE) == 1
    assert before in one.objects()
    one.apply(provider=machines())
    # The revision that worked is wanted again.
    one.until("the failed one is gone", lambda: set(one.objects()) == {before})
    one.until_ready()


def test_node_from_another_image_is_never_verified(one: ProvidedPool) -> None:
    one.apply(rollout={"verify": {"settle": "10m"}})
    with NodeHistory(one) as history:
        start(one, "ami-wrong")
        start(one, "ami-wrong")
        blocked(one, "Config", "started from image ami-wrong instead of image-1")
        right = start(one, "image-1")
        one.apply(rollout={"verify": {"settle": "1s"}})
        one.until("the others are gone", lambda: set(one.objects()) == {right})
        one.until_ready()
        verified = {c.pod["metadata"]["uid"] for c in history.changes() if is_verified(c.pod)}
    assert verified == {node["metadata"]["uid"] for node in one.nodes().values()}


def start(pool: ProvidedPool, image: str) -> str:
    """Wait for a new machine, and say what it was started from; give the name of its claim."""

    def launched() -> str:
        for name, claim in pool.objects().items():
            status = claim.get("status", {})
            if status.get("nodeName") and not status.get("imageID"):
                return name
        return ""

    pool.until("a machine is started", launched)
    name = launched()
    pool.plane.api().merge_patch(f"{CLAIMS}/{name}/status", {"status": {"imageID": image}})
    return name


def test_node_whose_end_is_announced_gets_its_successor_first(one: ProvidedPool) -> None:
    """Not with `karpenter.sh/disrupted`: Karpenter takes that off where it does not mean it."""
    one.apply()
    one.until_ready()
    [before] = one.nodes()
    with NodeHistory(one) as history:
        one.plane.kubectl("taint", "node", before, f"{SPOT}=:NoSchedule")
        one.until("it is replaced", lambda: before not in one.nodes())
        one.until_ready()
        history.assert_successor_first(most=2, fewest=1)
    because = next(c.pod["metadata"]["annotations"] for c in history.births())
    assert because["immutable.dev/because"].startswith("Evacuating: ")


def test_deleted_node_of_a_claim_gets_a_successor(one: ProvidedPool) -> None:
    one.apply()
    one.until_ready()
    [claim], [node] = one.objects(), one.nodes()
    one.plane.kubectl("delete", "node", node, "--wait=false")
    one.until("its claim is gone", lambda: claim not in one.objects())
    one.until_ready()
    assert node not in one.nodes()


def test_claim_that_is_stuck_on_its_finalizer_is_named_and_left_as_it_is(
    one: ProvidedPool, karpenter: Karpenter
) -> None:
    """Karpenter, which has the finalizer, is away: no other client removes it."""
    one.apply()
    one.until_ready()
    [claim] = one.objects()
    karpenter.kill()
    try:
        one.apply(replicas=0)
        one.until("it is told", lambda: DELETION_BLOCKED in one.blockers(), 180)
        said = one.blockers()[DELETION_BLOCKED]
        assert f"{claim} is being deleted and waits for karpenter.sh/termination" in said
        assert "check that the controller with this finalizer is running" in said
        [stuck] = one.objects().values()
        assert stuck["metadata"]["finalizers"] == ["karpenter.sh/termination"]
    finally:
        karpenter.revive()
    one.until("it is gone", lambda: not one.objects())
    one.until_ready()
    one.until("nothing blocks it", lambda: one.status()["blockers"] == [])


@pytest.fixture(scope="module")
def ec2_classes(control_plane: ControlPlane) -> Iterator[None]:
    """The kind EC2NodeClass, without the cloud."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True}
    names = {"kind": "EC2NodeClass", "plural": "ec2nodeclasses", "singular": "ec2nodeclass"}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"ec2nodeclasses.{AWS}"},
        "spec": {
            "group": AWS,
            "scope": "Cluster",
            "names": names,
            "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(crd))
    control_plane.kubectl("wait", "--for=condition=Established", f"crd/ec2nodeclasses.{AWS}")
    yield
    control_plane.kubectl("delete", "crd", f"ec2nodeclasses.{AWS}")


@pytest.mark.usefixtures("ec2_classes")
def test_node_class_must_name_exactly_the_image_of_the_pool(one: ProvidedPool) -> None:
    def write(*terms: Json) -> None:
        body = {"apiVersion": f"{AWS}/v1", "kind": "EC2NodeClass", "metadata": {"name": one.name}}
        spec = {"spec": {"amiSelectorTerms": list(terms)}}
        one.plane.kubectl("apply", "-f", "-", stdin=json.dumps(body | spec))

    asked = OperatorRequests.from_now(one.plane)
    write({"alias": "al2023@latest"})
    provider = of_class(one.name, "EC2NodeClass", AWS)
    one.apply(provider=provider, image={"id": "ami-0123456789abcdef0"})
    field = f"spec.amiSelectorTerms[0].alias of EC2NodeClass {one.name} is set, so the image may"
    blocked(one, "Config", field)
    write({"id": "ami-00000000000000000"})
    blocked(one, "Config", f"EC2NodeClass {one.name} is ami-00000000000000000, but spec.image.id")
    assert asked.count(CREATE) == 0
    write({"id": "ami-0123456789abcdef0"})
    # No Karpenter of this bed starts machines of this kind: the claim waits for one.
    one.until("a claim is created", one.objects)
