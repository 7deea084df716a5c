"""A repository that a GitOps tool delivers into a namespace: the same questions to each tool."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable

from tests.cluster.gitops.tree import PATH, App
from tests.cluster.services import Service, condition, is_ready
from tests.controlplane.api import Json
from tests.controlplane.flux import USER as FLUX
from tests.controlplane.git import Repository
from tests.waiting import wait_for

__all__ = ["Delivery", "FluxDelivery"]

TIMEOUT = 150.0


class Delivery(ABC):
    """What a tool makes of the commits of a repository, for a service named web.

    ``user`` is under which name the tool writes.
    """

    user: str

    def __init__(self, web: Service, repository: Repository) -> None:
        self.web = web
        self.repository = repository
        self.commit_id = ""

    def commit(self, app: App) -> None:
        """Commit what the app says; the tool follows the repository from the first one on."""
        first = not self.commit_id
        self.commit_id = self.repository.commit(app.files())
        if first:
            self.follow()

    def revert(self) -> None:
        """Undo the last commit by another one."""
        self.commit_id = self.repository.revert()

    def until_green(self) -> None:
        """Until the tool reports the last commit as applied and healthy."""
        wait_for(f"{self.commit_id} is green", self.is_green, TIMEOUT, self.describe)

    def until_red(self) -> str:
        """Until the tool reports that the last commit is unhealthy; returns why."""
        return wait_for(f"{self.commit_id} is red", self.why_red, TIMEOUT, self.describe)

    def ready(self) -> set[str]:
        """Names of the ready pods of the service."""
        return {pod["metadata"]["name"] for pod in self.web.active() if is_ready(pod)}

    def describe(self) -> str:
        """What the tool and the service say, for the message of a failing test."""
        return f"{json.dumps(self.body().get('status'), indent=1)}\n{self.web.describe()}"

    @abstractmethod
    def follow(self) -> None:
        """Let the tool follow the repository."""

    @abstractmethod
    def stop_following(self) -> None:
        """Let the tool delete what it has applied."""

    @abstractmethod
    def body(self) -> Json:
        """The object in which the tool reports."""

    @abstractmethod
    def is_green(self) -> bool:
        """Whether the last commit is applied and healthy."""

    @abstractmethod
    def why_red(self) -> str:
        """Why the last commit is unhealthy; empty while it is not."""

    @abstractmethod
    def comparisons(self) -> Callable[[], int]:
        """Counts from now on how often the tool compares the service with Git."""


class FluxDelivery(Delivery):
    """A GitRepository and a Kustomization with ``wait: true``, as Flux documents them."""

    user = FLUX

    def follow(self) -> None:
        reference = {"kind": "GitRepository", "name": "shop"}
        git = {"url": self.repository.url, "interval": "5s", "ref": {"branch": "main"}}
        kustomization = {
            "sourceRef": reference,
            "path": f"./{PATH}",
            "interval": "10s",
            "retryInterval": "10s",
            "timeout": "2m",
            "prune": True,
            "wait": True,
            "targetNamespace": self.web.namespace,
        }
        metadata = {"name": "shop", "namespace": self.web.namespace}
        kinds = {"source": "GitRepository", "kustomize": "Kustomization"}
        for group, spec in (("source", git), ("kustomize", kustomization)):
            body = {
                "apiVersion": f"{group}.toolkit.fluxcd.io/v1",
                "kind": kinds[group],
                "metadata": metadata,
                "spec": spec,
            }
            self.web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def stop_following(self) -> None:
        self.web.kubectl("delete", "kustomization", "shop")

    def body(self) -> Json:
        path = f"/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{self.web.namespace}"
        return self.web.plane.api().get(f"{path}/kustomizations/shop")

    def is_green(self) -> bool:
        body = self.body()
        applied = body["status"]["lastAppliedRevision"] == f"main@sha1:{self.commit_id}"
        return applied and condition(body, "Ready").get("status") == "True"

    def why_red(self) -> str:
        body, ready = self.body(), condition(self.body(), "Ready")
        tried = body["status"]["lastAttemptedRevision"] == f"main@sha1:{self.commit_id}"
        is_red = tried and (ready["status"], ready["reason"]) == ("False", "HealthCheckFailed")
        return str(ready["message"]) if is_red else ""

    def comparisons(self) -> Callable[[], int]:
        """Each is an apply as a dry run."""
        log = self.web.plane.audit()
        mark, target = log.mark(), ("immutableservices", self.web.namespace, self.web.name)
        return lambda: sum(
            (record.resource, record.namespace, record.name) == target
            and record.user == self.user
            and "dryRun=All" in record.uri
            for record in log.since(mark)
        )
