"""ImmutableServices in tests: writing manifests, applying them, reading what came of them.

What users do goes through kubectl; what a test polls for goes through a plain HTTPS client,
because a kubectl ten times a second would keep a small machine from everything else.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from immutable_operator.api.names import API_VERSION
from tests.controlplane import ControlPlane
from tests.controlplane.api import ApiError, Json
from tests.waiting import WAIT_SECONDS, wait_for

__all__ = [
    "CHEAPLY",
    *("KINDS", "Service", "Wish", "annotation", "born", "budgets", "condition", "conditions"),
    *("is_active", "is_ready", "names", "names_of", "pin", "ports", "told_to_end"),
]

GROUP = "immutable.dev"
KIND_PATH = f"/apis/{API_VERSION}/namespaces"
KINDS = ("Ready", "Reconciling", "Stalled")
# Otherwise kubectl reads all OpenAPI definitions, at the cost of 0.1 s of processor time, to find
# that custom resources have no strategic merge patch; what it sends is the same.
CHEAPLY = ("--openapi-patch=false",)


def pin(image: str) -> str:
    """The pinned image that a short word in a test stands for."""
    return f"registry.example/web@sha256:{hashlib.sha256(image.encode()).hexdigest()}"


@dataclass(frozen=True)
class Wish:
    """What a manifest says. ``sim`` are the words to KWOK, on the template of the pods."""

    image: str = "a"
    replicas: int | None = 3
    rollout: Mapping[str, Any] = field(default_factory=dict)
    sim: Mapping[str, str] = field(default_factory=dict)
    container: Mapping[str, Any] = field(default_factory=dict)
    pod: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)

    def manifest(self, name: str, namespace: str) -> Json:
        container = {"name": "web", "image": pin(self.image), **self.container}
        metadata: Json = {"labels": {"app": name}}
        if self.sim:
            metadata["annotations"] = {f"sim/{key}": value for key, value in self.sim.items()}
        spec: Json = {
            "template": {"metadata": metadata, "spec": {"containers": [container], **self.pod}},
            **self.spec,
        }
        if self.replicas is not None:
            spec["replicas"] = self.replicas
        if self.rollout:
            spec["rollout"] = dict(self.rollout)
        return {
            "apiVersion": API_VERSION,
            "kind": "ImmutableService",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }


class Service:
    """One ImmutableService of a test, and what belongs to it."""

    def __init__(self, plane: ControlPlane, namespace: str, name: str = "web") -> None:
        self.plane = plane
        self.namespace = namespace
        self.name = name
        self.wish = Wish()

    def apply(self, **changes: Any) -> None:
        """``kubectl apply`` of the manifest so far, with these changes."""
        self.wish = replace(self.wish, **changes)
        document = json.dumps(self.wish.manifest(self.name, self.namespace))
        self.plane.kubectl("apply", *CHEAPLY, "-f", "-", stdin=document)

    def kubectl(self, *args: str, check: bool = True) -> str:
        """Run kubectl in the service's namespace and give what it printed."""
        done = self.plane.kubectl(*args, namespace=self.namespace, check=check)
        return done.stdout + done.stderr

    def get(self) -> Json:
        return self.plane.api().get(f"{KIND_PATH}/{self.namespace}/immutableservices/{self.name}")

    def status(self) -> Json:
        status: Json = self.get().get("status", {})
        return status

    def blocker(self, reason: str) -> Json | None:
        found = [b for b in self.status().get("blockers", ()) if b["reason"] == reason]
        return found[0] if found else None

    def pods(self) -> list[Json]:
        """Its pods, those on their way out too, by name."""
        return [pod for pod in self._list("pods") if self._owns(pod)]

    def active(self) -> list[Json]:
        """Its pods that are neither on their way out nor ended."""
        return [pod for pod in self.pods() if is_active(pod)]

    def images(self) -> list[str]:
        """The image that each active pod was made from, as a test's word for it where known."""
        return [pod["spec"]["containers"][0]["image"] for pod in self.active()]

    def revisions(self) -> list[Json]:
        """Its recorded revisions, by number."""
        path = f"{KIND_PATH}/{self.namespace}/immutablerevisions"
        found = [r for r in self.plane.api().get(path)["items"] if self._owns(r)]
        return sorted(found, key=lambda r: r["spec"]["number"])

    def lineage(self) -> list[Json]:
        """The instances that are on record in its lineage, the oldest first."""
        path = f"{KIND_PATH}/{self.namespace}/immutablelineages/{self.name}"
        try:
            found: list[Json] = self.plane.api().get(path)["spec"]["replacements"]
        except ApiError as error:
            if error.status == 404:
                return []
            raise
        return found

    def until_recorded(self) -> list[Json]:
        """Until its lineage says of each instance that is known whether it exists; gives it."""

        def recorded() -> bool:
            alive = {e["uid"] for e in self.lineage() if "retired" not in e}
            return alive == {pod["metadata"]["uid"] for pod in self.active()} != set()

        self.until("its lineage is on record", recorded)
        return self.lineage()

    def revision(self) -> str:
        return str(self.status()["currentRevision"])

    def events(self, reason: str | None = None) -> list[Json]:
        """The events that people see on it."""
        uid = self.get()["metadata"]["uid"]
        found = [e for e in self._list("events") if e["involvedObject"].get("uid") == uid]
        return [e for e in found if reason is None or e["reason"] == reason]

    def mark_pod(self, name: str, **words: str | None) -> None:
        """Tell KWOK about one living pod (``fault="not-ready"``), as its node would know."""
        annotations = {f"sim/{key.replace('_', '-')}": value for key, value in words.items()}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}"
        self.plane.api("kwok").merge_patch(path, {"metadata": {"annotations": annotations}})

    def until(self, what: str, check: Callable[[], object], timeout: float = WAIT_SECONDS) -> None:
        wait_for(f"{self.name}: {what}", check, timeout, self.describe)

    def once(self, what: str, check: Callable[[Json], object]) -> Json:
        """The object as it was when ``check`` held for it: it may not do so for long."""

        def found() -> Json | None:
            body = self.get()
            return body if check(body) else None

        body = wait_for(f"{self.name}: {what}", found, WAIT_SECONDS, self.describe)
        assert body
        return body

    def until_ready(self, timeout: float = WAIT_SECONDS) -> None:
        """Until all that was asked for last is done, by the service's own word."""
        self.until("it is Ready as asked", lambda: self._done(), timeout)

    def of(self, image: str) -> set[str]:
        """Names of its active pods of an image."""
        pods = [p for p in self.active() if p["spec"]["containers"][0]["image"] == pin(image)]
        return names_of(pods)

    def reason(self) -> str:
        """The reason of its condition Ready; "" if there is none."""
        return str(condition(self.get(), "Ready").get("reason", ""))

    def until_stalled(self, reason: str, timeout: float = WAIT_SECONDS) -> Json:
        """Until it says that it cannot go on, for this reason; gives the condition."""
        self.until(
            f"Stalled by {reason}",
            lambda: (
                (c := condition(self.get(), "Stalled")).get("status") == "True"
                and c["reason"] == reason
            ),
            timeout,
        )
        return condition(self.get(), "Stalled")

    def until_gone(self, timeout: float = WAIT_SECONDS) -> None:
        """Until neither the service nor anything that it owned is left."""
        self.until("nothing is left of it", self._is_gone, timeout)

    def always(self, what: str, check: Callable[[], object], seconds: float) -> None:
        """``check`` must hold for a while: for what must *not* happen."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert check(), f"{self.name}: no longer: {what}\n{self.describe()}"
            time.sleep(0.1)

    def describe(self) -> str:
        """The object's status, its pods and the events: for the message of a failing test."""
        found = self.plane.kubectl(
            *("get", "imsvc", self.name, "-o", "yaml"), namespace=self.namespace, check=False
        )
        rest = self.plane.describe(self.namespace, "immutablerevisions.immutable.dev", "pdb")
        return f"{found.stdout}{found.stderr}\n{rest}"

    def _done(self) -> bool:
        body = self.get()
        observed = body.get("status", {}).get("observedGeneration")
        return (
            observed == body["metadata"]["generation"]
            and condition(body, "Ready").get("status") == "True"
        )

    def _is_gone(self) -> bool:
        try:
            self.get()
        except ApiError as error:
            return error.status == 404 and not self.pods() and not self.revisions()
        return False

    def _list(self, resource: str) -> list[Json]:
        path = f"/api/v1/namespaces/{self.namespace}/{resource}"
        items: list[Json] = self.plane.api().get(path)["items"]
        return sorted(items, key=lambda item: item["metadata"]["name"])

    def _owns(self, item: Json) -> bool:
        owners: Iterable[Json] = item["metadata"].get("ownerReferences", ())
        return any(
            o["kind"] == "ImmutableService" and o["name"] == self.name and o.get("controller")
            for o in owners
        )


def conditions(body: Json) -> dict[str, str]:
    return {kind: condition(body, kind).get("status", "") for kind in KINDS}


def condition(body: Json, kind: str) -> Json:
    """One condition of any object; empty where it is not there (yet)."""
    found = body.get("status", {}).get("conditions") or ()
    return next((c for c in found if c["type"] == kind), {})


def budgets(web: Service) -> dict[str, object]:
    """minAvailable of each PodDisruptionBudget of the namespace by name."""
    path = f"/apis/policy/v1/namespaces/{web.namespace}/poddisruptionbudgets"
    items = web.plane.api().get(path)["items"]
    return {item["metadata"]["name"]: item["spec"].get("minAvailable") for item in items}


def ports(web: Service) -> dict[str, list[int]]:
    """The ports of each Service of the namespace by name."""
    path = f"/api/v1/namespaces/{web.namespace}/services"
    items = web.plane.api().get(path)["items"]
    return {i["metadata"]["name"]: [p["port"] for p in i["spec"]["ports"]] for i in items}


def names_of(pods: Iterable[Json]) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods}


def names(service: Service) -> set[str]:
    """Names of the service's active pods."""
    return names_of(service.active())


def born(pod: Json) -> float:
    """When the pod was created, in seconds since 1970; the API server tells whole seconds."""
    return datetime.fromisoformat(pod["metadata"]["creationTimestamp"]).timestamp()


def told_to_end(pod: Json) -> float:
    """When the API server was told that the pod should end; whole seconds since 1970, as `born`."""
    meta = pod["metadata"]
    deleted = datetime.fromisoformat(meta["deletionTimestamp"]).timestamp()
    return deleted - float(meta["deletionGracePeriodSeconds"])


def is_active(pod: Json) -> bool:
    ended = pod.get("status", {}).get("phase") in ("Failed", "Succeeded")
    return "deletionTimestamp" not in pod["metadata"] and not ended


def is_ready(pod: Json) -> bool:
    return is_active(pod) and condition(pod, "Ready").get("status") == "True"


def annotation(pod: Json, key: str) -> str | None:
    """A part of the birth certificate: slot, incarnation, replaces, because."""
    value: str | None = pod["metadata"].get("annotations", {}).get(f"{GROUP}/{key}")
    return value
