"""A repository that a GitOps tool delivers into a namespace: the same questions to each tool."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable

from tests.cluster.gitops.tree import PATH, App
from tests.cluster.services import Service, condition, is_ready
from tests.controlplane.api import Json
from tests.controlplane.argocd import NAMESPACE as ARGOCD
from tests.controlplane.argocd import USER as CONTROLLER
from tests.controlplane.audit import WRITING_VERBS, AuditRecord
from tests.controlplane.flux import USER as FLUX
from tests.controlplane.git import Repository
from tests.waiting import wait_for

__all__ = ["ArgoDelivery", "Delivery", "FluxDelivery"]

TIMEOUT = 150.0
COMPARISONS = 6
QUIETLY = ("--ignore-not-found", "--wait=false")


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

    def writes_while_it_is_compared(self) -> list[AuditRecord]:
        """Wait until the tool has compared the service with Git some more times; returns who wrote
        the service in the meantime."""
        log = self.web.plane.audit()
        mark, compared = log.mark(), self.comparisons()
        self.web.until("it was compared some more times", lambda: compared() >= COMPARISONS, 180)
        return [
            record
            for record in log.since(mark)
            if (record.namespace, record.resource) == (self.web.namespace, "immutableservices")
            and record.verb in WRITING_VERBS
            and "dryRun=All" not in record.uri
        ]

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
        self.web.kubectl("delete", "kustomization", "shop", *QUIETLY)

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


class ArgoDelivery(Delivery):
    """An Application that is synchronised automatically, pruned and healed."""

    user = CONTROLLER
    options: tuple[str, ...] = ()

    def follow(self) -> None:
        # As soon as it differs: a difference that comes back would be a write each time.
        automated = {"prune": True, "selfHeal": True}
        source = {"repoURL": self.repository.url, "targetRevision": "main", "path": PATH}
        destination = {"server": "https://kubernetes.default.svc", "namespace": self.web.namespace}
        body = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {
                "name": self.web.namespace,
                "namespace": ARGOCD,
                "finalizers": ["resources-finalizer.argocd.argoproj.io"],
            },
            "spec": {
                "project": "default",
                "source": source,
                "destination": destination,
                "syncPolicy": {"automated": automated, "syncOptions": list(self.options)},
            },
        }
        self.web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def stop_following(self) -> None:
        name = self.web.namespace
        self.web.plane.kubectl("delete", "application", name, *QUIETLY, namespace=ARGOCD)

    def body(self) -> Json:
        path = f"/apis/argoproj.io/v1alpha1/namespaces/{ARGOCD}/applications"
        return self.web.plane.api().get(f"{path}/{self.web.namespace}")

    def is_green(self) -> bool:
        status = self.body()["status"]
        sync = status["sync"]
        applied = (sync["status"], sync["revision"]) == ("Synced", self.commit_id)
        done = status.get("operationState", {}).get("phase") == "Succeeded"
        return applied and done and status["health"]["status"] == "Healthy"

    def why_red(self) -> str:
        status = self.body()["status"]
        tried = status["operationState"]["syncResult"]["revision"] == self.commit_id
        if not tried or status["health"]["status"] != "Degraded":
            return ""
        health, message = self.health()
        return f"ImmutableService is {health}: {message}"

    def health(self) -> tuple[str, str]:
        """The health of the service in the words of Argo CD, and its message."""
        resources = self.body()["status"]["resources"]
        [found] = [one["health"] for one in resources if one["kind"] == "ImmutableService"]
        return found["status"], found.get("message", "")

    def comparisons(self) -> Callable[[], int]:
        """Each has its time in the status, which is read more often than they happen."""
        times = {self._compared_at()}

        def count() -> int:
            times.add(self._compared_at())
            return len(times) - 1

        return count

    def _compared_at(self) -> str:
        return str(self.body()["status"]["reconciledAt"])
