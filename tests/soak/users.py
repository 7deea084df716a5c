"""Random users of random services: what a cluster of people and tools does in a day, in minutes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from tests.cluster.actions import act, freeze_of
from tests.cluster.node_pools import Pool
from tests.cluster.services import CHEAPLY, Service, is_active
from tests.controlplane import ControlPlane
from tests.controlplane.api import ApiError, Json

__all__ = ["Users"]

LETTERS = "abcdef"
BROKEN = ("crash-loop", "image-not-found", "config-error", "never-ready")
# Short, so that a release that is stuck is known to be stuck within the soak.
ROLLOUT = {"maxSurge": 1, "maxUnavailable": 1, "progressDeadlineSeconds": 20}
READS = {"envFrom": [{"configMapRef": {"name": "settings"}}]}
# How often each is done, once where it is not listed. What holds everything up is ended twice as
# often as it begins.
OFTEN = {"roll out": 5, "roll out slowly": 3, "roll out what is broken": 2, "scale": 2}
OFTEN |= {"resume": 2, "end a freeze": 2, "revert": 2, "delete a pod": 2, "change a pool": 2}
Deed = Callable[[Service], str]


class Users:
    """``take`` notes the names of pods that are ended here. Each deed returns what was done."""

    def __init__(
        self,
        plane: ControlPlane,
        services: list[Service],
        pools: list[Pool],
        chance: random.Random,
        take: Callable[..., None],
    ) -> None:
        self.plane, self._services, self._pools = plane, services, pools
        self._chance, self._take = chance, take
        self._number = 0
        self.deeds: dict[str, Deed] = {
            "roll out": lambda web: self._apply(web, image=chance.choice(LETTERS), sim={}),
            "roll out slowly": lambda web: self._apply(
                web, image=chance.choice(LETTERS), sim={"ready-delay": "3s"}
            ),
            "roll out what is broken": lambda web: self._apply(
                web, image=chance.choice(LETTERS), sim={"fault": chance.choice(BROKEN)}
            ),
            "revert": lambda web: self._apply(web, image="a", sim={}),
            "scale": lambda web: self._apply(web, replicas=chance.randint(1, 5)),
            "suspend": lambda web: self._suspend(web, suspended=True),
            "resume": lambda web: self._suspend(web, suspended=False),
            "change a ConfigMap": self._configure,
            "delete a pod": self._delete_pod,
            "delete a pod by force": lambda web: self._delete_pod(
                web, "--force", "--grace-period=0"
            ),
            "ask for a regeneration": lambda web: self._act(web, type="Regenerate"),
            "ask for another try": lambda web: self._act(web, type="Retry"),
            "ask to roll back": lambda web: self._act(web, type="RollBack"),
            "ask to go on": lambda web: self._act(web, type="Resume"),
            "freeze": self._freeze,
            "end a freeze": self._unfreeze,
            "delete and create again": self._again,
            "change a pool": self._change_pool,
        }

    def prepare(self) -> None:
        """Create everything; each service reads a ConfigMap."""
        for web in self._services:
            self._configure(web)
            web.apply(replicas=3, rollout=ROLLOUT, container=READS)
        for pool in self._pools:
            pool.apply(replicas=2)

    def act(self) -> str:
        """Do one of them; return its name and what it was done to."""
        weights = [OFTEN.get(name, 1) for name in self.deeds]
        [name] = self._chance.choices(list(self.deeds), weights)
        web = self._chance.choice(self._services)
        try:
            return f"{name}: {self.deeds[name](web)}"
        except (RuntimeError, ApiError) as error:
            # As a user would: what does not exist (any more), or is refused, is left.
            return f"{name}: refused: {str(error).splitlines()[0][:200]}"

    def calm(self) -> None:
        """End what keeps services from coming to rest: freezes, suspensions."""
        for web in self._services:
            self._unfreeze(web)
            self._suspend(web, suspended=False)

    def _apply(self, web: Service, **changes: object) -> str:
        web.apply(**changes)
        return f"{web.namespace}/{web.name} {changes}"

    def _suspend(self, web: Service, *, suspended: bool) -> str:
        return self._apply(web, spec={"suspend": suspended})

    def _configure(self, web: Service) -> str:
        self._number += 1
        body: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}
        body["data"] = {"mode": str(self._number)}
        document = json.dumps(body)
        web.plane.kubectl("apply", *CHEAPLY, "-f", "-", stdin=document, namespace=web.namespace)
        return f"{web.namespace}/settings"

    def _delete_pod(self, web: Service, *how: str) -> str:
        names = [pod["metadata"]["name"] for pod in web.pods() if is_active(pod)]
        if not names:
            return "none is there"
        name = self._chance.choice(names)
        self._take(name)
        web.kubectl("delete", "pod", name, "--wait=false", *how)
        return str(name)

    def _act(self, web: Service, **spec: str) -> str:
        self._number += 1
        act(web, f"act-{self._number}", reason="it is late 🌙", **spec)
        return f"{web.namespace}/{web.name}"

    def _freeze(self, web: Service) -> str:
        document = json.dumps(freeze_of(web, "closing"))
        web.plane.kubectl("apply", *CHEAPLY, "-f", "-", stdin=document)
        return web.namespace

    def _unfreeze(self, web: Service) -> str:
        name = f"freeze-{web.namespace}"
        web.plane.kubectl("delete", "imfrz", name, "--ignore-not-found")
        return web.namespace

    def _again(self, web: Service) -> str:
        self._take(*(pod["metadata"]["name"] for pod in web.pods()))
        web.kubectl("delete", "imsvc", web.name, "--wait=false")
        web.apply()
        return f"{web.namespace}/{web.name}"

    def _change_pool(self, web: Service) -> str:
        pool = self._chance.choice(self._pools)
        image = self._chance.choice(LETTERS[:3])
        pool.apply(replicas=self._chance.randint(1, 3), image={"id": f"image-{image}"})
        return pool.name
