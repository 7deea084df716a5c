"""The user's own cluster: a context of their kubeconfig. Only what the demo made is removed.

What is ours carries the label `OURS`; whether the demo installed the CustomResourceDefinitions
is noted on its namespace, because they may be older than the demo.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from examples.demo import operator_process
from examples.demo.place import ACCOUNT, DEMO, RELEASE, SYSTEM, DemoError, Json, Place
from tests.controlplane.access import find_kubectl
from tests.controlplane.build import cache_root

__all__ = ["folder", "prepare", "remove"]

OURS = "demo.immutable.dev/made-by"
OURS_VALUE = "make-demo"
MADE_CRDS = "demo.immutable.dev/made-crds"
CRDS = tuple(
    f"immutable{kind}.immutable.dev" for kind in ("services", "revisions", "actions", "freezes")
)
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
    """What the demo keeps on this machine for that cluster: the operator's log, its kubeconfig."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", context)[:40]
    return cache_root() / f"demo-{plain}-{hashlib.sha256(context.encode()).hexdigest()[:6]}"


def prepare(context: str, say: Say) -> Place:
    """See whether all is there that the demo needs, then make its two namespaces."""
    place = _reach(context)
    if shutil.which("helm") is None:
        raise DemoError(
            "helm is not on PATH, and on your own cluster the demo installs its chart with it;"
            " install helm 3 or 4, or run `make demo` without CONTEXT, which builds its own"
        )
    running = _running_operator(place)
    _check_rights(place, NEEDED_RIGHTS[:1] if running else NEEDED_RIGHTS)
    _check_namespace(place, DEMO)
    if running:
        say(f"an operator runs there already ({running}): it is used as it is")
    else:
        _check_namespace(place, SYSTEM)
        _make_namespace(place, SYSTEM, {MADE_CRDS: str(not _has_crds(place)).lower()})
        place = replace(place, operator_kubeconfig=lambda: _write_kubeconfig(place))
    _make_namespace(place, DEMO, {})
    return place


def remove(context: str, say: Say) -> bool:
    """Delete what the demo made there, the service with its pods first; whether there was any."""
    place = _reach(context)
    demo, system = place.get("namespace", DEMO), place.get("namespace", SYSTEM)
    if _is_ours(demo):
        say(f"deleting namespace {DEMO} with all that is in it (about 15 s)")
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
    """The place, once its context is known and its API server has answered."""
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
            f"your kubeconfig has no context {context}; give one of these as CONTEXT:"
            f" {', '.join(known) or '(it has none: check $KUBECONFIG)'}"
        )
    try:
        place.run("get", "--raw=/version", "--request-timeout=15s")
    except DemoError as error:
        raise DemoError(
            f"the cluster of context {context} does not answer; start it, or log in, until"
            f" `kubectl --context={name} get nodes` works. It said: {_last_line(error)}"
        ) from None
    return place


def _running_operator(place: Place) -> str | None:
    """An operator that somebody has installed for real, as namespace/name of its Deployment."""
    label = "--selector=app.kubernetes.io/name=immutable-operator"
    try:
        found = place.get("deployments", "--all-namespaces", label)
    except DemoError:
        return None  # no right to look; the rights are checked next
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
            f"you may not create {', '.join(missing)} on {place.name}, which the demo needs;"
            " use a login with the role cluster-admin, or run `make demo` without"
            " CONTEXT"
        )


def _has_crds(place: Place) -> bool:
    """Whether the CRDs are there; an error where helm could not take them over."""
    found = place.get("customresourcedefinition", CRDS[0])
    if not found:
        return False
    notes = found["metadata"].get("annotations", {})
    owner = tuple(notes.get(f"meta.helm.sh/release-{key}", "") for key in ("namespace", "name"))
    if owner != (SYSTEM, RELEASE):
        whose = f"helm release {owner[1]} in namespace {owner[0]}" if all(owner) else "nobody"
        raise DemoError(
            f"{place.name} has the CustomResourceDefinition {CRDS[0]}, which belongs to {whose},"
            " and no operator that runs; start that operator, or run `make demo` without CONTEXT"
        )
    return True


def _check_namespace(place: Place, name: str) -> None:
    """Refuse a namespace that somebody else has made, or that is on its way out."""
    found = place.get("namespace", name)
    if found and not _is_ours(found):
        raise DemoError(
            f"namespace {name} is there already on {place.name} and is not the demo's, which"
            " touches nothing of yours; rename or delete it, or run `make demo` without CONTEXT"
        )
    if found and "deletionTimestamp" in found["metadata"]:
        raise DemoError(f"namespace {name} is still being deleted; run this again in a minute")


def _make_namespace(place: Place, name: str, notes: dict[str, str]) -> None:
    if place.get("namespace", name):
        return
    metadata = {"name": name, "labels": {OURS: OURS_VALUE}, "annotations": notes}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    place.run("create", "--filename=-", stdin=json.dumps(namespace))


def _is_ours(item: Json) -> bool:
    return bool(item) and item["metadata"].get("labels", {}).get(OURS) == OURS_VALUE


def _write_kubeconfig(place: Place) -> Path:
    """The address of the cluster with a token of the chart's service account; no login of yours."""
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
        raise DemoError(f"helm is not on PATH: the chart in {SYSTEM} is uninstalled with it")
    try:
        place.run_helm("uninstall", RELEASE, f"--namespace={SYSTEM}")
    except DemoError as error:
        if "not found" not in str(error):
            raise


def _remove_crds(place: Place, say: Say) -> None:
    """The CRDs that the demo installed, unless somebody has begun to use them."""
    if not place.get("customresourcedefinition", CRDS[0]):
        return
    left = place.get("immutableservices", "--all-namespaces").get("items", [])
    if left:
        names = ", ".join(f"{i['metadata']['namespace']}/{i['metadata']['name']}" for i in left)
        say(f"the CustomResourceDefinitions stay: there are services of yours ({names})")
        return
    place.run("delete", "customresourcedefinition", *CRDS, "--timeout=60s")


def _last_line(error: DemoError) -> str:
    return str(error).strip().splitlines()[-1]
