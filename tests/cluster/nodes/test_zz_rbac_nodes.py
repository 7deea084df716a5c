"""Rights granted for node pools are rights used, over everything that this lane did.

The file's name lets it run last. Rights that services need are compared in `test_zz_rbac.py`.
"""

from __future__ import annotations

import json

from tests.cluster.audit import OperatorRequests
from tests.cluster.operator_process import ACCOUNT
from tests.controlplane import ControlPlane

OF_NODES = {
    "immutablenodepools",
    "immutablenodepools/status",
    "nodes",
    "daemonsets",
    "persistentvolumes",
    "nodeclaims",
}


def test_rights_granted_for_nodes_are_used(control_plane: ControlPlane) -> None:
    told = control_plane.kubectl("get", "clusterrole", ACCOUNT, "-o", "json").stdout
    granted = {
        (group, resource, verb)
        for rule in json.loads(told)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if resource in OF_NODES
    }
    requests = OperatorRequests(control_plane)
    used = {(r.api_group, r.target, r.verb) for r in requests if r.target in OF_NODES}
    # Claims are made with Karpenter only, which this file does not start when it runs alone.
    alone = ("karpenter.sh", "nodeclaims", "create") not in used
    unused = {right for right in granted - used if not (alone and right[1] == "nodeclaims")}
    assert unused == set(), "granted and never used"
    refused = {(r.api_group, r.target, r.verb) for r in requests if not r.allowed}
    assert refused == set(), "asked for and not granted"
