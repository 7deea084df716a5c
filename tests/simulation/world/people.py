"""What people do to the API server: apply services, scale, freeze, ask, reach into pods."""

from __future__ import annotations

import contextlib
from typing import Any

from immutable_operator.api.names import ANNOTATION_RETRY, API_VERSION, SERVICE_KIND
from immutable_operator.kube.errors import ApiError
from immutable_operator.kube.times import second
from tests.simulation.world.api import NAMESPACE
from tests.simulation.world.storage import Obj
from tests.simulation.world.truth import Service
from tests.simulation.world.world import World

__all__ = ["People", "template"]

GROUP = f"/apis/{API_VERSION}"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
CONFIGS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
SERVICES = f"{GROUP}/namespaces/{NAMESPACE}/immutableservices"
ACTIONS = f"{GROUP}/namespaces/{NAMESPACE}/immutableactions"


def template(letter: str, *, port: bool = False, config: bool = False, grace: int = 2) -> Obj:
    """The pod template of a letter; with a host port, or with a ConfigMap that it reads."""
    image = f"registry.example/web@sha256:{letter.lower() * 64}"
    container: Obj = {"name": "web", "image": image}
    if port:
        container["ports"] = [{"containerPort": 80, "hostPort": 80}]
    if config:
        container["envFrom"] = [{"configMapRef": {"name": "settings"}}]
    spec = {"containers": [container], "terminationGracePeriodSeconds": grace}
    return {"metadata": {"labels": {"app": "web"}}, "spec": spec}


class People:
    """Jane, who works on one service named ``web``, and those around her."""

    kind, word = SERVICE_KIND, "service"
    owners, actions = SERVICES, ACTIONS

    def __init__(self, world: World, name: str = "web") -> None:
        self.world, self.name = world, name
        self._actions = 0

    def ask(self, method: str, path: str, body: Obj | None = None, **more: Any) -> Obj | None:
        """A request; None if it was refused, or there is nothing there."""
        with contextlib.suppress(ApiError):
            return self.world.api.ask("jane", method, path, body, **more)
        return None

    def retry(self, word: str) -> None:
        """Ask for another try if the service says that what the spec asks for failed.

        What a person rejected is tried again only if a person resumes it.
        """
        found = self.ask("GET", f"{self.owners}/{self.name}")
        told = ((found or {}).get("status") or {}).get("conditions") or ()
        if any("was rejected by" in c["message"] for c in told if c["type"] == "Stalled"):
            self.act("Resume")
        elif any((c["type"], c["status"]) == ("Stalled", "True") for c in told):
            marks = {"annotations": {ANNOTATION_RETRY: word}}
            self.ask("PATCH", f"{self.owners}/{self.name}", {"metadata": marks})

    @property
    def spec(self) -> Obj | None:
        found = self.ask("GET", f"{self.owners}/{self.name}")
        return found["spec"] if found else None

    @property
    def service(self) -> Service | None:
        found = self.ask("GET", f"{self.owners}/{self.name}")
        return self.world.truth.services.get(found["metadata"]["uid"]) if found else None

    def apply(self, **spec: Any) -> None:
        """Apply a spec with these fields changed; a service that is not there is made."""
        self.world.say("jane", f"applies {_short(spec)}")
        before = self.service
        size = len(before.pods) if before else 0
        if before is None:
            body = {
                "apiVersion": API_VERSION,
                "kind": self.kind,
                "metadata": {"name": self.name, "labels": {"team": "web"}},
                "spec": spec,
            }
            self.ask("POST", self.owners, body)
        else:
            path, query = f"{self.owners}/{self.name}", {"fieldManager": "kubectl"}
            self.ask("PATCH", path, {"metadata": {}, "spec": spec}, query=query)
        if (after := self.service) is not None:
            self._explain(size + after.now.replicas + 1)
            every = self._every(after)
            self.world.storm.ages(after, every, self.world.now)

    def _every(self, service: Service) -> float | None:
        """The shortest time between two replacements of one instance for its age, wide enough."""
        spec = self.spec or {}
        age = (spec.get("regeneration") or {}).get("maxAge")
        if not age:
            return None
        swap = self._swap_seconds(service)
        return max(swap, float(age.removesuffix("s")) * 0.9 - 2 * swap)

    def _swap_seconds(self, service: Service) -> float:
        return 2.0 * (1.5 * self.world.cluster.start_seconds + service.now.min_ready + 3.0)

    def _explain(self, events: float) -> None:
        if (service := self.service) is not None:
            self.world.storm.explain(service, events, self.world.now)

    def delete(self) -> None:
        self.world.say("jane", f"deletes {self.name}")
        self.ask("DELETE", f"{self.owners}/{self.name}")

    def configure(self, text: str | None) -> None:
        """Let the ConfigMap ``settings`` say something, or delete it."""
        self.world.say("jane", f"settings: {text}")
        path = f"{CONFIGS}/settings"
        if text is None:
            self.ask("DELETE", path)
        elif self.ask("PATCH", path, {"metadata": {}, "data": {"is": text}}) is None:
            meta = {"name": "settings"}
            self.ask("POST", CONFIGS, {"metadata": meta, "data": {"is": text}})
        self._all_explained()

    def _all_explained(self) -> None:
        if (service := self.service) is not None:
            self._explain(len(service.pods) + service.now.replicas)

    def regenerate(self, instance: str | None = None, *, override: bool = False) -> None:
        """Ask for new instances, all or one."""
        self._actions += 1
        self.world.say("jane", f"asks for {instance or 'all'} to be regenerated")
        spec: Obj = {"type": "Regenerate", self.word: self.name, "actor": "jane"}
        if instance:
            spec["instance"] = instance
        if override:
            spec |= {"overrideFreeze": True, "reason": "it burns"}
        name = f"{self.name}-{self._actions}"
        self.ask("POST", self.actions, {"metadata": {"name": name}, "spec": spec})
        self._all_explained()

    def act(self, kind: str) -> None:
        """Create an action of a type that needs no more."""
        self._actions += 1
        self.world.say("jane", f"creates an action of type {kind}")
        spec: Obj = {"type": kind, self.word: self.name, "actor": "jane"}
        self.ask(
            "POST",
            self.actions,
            {"metadata": {"name": f"{self.name}-{self._actions}"}, "spec": spec},
        )
        self._all_explained()

    def freeze(self, seconds: float, *, repairs: bool) -> None:
        self.world.say("jane", f"freezes for {seconds:g} s, repairs {repairs}")
        until = second(self.world.loop.wall + seconds)
        spec = {"until": until, "reason": "sale", "freezeRepairs": repairs}
        body = {"metadata": {"name": f"freeze-{self.world.now:.0f}"}, "spec": spec}
        self.ask("POST", f"{GROUP}/immutablefreezes", body)

    def thaw(self) -> None:
        for freeze in self.world.api.storage.all("immutablefreezes"):
            self.ask("DELETE", f"{GROUP}/immutablefreezes/{freeze['metadata']['name']}")

    def forge(self, status: Obj | None = None) -> None:
        """Somebody writes over the status."""
        self.world.say("mallory", "writes over the status")
        body = {"metadata": {}, "status": status or {"currentRevision": None, "replicas": 77}}
        self.ask(
            "PATCH", f"{self.owners}/{self.name}/status", body, query={"fieldManager": "mallory"}
        )

    def mark(self, pod: Obj) -> None:
        """Somebody reaches into a pod, and is marked for it."""
        name = pod["metadata"]["name"]
        self.world.say("jane", f"execs into {name}")
        text = '{"what": "exec", "by": "jane", "at": "2026-11-22T04:30:00Z"}'
        body = {"metadata": {"annotations": {"immutable.dev/tainted": text}}}
        self.ask("PATCH", f"{PODS}/{name}", body)

    def delete_pod(self, pod: Obj, *, force: bool = False) -> None:
        name = pod["metadata"]["name"]
        self.world.say("jane", f"deletes {name}{' by force' if force else ''}")
        self.ask("DELETE", f"{PODS}/{name}", {"gracePeriodSeconds": 0} if force else {})


def _short(spec: Obj) -> str:
    told = dict(spec)
    if "spec" in (told.get("template") or {}):
        told["template"] = told["template"]["spec"]["containers"][0]["image"][-1].upper()
    return ", ".join(f"{key}={value}" for key, value in told.items())
