"""``kubectl immutable check``: is the operator there, does it lead, does the cluster enforce?

It only reads, and takes seconds. What the user may not read is reported as unknown.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from immutable_operator.admission.fault import Chosen, Found
from immutable_operator.admission.knock import knock
from immutable_operator.admission.policies import NOTHING, Allowed, Mode
from immutable_operator.admission.selfcheck import BREAK_GLASS, door_of, faults
from immutable_operator.api.names import (
    ACTION_PLURAL,
    API_VERSION,
    CHECK_PLURAL,
    FREEZE_PLURAL,
    GROUP,
    LABEL_GUARD,
    LINEAGE_PLURAL,
    REVISION_PLURAL,
    SERVICE_PLURAL,
)
from immutable_operator.cli.arguments import Say, add_login, add_output
from immutable_operator.cli.login import find_login
from immutable_operator.cli.objects import Json
from immutable_operator.cli.owner import with_client
from immutable_operator.cli.table import aligned, visible
from immutable_operator.cli.version import deployment, image_of, plugin_version
from immutable_operator.cli.written import as_text
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import Forbidden, NotFound
from immutable_operator.kube.lease import LEASES
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.times import moment
from immutable_operator.wire.guard import GUARD_PATHS, decode_guard

__all__ = [
    "NO_DEPLOYMENT",
    "Row",
    "add",
    "allowed_by",
    "definitions",
    "guards",
    "leader",
    "operator",
    "run",
]

SLICES = ApiPath("apis/discovery.k8s.io/v1", "endpointslices")
REVIEWS = ApiPath("apis/authorization.k8s.io/v1", "selfsubjectaccessreviews")
LEASE = "immutable-operator"
REQUIRED = (
    *(SERVICE_PLURAL, REVISION_PLURAL, ACTION_PLURAL, FREEZE_PLURAL, CHECK_PLURAL),
    LINEAGE_PLURAL,
)
NO_DEPLOYMENT = "it runs, but no Deployment has the label app.kubernetes.io/name=immutable-operator"
INSTALL = "install or upgrade the chart (see README.md)"
LOGS = "see the logs of the operator's pods"
WORDS = {True: "ok", False: "FAILED", None: "unknown"}
# What a user may want to do, and the permission for it: resource and verb.
RIGHTS = (
    ("read services", SERVICE_PLURAL, "get"),
    ("change services", SERVICE_PLURAL, "patch"),
    ("create actions", ACTION_PLURAL, "create"),
    ("create freezes", FREEZE_PLURAL, "create"),
)


@dataclass(frozen=True)
class Row:
    """One check; ``ok`` is None if the user may not read what it needs."""

    name: str
    ok: bool | None
    text: str


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "check",
        description="Checks, without changing anything: the CustomResourceDefinitions, the"
        " operator's Deployment and lease, the policies, the webhook, and your permissions. The"
        " complete test, which tries every known way to change a pod, is verify.",
        epilog="Exit codes: 0 no check failed, 1 a check failed, 2 cannot run.",
    )
    command.add_argument(
        "--mode",
        choices=("Deny", "Warn", "Audit", "Off"),
        default="Deny",
        help="expected mode of the policies: enforcement.mode of the chart [%(default)s]",
    )
    add_output(command, "json", "yaml")
    add_login(command, "namespace for which your permissions are checked [the context's]")
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Print the checks and return the exit code."""
    login = find_login(given.kubeconfig, given.context)
    namespace = given.namespace or login.namespace()

    async def work(client: KubeClient) -> int:
        rows = await _rows(client, namespace, given.mode)
        failed = [row.name for row in rows if row.ok is False]
        if given.output != "table":
            found = [{"check": r.name, "ok": r.ok, "details": r.text} for r in rows]
            show(as_text(found, given.output))
            return 1 if failed else 0
        lines = [(row.name, WORDS[row.ok], visible(row.text)) for row in rows]
        show("\n".join(aligned([("CHECK", "RESULT", "DETAILS"), *lines])))
        if failed:
            say(f"failed: {', '.join(failed)}")
        return 1 if failed else 0

    return await with_client(login, work, say)


async def _rows(client: KubeClient, namespace: str, mode: Mode) -> list[Row]:
    server = await _read(client, "/version")
    rows = [Row("API server", True, str(server.get("gitVersion")))]
    try:
        served = await _read(client, f"/apis/{API_VERSION}")
    except NotFound:
        return [*rows, definitions(())]
    rows.append(definitions([r["name"] for r in served["resources"]]))
    found: Json | None = None

    async def look() -> Row:
        nonlocal found
        found = await deployment(client)
        return operator(found)

    replicas = await _allowed("operator", look)
    leads = await _allowed("leader", lambda: _leader(client, found))
    if replicas.ok is not None and found is None and leads.ok:
        replicas = Row("operator", True, NO_DEPLOYMENT)
    rows += [replicas, leads]
    rows += await _guards(client, found, mode)
    rows.append(await _rights(client, namespace))
    return rows


async def _allowed(name: str, look: Callable[[], Awaitable[Row]]) -> Row:
    try:
        return await look()
    except Forbidden as error:
        return Row(name, None, f"you cannot read it: {error.message}")


async def _read(client: KubeClient, path: str, **query: str) -> Json:
    body: Json = msgspec.json.decode(await client.get(path, resource="", **query))
    return body


def definitions(served: Any) -> Row:
    """Judge the kinds that the API server serves."""
    missing = [name for name in REQUIRED if name not in served]
    if missing:
        what = ", ".join(missing)
        return Row("definitions", False, f"the API server does not know {what}; {INSTALL}")
    return Row("definitions", True, f"{API_VERSION}: {', '.join(REQUIRED)}")


def operator(found: Json | None) -> Row:
    """Judge the operator's Deployment."""
    if found is None:
        return Row("operator", False, f"there is no Deployment of the operator; {INSTALL}")
    meta, status = found["metadata"], found.get("status") or {}
    where = f"{meta['namespace']}/{meta['name']}"
    wanted, ready = found["spec"].get("replicas", 1), status.get("readyReplicas", 0)
    release = (meta.get("labels") or {}).get("app.kubernetes.io/version", "unknown")
    text = f"{where}: {ready} of {wanted} replicas are ready, version {release}, {image_of(found)}"
    if not ready:
        return Row("operator", False, f"{text}; see its events and logs")
    if release != plugin_version():
        text += f"; this plug-in is {plugin_version()}; install the version of the operator"
    return Row("operator", True, text)


async def _leader(client: KubeClient, found: Json | None) -> Row:
    """Look for the lease in the operator's namespace; in all if that is not known."""
    where = LEASES.collection(found["metadata"]["namespace"]) if found else LEASES.all()
    page = await client.list(
        where, resource=LEASES.resource, fieldSelector=f"metadata.name={LEASE}"
    )
    leases = msgspec.json.decode(page)["items"]
    return leader(leases[0] if leases else {}, client.clock.time())


def leader(lease: Json, now: float) -> Row:
    """Judge the lease; ``now`` in seconds since the epoch, by the clock of the API server."""
    spec = lease.get("spec") or {}
    holder, renewed = spec.get("holderIdentity"), spec.get("renewTime")
    if not holder or not renewed:
        return Row("leader", False, f"no replica leads; {LOGS}")
    past, valid = max(0.0, now - moment(renewed)), float(spec.get("leaseDurationSeconds") or 0)
    text = f"{holder} renewed its lease {past:.0f} s ago"
    if past > valid:
        return Row("leader", False, f"{text}, which was valid for {valid:.0f} s only; {LOGS}")
    return Row("leader", True, text)


async def _guards(client: KubeClient, found: Json | None, mode: Mode) -> list[Row]:
    """Check the policies and the webhook."""
    contents: list[Mapping[str, Any]] = []
    try:
        for path in GUARD_PATHS:
            page = await client.list(path.all(), resource=path.resource, labelSelector=LABEL_GUARD)
            items = msgspec.json.decode(page, type=_Page).items or []
            records = [decode_guard(item) for item in items]
            contents.append({record.guard: record.content for record in records})
    except Forbidden as error:
        text = f"you cannot read them: {error.message}"
        return [Row("policies", None, text), Row("webhook", None, text)]
    installed = Found(*contents)
    policies = guards(installed, _user(found, installed), mode, allowed_by(found))
    return [policies, await _webhook(client, contents[-1])]


def _user(found: Json | None, installed: Found) -> str:
    """Return the user name of the operator: by its Deployment, else the one in the policies."""
    if found is not None:
        account = found["spec"]["template"]["spec"].get("serviceAccountName", "default")
        return f"system:serviceaccount:{found['metadata']['namespace']}:{account}"
    text = str(installed.policies.get("revision-status"))
    named = re.search(r"system:serviceaccount:[a-z0-9.:-]+", text)
    return named[0] if named else ""


class _Page(msgspec.Struct):
    items: list[msgspec.Raw] | None = None


def allowed_by(found: Json | None) -> Allowed:
    """Return what the policies have to let through, by the arguments in the Deployment."""
    given = found["spec"]["template"]["spec"]["containers"][0].get("args") or () if found else ()
    pairs = [argument.partition("=") for argument in given]
    return Allowed(
        verbs=tuple(value for name, _, value in pairs if name == "--allowed-verb"),
        unpinned=tuple(value for name, _, value in pairs if name == "--allow-unpinned"),
    )


def guards(found: Found, user: str, mode: Mode = "Deny", allowed: Allowed = NOTHING) -> Row:
    """Judge the policies and their bindings; ``user`` is the user name of the operator.

    With another ``mode`` than Deny they need not deny.
    """
    if mode == "Off":
        return Row("policies", True, "enforcement.mode is Off: pods can be changed in place")
    chosen = Chosen(allowed, by_label=True)
    wrong = faults(found, user, break_glass=False, chosen=chosen)
    if mode != "Deny":
        wrong = tuple(fault for fault in wrong if fault.reason != "NotDenied")
    everywhere = [fault for fault in wrong if fault.everywhere]
    if everywhere:
        more = f" (and {len(everywhere) - 1} more)" if len(everywhere) > 1 else ""
        return Row("policies", False, f"{everywhere[0].message}{more}")
    do = "deny" if mode == "Deny" else f"have the mode {mode}: they do not deny"
    count = f"{len(found.policies)} policies {do} changes in place"
    excluded = sorted({name for fault in wrong for name in fault.namespaces or ()})
    left = ", ".join(name for name in excluded if name != "kube-system")
    if any(fault.denied for fault in wrong):
        count += ", where the name and the labels of a namespace do not exempt it"
    return Row("policies", True, f"{count}{f'; not in the namespaces {left}' if left else ''}")


async def _webhook(client: KubeClient, found: Mapping[str, Any]) -> Row:
    """Check that API servers can reach the webhook of break-glass, as far as it can be seen."""
    name, webhooks = "webhook", found.get(BREAK_GLASS)
    if not webhooks:
        return Row(name, None, "enforcement.breakGlass is off")
    config = webhooks[0].get("clientConfig") or {}
    if not config.get("caBundle"):
        return Row(name, False, f"it has no caBundle yet; {LOGS}")
    if (service := config.get("service")) is None:
        door = door_of(webhooks)
        trouble = await knock(door) if door else None
        said = f"from here: {trouble.said}" if trouble else "answers"
        return Row(name, None if trouble else True, f"{config.get('url')}: {said}")
    where = f"{service['namespace']}/{service['name']}"
    return await _allowed(name, lambda: _endpoints(client, where))


async def _endpoints(client: KubeClient, where: str) -> Row:
    namespace, name = where.split("/")
    label = f"kubernetes.io/service-name={name}"
    page = await client.list(
        SLICES.collection(namespace), resource=SLICES.resource, labelSelector=label
    )
    slices = msgspec.json.decode(page)["items"]
    ready = sum(
        (e.get("conditions") or {}).get("ready") is not False
        for item in slices
        for e in item.get("endpoints") or ()
    )
    if ready:
        return Row("webhook", True, f"Service {where} has {ready} ready endpoints")
    text = f"Service {where} has no ready endpoint, so break-glass access marks no instance"
    return Row("webhook", False, f"{text}; make sure that an operator pod is ready")


async def _rights(client: KubeClient, namespace: str) -> Row:
    """Say what the user may do."""
    may: list[str] = []
    may_not: list[str] = []
    for what, resource, verb in RIGHTS:
        asked = {"group": GROUP, "resource": resource, "verb": verb}
        if resource != FREEZE_PLURAL:
            asked["namespace"] = namespace
        body = {
            "apiVersion": REVIEWS.group_version.removeprefix("apis/"),
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        answer = msgspec.json.decode(
            await client.create(REVIEWS.all(), body, resource=REVIEWS.resource)
        )
        (may if (answer.get("status") or {}).get("allowed") else may_not).append(what)
    texts = [f"you may {', '.join(may)}"] if may else []
    texts += [f"you may not {', '.join(may_not)}"] if may_not else []
    text = f"{'; '.join(texts)} (namespace {namespace})"
    return Row("permissions", "read services" in may, text)
