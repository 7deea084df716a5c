"""The user's own cluster: a context of their kubeconfig. Only what the demo made is removed.

What is ours carries the label `OURS`; whether the demo installed the CustomResourceDefinitions
is noted on its namespace, because they may be older than the demo.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from examples.demo import operator_process
from examples.demo.place import ACCOUNT, DEMO, RELEASE, SYSTEM, DemoError, Place
from tests.controlplane.access import find_kubectl
from tests.controlplane.build import cache_root

__all__ = ["folder", "prepare", "remove"]

OURS = "demo.immutable.dev/made-by"
OURS_VALUE = "make-demo"
MADE_CRDS = "demo.immutable.dev/made-crds"
CRDS = ("immutableservices.immutable.dev", "immutablerevisions.immutable.dev")
TOKEN_DURATION = "24h"  # noqa: S105
NEEDED_RIGHTS = (
    ("create", "namespaces", ""),
    ("create", "customresourcedefinitions.apiextensions.k8s.io", ""),
    ("create", "clusterroles.rbac.authorization.k8s.io", ""),
    ("create", "clusterrolebindings.rbac.authorization.k8s.io", ""),
    ("create", "secrets", SYSTEM),
    ("create", "serviceaccounts/token", SYSTEM),
)
Say = Callable[[str], None]


def folder(context: str) -> Path:
    """What the demo keeps on this machine for that cluster: the operator's log, its kubeconfig."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", context)[:40]
    return cache_root() / f"demo-{plain}-{hashlib.sha256(context.encode()).hexdigest()[:6]}"


def prepare(context: str, say: Say) -> Place:
    """Look whether everything is there that the demo needs; changes nothing but namespaces."""
    place = _place(context)
    _check_context(place, context)
    _check_answers(place, context)
    if shutil.which("helm") is None:
        raise DemoError(
            "helm is not on PATH, and on your own cluster the demo installs its chart with it;"
            " install helm 3 or 4, or run `make demo` without CONTEXT, which builds its own"
        )
    if running := _running_operator(place):
        say(f"an operator runs there already ({running}): it is used as it is")
        _make_namespace(place, DEMO)
        return _place(context, operator=False)
    _check_rights(place, context)
    _check_crds(place)
    _make_namespace(place, SYSTEM)
    _make_namespace(place, DEMO)
    return place


def remove(context: str, say: Say) -> bool:
    """Delete what the demo made there, the service with its pods first; whether there was any."""
    place, found = _place(context), False
    _check_context(place, context)
    _check_answers(place, context)
    if _is_ours(place, DEMO):
        say(f"deleting namespace {DEMO} with all that is in it (about 10 s)")
        place.run("delete", "namespace", DEMO, "--timeout=100s")
        found = True
    found = operator_process.stop(folder(context)) or found
    namespace = place.get("namespace", SYSTEM)
    if _labelled(namespace):
        say(f"uninstalling the chart and deleting namespace {SYSTEM} (about 10 s)")
        if shutil.which("helm") is None:
            raise DemoError(f"helm is not on PATH: it must uninstall the chart from {SYSTEM} first")
        place.run_helm("uninstall", RELEASE, f"--namespace={SYSTEM}", "--ignore-not-found")
        place.run("delete", "namespace", SYSTEM, "--timeout=100s")
        _remove_crds(place, namespace["metadata"].get("annotations", {}), say)
        found = True
    shutil.rmtree(folder(context), ignore_errors=True)
    return found


def _place(context: str, operator: bool = True) -> Place:
    kept = folder(context)
    kubectl = (str(find_kubectl()), f"--context={context}", f"--namespace={DEMO}")
    place = Place(
        name=f"context {context}",
        kubectl=kubectl,
        helm=("helm", f"--kube-context={context}"),
        typed=f"kubectl --context={_quoted(context)} -n {DEMO}",
        environment={"PATH": f"{find_kubectl().parent}:{_path()}"},
        folder=kept,
        stop_command=f"make demo-stop CONTEXT={_quoted(context)}",
        operator_kubeconfig=None,
    )
    if not operator:
        return place
    return replace(place, operator_kubeconfig=lambda: _write_kubeconfig(place))
