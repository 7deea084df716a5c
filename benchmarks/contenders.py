"""What `benchmarks.rollout` compares: the same pods as three kinds of workload."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from immutable_operator.api.names import API_VERSION
from tests.controlplane import ControlPlane
from tests.controlplane.accounts import create_admin, install_crds, is_ready
from tests.controlplane.build import binaries
from tests.controlplane.processes import free_ports

__all__ = ["CONTENDERS", "SYSTEM", "Contender", "image"]

SYSTEM = "immutable-system"
ARGO = "argo-rollouts"
# Of kube-controller-manager as the test bed starts it without its limits, and of the others.
LIFTED_PER_SECOND = 1000
SURGE: Mapping[str, Any] = {"maxSurge": "25%", "maxUnavailable": 0}


@dataclass(frozen=True)
class Contender:
    """A kind of workload, and the controllers whose writes and CPU time are counted.

    ``accounts`` are the users of the writes; ``budget`` is the part of the spec that bounds a
    rollout. ``run`` is given the control plane and whether client limits are lifted; its block has
    the pids of the controllers' processes.
    """

    kind: str
    api_version: str
    plural: str
    accounts: tuple[str, ...]
    budget: Mapping[str, Any]
    run: Callable[[ControlPlane, bool], AbstractContextManager[tuple[int, ...]]]

    def collection(self, namespace: str) -> str:
        return f"/apis/{self.api_version}/namespaces/{namespace}/{self.plural}"

    def workload(self, pods: int, letter: str) -> dict[str, Any]:
        """The object ``bench``; the pods and the limits are the same for all kinds."""
        labels = {"app": "bench"}
        containers = [{"name": "web", "image": image(letter)}]
        template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
        spec = {"replicas": pods, "template": template, **self.budget}
        if self.kind != "ImmutableService":
            spec["selector"] = {"matchLabels": labels}
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": {"name": "bench"},
            "spec": spec,
        }


def image(letter: str) -> str:
    return f"registry.example/web@sha256:{letter * 64}"


@contextmanager
def _operator(plane: ControlPlane, lifted: bool) -> Iterator[tuple[int, ...]]:
    kubeconfig = plane.service_account_kubeconfig(SYSTEM, "immutable-operator")
    command = [sys.executable, "-m", "immutable_operator.runtime.main", "run"]
    command += ["--kubeconfig", str(kubeconfig), "--namespace", SYSTEM]
    command += ["--listen", "127.0.0.1:0", "--log-level", "WARNING"]
    if lifted:
        command += [f"--writes-per-second={LIFTED_PER_SECOND}"]
    process = subprocess.Popen(command)
    try:
        yield (process.pid,)
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _controller_manager(plane: ControlPlane, lifted: bool) -> Iterator[tuple[int, ...]]:
    """It runs all the time; the control plane was started with its limits or without."""
    yield (plane.pid_of("kube-controller-manager"),)


@contextmanager
def _argo_rollouts(plane: ControlPlane, lifted: bool) -> Iterator[tuple[int, ...]]:
    program = binaries(["rollouts-controller"])["rollouts-controller"]
    install_crds(plane, program.parent.glob("*-crd.yaml"))
    create_admin(plane, ARGO, ARGO)
    health, metrics = ports = free_ports(2)
    command = [str(program), f"--kubeconfig={plane.service_account_kubeconfig(ARGO, ARGO)}"]
    command += [f"--healthzPort={health}", f"--metricsPort={metrics}"]
    command += ["--leader-elect=false", "--loglevel=error"]
    if lifted:
        command += [f"--qps={LIFTED_PER_SECOND}", f"--burst={LIFTED_PER_SECOND}"]
    plane.run_beside(ARGO, command, {}, ports, partial(is_ready, health, "/healthz"))
    try:
        # The pods of its ReplicaSets are created and deleted by the controller manager.
        yield plane.pid_of(ARGO), plane.pid_of("kube-controller-manager")
    finally:
        plane.kill(ARGO)


def _account(namespace: str, name: str) -> str:
    return f"system:serviceaccount:{namespace}:{name}"


REPLICA_SETS = _account("kube-system", "replicaset-controller")
CONTENDERS: Mapping[str, Contender] = {
    "ImmutableService": Contender(
        kind="ImmutableService",
        api_version=API_VERSION,
        plural="immutableservices",
        accounts=(_account(SYSTEM, "immutable-operator"),),
        budget={"rollout": SURGE},
        run=_operator,
    ),
    "Deployment": Contender(
        kind="Deployment",
        api_version="apps/v1",
        plural="deployments",
        accounts=(_account("kube-system", "deployment-controller"), REPLICA_SETS),
        budget={"strategy": {"type": "RollingUpdate", "rollingUpdate": SURGE}},
        run=_controller_manager,
    ),
    # Without steps a canary of Argo Rollouts is a rolling update.
    "Rollout": Contender(
        kind="Rollout",
        api_version="argoproj.io/v1alpha1",
        plural="rollouts",
        accounts=(_account(ARGO, ARGO), REPLICA_SETS),
        budget={"strategy": {"canary": SURGE}},
        run=_argo_rollouts,
    ),
}
