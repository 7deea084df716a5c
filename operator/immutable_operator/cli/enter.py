"""``kubectl immutable exec``: break-glass access to a pod, which is replaced afterwards.

The permission is a right to impersonate the group immutable:break-glass, for one request: there is
no object to remove afterwards.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from immutable_operator.api.names import BREAK_GLASS_GROUP, LABEL_SERVICE
from immutable_operator.cli.arguments import Say, add_login
from immutable_operator.cli.login import find_login
from immutable_operator.cli.objects import Json
from immutable_operator.cli.owner import CANNOT_RUN, with_client
from immutable_operator.cli.problem import CannotRun
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, NotFound
from immutable_operator.kube.paths import PODS, SELF, ApiPath
from immutable_operator.wire.owner import SERVICE

__all__ = ["Access", "add", "command", "run"]

ACCESS = ApiPath("apis/authorization.k8s.io/v1", "selfsubjectaccessreviews")
# The API server adds it to each user that is impersonated.
ADDED = "system:authenticated"
ACCOUNT = "system:serviceaccount:"
AFTERWARDS = {
    "Replace": "it is marked as tainted, and replaced as soon as its successor is available, also"
    " while you are in it",
    "Quarantine": "it is marked as tainted, gets no traffic from now on, and is removed after"
    " spec.immutability.quarantineFor",
    "Report": "it is marked as tainted, and kept",
}
PASSED = (
    *("kubeconfig", "context", "cluster", "user", "server", "tls_server_name", "token"),
    *("client_certificate", "client_key", "certificate_authority", "container"),
)
ADVICE = "see Break-glass in docs/enforcement.md"


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    parser = commands.add_parser(
        "exec",
        usage="kubectl immutable exec [options] POD -- COMMAND ...",
        description="Runs kubectl exec as a member of the group immutable:break-glass, with your"
        " own user and those of your groups that you may impersonate. The pod is marked as tainted"
        " and replaced as spec.immutability.onTaint says; the audit log has your name.",
        epilog="Exit codes: those of the command; 1 not confirmed, 2 cannot run.",
    )
    add = parser.add_argument
    add("--yes", "-y", action="store_true", help="do not ask for confirmation")
    add("--container", "-c", default="", help="container [the default one]")
    add("--stdin", "-i", action="store_true", help="pass standard input to the command")
    add("--tty", "-t", action="store_true", help="standard input is a terminal")
    add_login(parser, "namespace of the pod [the context's]")
    add("pod", metavar="POD", help="name of the pod")
    add("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="command to run in the pod")
    parser.set_defaults(run=run)
    # After the verb, -i and -t can be written together.
    parser.add_argument("-it", "-ti", dest="both", action="store_true", help=argparse.SUPPRESS)


@dataclass(frozen=True)
class Access:
    """As whom to enter which pod: ``groups`` besides the one for break-glass."""

    namespace: str
    pod: str
    user: str
    groups: tuple[str, ...] = ()


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Ask, then become kubectl exec. Returns an exit code if that is not reached."""
    rest = given.command[1:] if given.command[:1] == ["--"] else given.command
    if not rest or rest[0].startswith("-"):
        say("error: write options, the pod, -- and the command: kubectl immutable exec POD -- sh")
        return CANNOT_RUN
    if given.as_user or given.as_groups:
        say("error: exec finds out your own user and groups; leave out --as and --as-group")
        return CANNOT_RUN
    if (kubectl := shutil.which("kubectl")) is None:
        say("error: kubectl is not in $PATH; install it")
        return CANNOT_RUN
    login = find_login(given.kubeconfig, given.context)
    found: list[Access] = []
    namespace = given.namespace or login.namespace()

    async def work(client: KubeClient) -> int:
        access, after = await _access(client, namespace, given.pod)
        say(f"{given.pod} is an immutable instance: {after}")
        if given.yes or _confirmed(say):
            found.append(access)
            return 0
        say("nothing was done")
        return 1

    code = await with_client(login, work, say)
    if not found:
        return code
    sys.stdout.flush()
    os.execv(kubectl, command(found[0], _options(given), rest))  # noqa: S606 - not through a shell
    raise AssertionError("not reached")


def _options(given: argparse.Namespace) -> list[str]:
    """Return the options of kubectl exec: those of the login lead to the same cluster."""
    named = [(name, getattr(given, name)) for name in PASSED]
    flags = [
        ("--insecure-skip-tls-verify", given.insecure_skip_tls_verify),
        ("--stdin", given.stdin or given.both),
        ("--tty", given.tty or given.both),
    ]
    return [
        *(f"--{name.replace('_', '-')}={value}" for name, value in named if value),
        *(flag for flag, is_set in flags if is_set),
    ]


def command(access: Access, options: Sequence[str], rest: Sequence[str]) -> list[str]:
    """Return the arguments of kubectl."""
    groups = [f"--as-group={group}" for group in (BREAK_GLASS_GROUP, *access.groups)]
    place = f"--namespace={access.namespace}"
    identity = [f"--as={access.user}", *groups]
    return ["kubectl", "exec", place, *identity, *options, access.pod, "--", *rest]


def _confirmed(say: Say) -> bool:
    if not sys.stdin.isatty():
        raise CannotRun("standard input is not a terminal, so you cannot be asked; add --yes")
    say("Continue? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _access(client: KubeClient, namespace: str, name: str) -> tuple[Access, str]:
    """Return as whom to enter the pod, and what becomes of it afterwards.

    Raises `CannotRun` if it is no instance or the user may not, `ApiError`.
    """
    try:
        item = PODS.item(namespace, name)
        pod: Json = msgspec.json.decode(await client.get(item, resource=PODS.resource))
    except NotFound as error:
        raise CannotRun(
            f"there is no pod {name} in namespace {namespace}; list the instances with: kubectl get"
            f" pods -n {namespace} -l {LABEL_SERVICE}"
        ) from error
    service = (pod["metadata"].get("labels") or {}).get(LABEL_SERVICE)
    if not service:
        raise CannotRun(f"pod {name} is no instance of a service; use: kubectl exec {name}")
    user, groups = await _self(client)
    if not await _may_be(client, "groups", BREAK_GLASS_GROUP):
        raise CannotRun(f"you may not impersonate the group {BREAK_GLASS_GROUP}; {ADVICE}")
    if not await _may_be_user(client, user):
        raise CannotRun(f"you may not impersonate the user {user}, which is you; {ADVICE}")
    own = [group for group in groups if group not in (ADDED, BREAK_GLASS_GROUP)]
    kept = tuple([group for group in own if await _may_be(client, "groups", group)])
    return Access(namespace, name, user, kept), await _afterwards(client, namespace, service)


async def _self(client: KubeClient) -> tuple[str, list[str]]:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await client.create(SELF.all(), body, resource=SELF.resource)
    info = msgspec.json.decode(answer)["status"]["userInfo"]
    return str(info["username"]), list(info.get("groups") or ())


async def _may_be_user(client: KubeClient, user: str) -> bool:
    if user.startswith(ACCOUNT):
        namespace, _, name = user.removeprefix(ACCOUNT).partition(":")
        return await _may_be(client, "serviceaccounts", name, namespace)
    return await _may_be(client, "users", user)


async def _may_be(client: KubeClient, resource: str, name: str, namespace: str = "") -> bool:
    asked = {"verb": "impersonate", "resource": resource, "name": name, "namespace": namespace}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    answer = await client.create(ACCESS.all(), body, resource=ACCESS.resource)
    return bool(msgspec.json.decode(answer)["status"].get("allowed"))


async def _afterwards(client: KubeClient, namespace: str, service: str) -> str:
    try:
        item = SERVICE.path.item(namespace, service)
        body = msgspec.json.decode(await client.get(item, resource=SERVICE.path.resource))
    except ApiError:
        return AFTERWARDS["Replace"]
    on_taint = (body["spec"].get("immutability") or {}).get("onTaint", "Replace")
    return AFTERWARDS[on_taint]
