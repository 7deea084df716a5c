"""The user's own cluster: a context of their kubeconfig. Only objects of the demo are removed.

Namespaces of the demo have the label `OURS`. An annotation of the namespace records whether the
demo installed the CustomResourceDefinitions, which can be older than the demo.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from examples.demo import operator_process
from examples.demo.place import ACCOUNT, DEMO, RELEASE, SYSTEM, DemoError, Json, Place
from immutable_operator.api.crd import KINDS
from immutable_operator.api.names import GROUP
from tests.controlplane.access import find_kubectl
from tests.controlplane.build import cache_root

__all__ = ["folder", "prepare", "reachable", "remove"]

OURS = "demo.immutable.dev/made-by"
OURS_VALUE = "make-demo"
MADE_CRDS = "demo.immutable.dev/made-crds"
CRDS = tuple(f"{kind.plural}.{GROUP}" for kind in KINDS)
NEEDED_RIGHTS = (
    ("namespaces",),
    ("customresourcedefinitions.apiextensions.k8s.io",),
    ("clusterroles.rbac.authorization.k8s.io",),
    ("clusterrolebindings.rbac.authorization.k8s.io",),
    ("validatingadmissionpolicies.admissionregistration.k8s.io",),
    ("validatingadmissionpolicybindings.admissionregistration.k8s.io",),
    ("secrets", f"--namespace={SYSTEM}"),
    ("serviceaccounts", "--subresource=token", f"--namespace={SYSTEM}"),
)
Say = Callable[[str], None]


def folder(context: str) -> Path:
    """The demo's local files for that cluster: the operator's log and its kubeconfig."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", context)[:40]
    return cache_root() / f"demo-{plain}-{hashlib.sha256(context.encode()).hexdigest()[:6]}"


def reachable() -> str | None:
    """Return the current context of the user's kubeconfig if its API server answers within 2 s."""
    kubectl = str(find_kubectl())
    ask = partial(subprocess.run, capture_output=True, text=True, check=False, timeout=10)
    try:
        context = ask([kubectl, "config", "current-context"]).stdout.strip()
        version = ("get", "--raw=/version", "--request-timeout=2s", f"--context={context}")
        answers = bool(context) and ask([kubectl, *version]).returncode == 0
    except subprocess.TimeoutExpired:
        return None
    return context if answers else None


def prepare(context: str, say: Say) -> Place:
    """Check the requirements of the demo, then create its two namespaces."""
    place = _reach(context)
    if shutil.which("helm") is None:
        raise DemoError(
            "helm is not on PATH, and the demo needs it to install the chart on your cluster;"
            " install helm 3 or 4, or run `make demo` without CONTEXT, which builds helm"
        )
    running = _running_operator(place)
    _check_rights(place, NEEDED_RIGHTS[:1] if running else NEEDED_RIGHTS)
    _check_namespace(place, DEMO)
    if running:
        say(f"the cluster already has an operator ({running}): the demo uses it")
    else:
        _check_namespace(place, SYSTEM)
        _make_namespace(place, SYSTEM, {MADE_CRDS: str(not _has_crds(place)).lower()})
        place = replace(place, operator_kubeconfig=lambda: _write_kubeconfig(place))
    _make_namespace(place, DEMO, {})
    return place


def remove(context: str, say: Say) -> bool:
    """Delete the demo's objects, the service and its pods first; return whether there were any."""
    place = _reach(context)
    demo, system = place.get("namespace", DEMO), place.get("namespace", SYSTEM)
    if _is_ours(demo):
        say(f"deleting namespace {DEMO} and its content (about 15 s)")
        place.run("delete", "namespace", DEMO, "--timeout=100s")
    stopped = operator_process.stop(folder(context))
    if _is_ours(system):
        say(f"uninstalling the chart and deleting namespace {SYSTEM} (about 15 s)")
        _uninstall(place)
        place.run("delete", "namespace", SYSTEM, "--timeout=100s")
        if system["metadata"].get("annotations", {}).get(MADE_CRDS) == "true":
            _remove_crds(place, say)
    shutil.rmtree(folder(context), ignore_errors=True)
    return stopped or _is_ours(demo) or _is_ours(system)


def _reach(context: str) -> Place:
    """The place, after checking that the context exists and that its API server answers."""
    kept, kubectl, name = folder(context), find_kubectl(), shlex.quote(context)
    place = Place(
        name=f"context {context}",
        kubectl=(str(kubectl), f"--context={context}", f"--namespace={DEMO}"),
        helm=("helm", f"--kube-context={context}"),
        typed=f"kubectl --context={name} -n {DEMO}",
        environment={"PATH": f"{kubectl.parent}:{os.environ.get('PATH', os.defpath)}"},
        folder=kept,
        stop_command=f"make demo-stop CONTEXT={name}",
        operator_kubeconfig=None,
    )
    known = place.run("config", "get-contexts", "--output=name").split()
    if context not in known:
        raise DemoError(
            f"your kubeconfig has no context {context}; set CONTEXT to one of these:"
            f" {', '.join(known) or '(there is none: check $KUBECONFIG)'}"
        )
    try:
        place.run("get", "--raw=/version", "--request-timeout=15s")
    except DemoError as error:
        raise DemoError(
            f"the cluster of context {context} does not answer ({_last_line(error)});"
            f" start it or log in, so that `kubectl --context={name} get nodes` works"
        ) from None
    return place


def _running_operator(place: Place) -> str | None:
    """An operator that was installed independently of the demo: namespace/name of its
    Deployment."""
    label = "--selector=app.kubernetes.io/name=immutable-operator"
    try:
        found = place.get("deployments", "--all-namespaces", label)
    except DemoError:
        return None  # no permission to list; permissions are checked next
    for item in found.get("items", ()):
        if item.get("status", {}).get("availableReplicas"):
            return f"{item['metadata']['namespace']}/{item['metadata']['name']}"
    return None


def _check_rights(place: Place, needed: Sequence[tuple[str, ...]]) -> None:
    missing = []
    for resource, *where in needed:
        try:
            place.run("auth", "can-i", "--quiet", "create", resource, *where)
        except DemoError:
            missing.append("/".join([resource, *(w[14:] for w in where if "subresource" in w)]))
    if missing:
        raise DemoError(
            f"you may not create {', '.join(missing)} on {place.name}, which the demo requires;"
            " use a login with the role cluster-admin, or run `make demo` without"
            " CONTEXT"
        )


def _has_crds(place: Place) -> bool:
    """Whether the CRDs exist; an error if helm could not adopt them."""
    found = place.get("customresourcedefinition", CRDS[0])
    if not found:
        return False
    notes = found["metadata"].get("annotations", {})
    owner = tuple(notes.get(f"meta.helm.sh/release-{key}", "") for key in ("namespace", "name"))
    if owner != (SYSTEM, RELEASE):
        whose = (
            f"helm release {owner[1]} in namespace {owner[0]}" if all(owner) else "no helm release"
        )
        raise DemoError(
            f"{place.name} has the CustomResourceDefinition {CRDS[0]}, which belongs to {whose},"
            " but no running operator; start that operator, or run `make demo` without CONTEXT"
        )
    return True


def _check_namespace(place: Place, name: str) -> None:
    """Refuse a namespace that the demo did not create, or that is being deleted."""
    found = place.get("namespace", name)
    if found and not _is_ours(found):
        raise DemoError(
            f"namespace {name} already exists on {place.name} and was not created by the demo;"
            " delete it, or run `make demo` without CONTEXT"
        )
    if found and "deletionTimestamp" in found["metadata"]:
        raise DemoError(
            f"namespace {name} is still being deleted; run the command again in a minute"
        )


def _make_namespace(place: Place, name: str, notes: dict[str, str]) -> None:
    if place.get("namespace", name):
        return
    metadata = {"name": name, "labels": {OURS: OURS_VALUE}, "annotations": notes}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    place.run("create", "--filename=-", stdin=json.dumps(namespace))


def _is_ours(item: Json) -> bool:
    return bool(item) and item["metadata"].get("labels", {}).get(OURS) == OURS_VALUE


def _write_kubeconfig(place: Place) -> Path:
    """The address of the cluster with a token of the chart's service account, without your
    login."""
    address = place.run(
        *("config", "view", "--minify", "--flatten", "--raw"),
        "--output=jsonpath={.clusters[0].cluster}",
    )
    token = place.run("create", "token", ACCOUNT, f"--namespace={SYSTEM}", "--duration=24h")
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "demo", "cluster": json.loads(address)}],
        "users": [{"name": ACCOUNT, "user": {"token": token.strip()}}],
        "contexts": [{"name": "demo", "context": {"cluster": "demo", "user": ACCOUNT}}],
        "current-context": "demo",
    }
    path = place.folder / "operator.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=2))
    return path


def _uninstall(place: Place) -> None:
    if shutil.which("helm") is None:
        raise DemoError(
            f"helm is not on PATH, but required to uninstall the chart in {SYSTEM}; install helm"
        )
    try:
        place.run_helm("uninstall", RELEASE, f"--namespace={SYSTEM}")
    except DemoError as error:
        if "not found" not in str(error):
            raise


def _remove_crds(place: Place, say: Say) -> None:
    """Delete the CRDs that the demo installed, unless they are in use."""
    if not place.get("customresourcedefinition", CRDS[0]):
        return
    left = place.get("immutableservices", "--all-namespaces").get("items", [])
    if left:
        names = ", ".join(f"{i['metadata']['namespace']}/{i['metadata']['name']}" for i in left)
        say(f"keeping the CustomResourceDefinitions, because you have services ({names})")
        return
    place.run("delete", "customresourcedefinition", *CRDS, "--timeout=60s")


def _last_line(error: DemoError) -> str:
    return str(error).strip().splitlines()[-1]
