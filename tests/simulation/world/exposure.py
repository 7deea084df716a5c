"""Services in the world: a spec that asks for one, others who write to it, a name that is taken.

`misrouted` says what of the operator's Service is not as the spec asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation.world.api import NAMESPACE
from tests.simulation.world.storage import Commit, Obj

if TYPE_CHECKING:
    from tests.simulation.world.adversary import Adversary
    from tests.simulation.world.people import People

__all__ = ["Exposure", "misrouted", "wrong_write"]

ROUTES = f"/api/v1/namespaces/{NAMESPACE}/services"
PREFIX = "immutable.dev/"
WAYS: list[Obj | None] = [
    {"promotion": "Manual", "promoteAfter": None, "keepFor": "10s"},
    {"promotion": "Auto", "promoteAfter": None, "keepFor": "10s", "previewReplicas": None},
    {"promotion": "Auto", "promoteAfter": "20s", "keepFor": "60s", "previewReplicas": 1},
    None,
]
FIRST: list[Obj] = [{"setWeight": 20}, {"setReplicas": 1}, {"setReplicas": "50%"}]
LATER: list[Obj] = [
    {"pause": {"until": "Promoted"}},
    {"pause": {"for": "20s"}},
    {"setWeight": 60},
]
EDITS: list[Obj] = [
    {"selector": {"app": "web"}},
    {"selector": {f"{PREFIX}service": None, "app": "other"}},
    {"ports": [{"port": 81, "targetPort": 1, "protocol": "TCP"}]},
    {"type": "NodePort"},
    {"externalTrafficPolicy": "Local"},
]


class Exposure:
    """What people and others do to the Service of the service ``web``."""

    def __init__(self, adversary: Adversary) -> None:
        self.world, self.rng, self.people = adversary.world, adversary.rng, adversary.people
        self.all: list[Callable[[], None]] = [self.expose, self.expose, self.edit, self.take]
        self.ways: list[Callable[[], None]] = [self.blue_green, self.blue_green, self.decide]
        self.ways += [self.canary]

    def expose(self) -> None:
        port = self.rng.choice([80, 80, 81])
        ports = {"ports": [{"port": port, "targetPort": 8080}]}
        traffic = self.rng.choice([ports, ports, None])
        rollout = (self.people.spec or {}).get("rollout") or {}
        # The CRD refuses BlueGreen without a Service.
        self.people.apply(traffic=ports if rollout.get("strategy") == "BlueGreen" else traffic)

    def blue_green(self) -> None:
        """A strategy with a way to promote, or Rolling again."""
        way = self.rng.choice(WAYS)
        strategy = "Rolling" if way is None else "BlueGreen"
        ports = [{"port": 80, "targetPort": 8080}]
        rollout = {"strategy": strategy, "blueGreen": way, "canary": None}
        self.people.apply(rollout=rollout, **({} if way is None else {"traffic": {"ports": ports}}))

    def canary(self) -> None:
        """Steps, or others than before."""
        steps = [self.rng.choice(FIRST), *self.rng.sample(LATER, 2)]
        rollout = {"strategy": "Canary", "blueGreen": None, "canary": {"steps": steps}}
        self.people.apply(rollout=rollout)

    def decide(self) -> None:
        """Somebody promotes or aborts what waits."""
        self.people.act(self.rng.choice(["Promote", "Promote", "Abort"]))

    def edit(self) -> None:
        """Somebody changes it, or deletes it."""
        edit = self.rng.choice([*EDITS, None])
        self.world.say("mallory", f"Service web: {edit or 'deleted'}")
        if edit is None:
            self.people.ask("DELETE", f"{ROUTES}/web")
        else:
            query = {"fieldManager": "mallory"}
            self.people.ask("PATCH", f"{ROUTES}/web", {"metadata": {}, "spec": edit}, query=query)

    def take(self) -> None:
        """A Service of somebody else gets the name."""
        body = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "other"}}}
        if self.people.ask("POST", ROUTES, body) is not None:
            self.world.say("stranger", "has the Service web")

    def stop(self) -> None:
        """The name is free again."""
        spec = self.people.spec or {}
        if (spec.get("rollout") or {}).get("strategy") == "Canary":
            self.people.apply(rollout={"canary": {"steps": [{"setWeight": 40}]}})
        if (spec.get("rollout") or {}).get("strategy") == "BlueGreen":
            self.people.apply(
                rollout={"blueGreen": {"promotion": "Auto", "promoteAfter": None}},
                traffic={"ports": [{"port": 80, "targetPort": 8080}]},
            )
        found = self.people.ask("GET", f"{ROUTES}/web")
        if found is not None and not found["metadata"].get("ownerReferences"):
            self.people.ask("DELETE", f"{ROUTES}/web")


def misrouted(people: People, spec: Obj) -> str | None:
    """Say how the operator's Service differs from what the spec asks for; None if it does not."""
    found, wanted = people.ask("GET", f"{ROUTES}/{people.name}"), spec.get("traffic")
    if wanted is None or found is None:
        there = found is not None
        return None if there == (wanted is not None) else f"there is a Service: {there}"
    selector = {f"{PREFIX}service": people.name}
    if (spec.get("rollout") or {}).get("strategy") == "BlueGreen" and spec.get("replicas"):
        selector[f"{PREFIX}revision"] = found["spec"]["selector"].get(f"{PREFIX}revision")
        service = people.service
        runs = {p.revision for p in service.active} if service else set()
        if runs != {selector[f"{PREFIX}revision"]}:
            return f"its Service selects {selector}, and {runs} run"
    if found["spec"]["selector"] != selector:
        return f"its Service selects {found['spec']['selector']}"
    asked = [(p["port"], p["targetPort"]) for p in wanted["ports"]]
    ports = [(p["port"], p["targetPort"]) for p in found["spec"]["ports"]]
    return None if ports == asked else f"its Service has the ports {ports}"


def wrong_write(commit: Commit) -> str | None:
    """Say what is wrong with a write of the operator to a Service; None if nothing is."""
    if commit.before is not None and not commit.before["metadata"].get("ownerReferences"):
        return f"Service {commit.name} is none of ours, and was written"
    selectors: list[dict[str, Any]] = [
        (obj or {}).get("spec", {}).get("selector", {}) for obj in (commit.before, commit.after)
    ]
    # What somebody else wrote a moment ago is removed by the next write.
    added = selectors[1].keys() - selectors[0].keys()
    foreign = [key for key in added if not key.startswith(PREFIX)]
    return f"Service {commit.name} selects by {foreign[0]}" if foreign else None
