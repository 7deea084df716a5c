"""The components of the control plane: their command lines and readiness checks."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.controlplane.certificates import Certificates

__all__ = [
    "COMPONENTS",
    "PORT_NAMES",
    "SIMULATED",
    "ClientLimits",
    "Settings",
    "answers",
    "commands",
]

ClientLimits = Literal["lifted", "shipped"]

# In the order of their start; they stop in the reverse order.
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
PORT_NAMES = ("etcd", "etcd-peer", *COMPONENTS[1:])
# Controllers that want a cloud, or volumes that no node here has.
UNWANTED_CONTROLLERS = (
    "persistentvolume-attach-detach-controller",
    "service-lb-controller",
    "node-route-controller",
    "cloud-node-lifecycle-controller",
)
# The label of every node that kwok plays: KWOK's own, which Karpenter's kwok cloud sets as well.
SIMULATED = ("kwok.x-k8s.io/node", "fake")
LIFTED_QPS = 1000
ETCD_QUOTA_BYTES = 4 * 1024**3
# The log must never be rotated away under a test: 1 TB.
AUDIT_LOG_MEGABYTES = 1024**2
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True)
class Settings:
    """The settings of the command lines of one control plane."""

    folder: Path
    binaries: Mapping[str, Path]
    ports: Mapping[str, int]
    client_limits: ClientLimits

    @property
    def certificates(self) -> Certificates:
        return Certificates(self.folder / "certificates")

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.ports['kube-apiserver']}"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    def kubeconfig(self, actor: str) -> Path:
        return self.folder / f"{actor}.kubeconfig"


def commands(settings: Settings) -> dict[str, list[str]]:
    """The command line of every component; writes the configuration files they name."""
    return {
        "etcd": _etcd(settings),
        "kube-apiserver": _api_server(settings),
        "kube-controller-manager": _controller_manager(settings),
        "kube-scheduler": _scheduler(settings),
        "kwok": _kwok(settings),
    }


def answers(component: str, settings: Settings) -> bool:
    """Whether the component reports that it is ready."""
    ports = settings.ports
    address, path = {
        "etcd": (f"http://127.0.0.1:{ports['etcd']}", "/readyz"),
        "kube-apiserver": (settings.server, "/readyz"),
        "kube-controller-manager": (f"https://127.0.0.1:{ports[component]}", "/healthz"),
        "kube-scheduler": (f"https://127.0.0.1:{ports[component]}", "/readyz"),
        "kwok": (f"http://127.0.0.1:{ports['kwok']}", "/healthz"),
    }[component]
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if address.startswith("https"):
        context = ssl.create_default_context(cafile=settings.certificates.ca)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(address + path, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _etcd(settings: Settings) -> list[str]:
    client = f"http://127.0.0.1:{settings.ports['etcd']}"
    peer = f"http://127.0.0.1:{settings.ports['etcd-peer']}"
    return [
        str(settings.binaries["etcd"]),
        "--name=etcd",
        f"--data-dir={settings.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=etcd={peer}",
        f"--quota-backend-bytes={ETCD_QUOTA_BYTES}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _api_server(settings: Settings) -> list[str]:
    certificates = settings.certificates
    kubelet_client = certificates.actor("kubelet-client")
    return [
        str(settings.binaries["kube-apiserver"]),
        f"--etcd-servers=http://127.0.0.1:{settings.ports['etcd']}",
        "--bind-address=127.0.0.1",
        # A loopback address may not be an endpoint of the service `kubernetes`.
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        *_serving(settings, "kube-apiserver"),
        f"--client-ca-file={certificates.ca}",
        # Without them the controller manager and scheduler fill their logs with complaints.
        f"--requestheader-client-ca-file={certificates.ca}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--service-account-key-file={certificates.service_account_public_key}",
        f"--service-account-signing-key-file={certificates.service_account_key}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
        f"--audit-policy-file={_write(settings, 'audit-policy.json', AUDIT_POLICY)}",
        f"--audit-log-path={settings.audit_log}",
        "--audit-log-mode=blocking",
        f"--audit-log-maxsize={AUDIT_LOG_MEGABYTES}",
        f"--kubelet-client-certificate={kubelet_client[0]}",
        f"--kubelet-client-key={kubelet_client[1]}",
        "--kubelet-preferred-address-types=InternalIP,Hostname",
        "--allow-privileged=true",
        "--service-cluster-ip-range=10.96.0.0/16",
        # There is no kube-proxy where it runs: webhooks are called at a Service's endpoints.
        "--enable-aggregator-routing=true",
    ]


def _controller_manager(settings: Settings) -> list[str]:
    certificates = settings.certificates
    kubeconfig = settings.kubeconfig("kube-controller-manager")
    unwanted = ",".join(f"-{name}" for name in UNWANTED_CONTROLLERS)
    lifted = [f"--kube-api-qps={LIFTED_QPS}", f"--kube-api-burst={LIFTED_QPS}"]
    return [
        str(settings.binaries["kube-controller-manager"]),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        *_serving(settings, "kube-controller-manager"),
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={certificates.service_account_key}",
        f"--root-ca-file={certificates.ca}",
        f"--cluster-signing-cert-file={certificates.ca}",
        f"--cluster-signing-key-file={certificates.ca_key}",
        f"--controllers=*,{unwanted}",
        *(lifted if settings.client_limits == "lifted" else []),
    ]


def _scheduler(settings: Settings) -> list[str]:
    kubeconfig = settings.kubeconfig("kube-scheduler")
    connection: dict[str, Any] = {"kubeconfig": str(kubeconfig)}
    if settings.client_limits == "lifted":
        connection |= {"qps": LIFTED_QPS, "burst": LIFTED_QPS}
    configuration = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": connection,
        "leaderElection": {"leaderElect": False},
    }
    return [
        str(settings.binaries["kube-scheduler"]),
        f"--config={_write(settings, 'scheduler.json', configuration)}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        *_serving(settings, "kube-scheduler"),
    ]


def _kwok(settings: Settings) -> list[str]:
    port = settings.ports["kwok"]
    certificate, key = settings.certificates.server()
    return [
        str(settings.binaries["kwok"]),
        f"--kubeconfig={settings.kubeconfig('kwok')}",
        f"--config={settings.folder / 'stages.json'}",
        # A label and not an annotation: kwok notices only by a label selector, which the
        # API server evaluates, that a node is not its own any more.
        f"--manage-nodes-with-label-selector={SIMULATED[0]}={SIMULATED[1]},sim/node!=lost",
        "--node-lease-duration-seconds=40",
        # Not an address of any node: stages know by it that a node is lost (fragments.yaml).
        # The nodes' own is 127.0.0.1: any other makes the API server dial out on exec.
        "--node-ip=127.0.0.254",
        f"--node-port={port}",
        f"--server-address=127.0.0.1:{port}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        "--cidr=10.128.0.0/9",
    ]


def _serving(settings: Settings, component: str) -> list[str]:
    certificate, key = settings.certificates.server()
    return [
        f"--secure-port={settings.ports[component]}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
    ]


def _write(settings: Settings, name: str, document: Mapping[str, Any]) -> Path:
    path = settings.folder / name
    path.write_text(json.dumps(document, indent=2))
    return path
