"""What is read of the pods on a node, of DaemonSets and of volumes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from immutable_operator.wire.daemon import decode_daemon, decode_volume
from immutable_operator.wire.guest import GuestRecord, decode_guest


def _guest(meta: dict[str, Any] | None = None, phase: str = "Running", **spec: Any) -> GuestRecord:
    body = {
        "metadata": {
            "name": "a",
            "namespace": "shop",
            "uid": "u1",
            "resourceVersion": "7",
            **(meta or {}),
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "app"}], **spec},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}]},
    }
    return decode_guest(json.dumps(body).encode())


def _host_path(path: str) -> dict[str, Any]:
    return {"volumes": [{"name": "v", "hostPath": {"path": path}}]}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//",
        "",
        "/etc",
        "/etc/",
        "/etc/kubernetes",
        "/var",
        "/var/",
        "/var/lib",
        "/var/lib/kubelet",
        "/var/lib/kubelet/pods",
        "/var/run/docker.sock",
        "/run",
        "/run/containerd/containerd.sock",
        "/proc",
        "/sys/fs/cgroup",
        "/root/.ssh",
        "/home/ubuntu",
        "/usr/local/bin",
        "/opt",
        "/opt/cni/bin",
        "/boot",
        "/var//lib//kubelet",
        "/./etc",
        "/run/crio/crio.sock",
        "/run/dbus/system_bus_socket",
        "/lib/modules",
    ],
)
def test_pod_with_a_folder_of_the_system_has_access_to_its_node(path: str) -> None:
    assert _guest(**_host_path(path)).access == f"mounts {path} of the node"


@pytest.mark.parametrize(
    "path",
    [
        "/data",
        "/mnt/disks/ssd0",
        "/srv",
        "/etcd",
        "/variable",
        "/var/log",
        "/var/lib/mysql",
        "/dev/kvm",
    ],
)
def test_pod_with_another_folder_has_no_access_to_its_node(path: str) -> None:
    assert _guest(**_host_path(path)).access == ""


PRIVILEGED = {"name": "debug", "securityContext": {"privileged": True}}


@pytest.mark.parametrize(
    ("spec", "access"),
    [
        ({}, ""),
        ({"hostPID": True}, "uses the process namespace of the node (hostPID)"),
        ({"hostPID": False}, ""),
        ({"hostNetwork": True}, ""),
        ({"containers": [PRIVILEGED]}, "has the privileged container debug"),
        ({"initContainers": [PRIVILEGED]}, "has the privileged container debug"),
        ({"ephemeralContainers": [PRIVILEGED]}, "has the privileged container debug"),
        ({"containers": [{"name": "a", "securityContext": {"privileged": False}}]}, ""),
        ({"containers": [{"name": "a", "securityContext": {"runAsUser": 0}}]}, ""),
        ({"containers": [{"name": "a", "securityContext": None}], "volumes": None}, ""),
        ({"volumes": [{"name": "v", "emptyDir": {}}]}, ""),
    ],
)
def test_pod_has_access_to_its_node(spec: dict[str, Any], access: str) -> None:
    assert _guest(**spec).access == access


def test_pod_of_kubectl_debug_on_a_node_has_access_to_it() -> None:
    found = _guest(hostPID=True, hostNetwork=True, **_host_path("/"))
    assert found.access


@pytest.mark.parametrize(
    ("annotations", "keeps"),
    [
        ({}, ""),
        ({"karpenter.sh/do-not-disrupt": "true"}, "karpenter.sh/do-not-disrupt: true"),
        ({"karpenter.sh/do-not-disrupt": "false"}, ""),
        (
            {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
            "cluster-autoscaler.kubernetes.io/safe-to-evict: false",
        ),
        ({"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}, ""),
    ],
)
def test_annotation_keeps_a_pod(annotations: dict[str, str], keeps: str) -> None:
    found = _guest({"annotations": annotations}).keeps
    assert (keeps in found) if keeps else not found


@pytest.mark.parametrize(
    ("meta", "made_by", "is_instance"),
    [
        ({}, "", False),
        (
            {
                "labels": {"immutable.dev/service": "web"},
                "ownerReferences": [
                    {"kind": "ImmutableService", "name": "web", "uid": "s", "controller": True}
                ],
            },
            "ImmutableService",
            True,
        ),
        ({"labels": {"immutable.dev/service": "web"}}, "", False),
        (
            {
                "ownerReferences": [
                    {"kind": "DaemonSet", "name": "cni", "uid": "d", "controller": True}
                ]
            },
            "DaemonSet",
            False,
        ),
    ],
)
def test_controller_of_a_pod_is_known(
    meta: dict[str, Any], made_by: str, is_instance: bool
) -> None:
    found = _guest(meta)
    assert (found.made_by, found.is_instance) == (made_by, is_instance)


def test_claims_of_a_pod_include_those_of_its_ephemeral_volumes() -> None:
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "db-0"}},
        {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
        {"name": "none", "emptyDir": {}},
    ]
    assert _guest(volumes=volumes).claims == ("db-0", "a-scratch")


def test_host_ports_of_a_pod_are_known() -> None:
    ports = [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 53, "protocol": "UDP"}]
    sidecar = {"name": "s", "ports": [{"hostPort": 53, "containerPort": 53, "protocol": "UDP"}]}
    found = _guest(containers=[{"name": "app", "ports": ports}], initContainers=[sidecar])
    assert found.ports == ((53, "UDP"), (8080, "TCP"))


@pytest.mark.parametrize("name", ["system-cluster-critical", "system-node-critical"])
def test_critical_pod_is_known_by_its_priority_class(name: str) -> None:
    assert _guest(priorityClassName=name).critical
    assert not _guest(priorityClassName="high").critical


def test_mirror_pod_and_ended_pod_are_known() -> None:
    assert _guest({"annotations": {"kubernetes.io/config.mirror": "x"}}).mirror
    assert not _guest().mirror
    assert [_guest(phase=p).ended for p in ("Succeeded", "Failed", "Running", "Pending")] == [
        True,
        True,
        False,
        False,
    ]


def test_heartbeat_of_a_pod_changes_nothing() -> None:
    assert _guest({"resourceVersion": "9"}) == _guest()


def test_placement_of_a_daemon_set_is_that_of_its_pods() -> None:
    spec = {"template": {"spec": {"nodeSelector": {"gpu": "yes"}, "containers": []}}}
    body = {"metadata": {"name": "gpu", "namespace": "sys", "uid": "d"}, "spec": spec}
    found = decode_daemon(json.dumps(body).encode())
    assert (found.namespace, found.name) == ("sys", "gpu")
    assert found.placement.node_selector == {"gpu": "yes"}


def _volume(key: str, operator: str, *values: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}
    return {
        "claimRef": {"namespace": "shop", "name": "data"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
    }


@pytest.mark.parametrize(
    ("spec", "hosts"),
    [
        (_volume("kubernetes.io/hostname", "In", "n1"), ("n1",)),
        (_volume("kubernetes.io/hostname", "In", "n2", "n1"), ("n1", "n2")),
        (_volume("topology.kubernetes.io/zone", "In", "a"), ()),
        (_volume("kubernetes.io/hostname", "NotIn", "n1"), ()),
        ({"claimRef": {"namespace": "shop", "name": "data"}}, ()),
        ({"claimRef": None, "nodeAffinity": None}, ()),
    ],
)
def test_hosts_of_a_volume_are_known(spec: dict[str, Any], hosts: tuple[str, ...]) -> None:
    body = {"metadata": {"name": "pv", "uid": "v"}, "spec": spec}
    found = decode_volume(json.dumps(body).encode())
    assert found.hosts == hosts
    assert found.claim == ("shop/data" if spec.get("claimRef") else "")
