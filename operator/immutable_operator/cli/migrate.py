"""``kubectl immutable migrate``: a live Deployment becomes an ImmutableService, successor first.

The state of a migration is in the cluster: the annotation `immutable.dev/migration` on the
Deployment (how many pods it had) and on the service (of which template it was made).
"""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass
from typing import Any

from immutable_operator.cli.action import INTERRUPTED
from immutable_operator.cli.arguments import Say, add_login, seconds
from immutable_operator.cli.login import find_login
from immutable_operator.cli.migration import (
    MOVED,
    REPLICAS,
    deployment_of,
    fingerprint,
    refusal,
    surge_of,
    tool_of,
    total_of,
)
from immutable_operator.cli.objects import Json
from immutable_operator.cli.owner import CANNOT_RUN, not_installed, with_client
from immutable_operator.cli.problem import CannotRun
from immutable_operator.cli.sides import Side, autoscaler_of, deployment, service
from immutable_operator.cli.successor import SOURCE, service_for
from immutable_operator.cli.transfer import Transfer
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import NotFound
from immutable_operator.wire.owner import SERVICE

__all__ = ["add", "run"]

TYPES = ("deployment", "deployments", "deploy", "deployment.apps", "deployments.apps")
MADE = "template"


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "migrate",
        description="Creates an ImmutableService with the template of a Deployment, pinned to the"
        " digests that its pods run, and moves the pods in small steps: a pod of the Deployment is"
        " removed only when a pod of the service is available instead. A HorizontalPodAutoscaler"
        " of the Deployment is moved, too. The Deployment is kept without pods. It can be"
        " interrupted and run"
        " again at any time.",
        epilog="Exit codes: 0 moved, 1 the migration cannot continue, 2 cannot run, 130"
        " interrupted.",
    )
    command.add_argument("name", metavar="deployment/NAME", help="the Deployment to move")
    way = command.add_mutually_exclusive_group()
    way.add_argument(
        "--abort", action="store_true", help="move all pods back, before the end of the migration"
    )
    way.add_argument(
        "--back",
        action="store_true",
        help="move all pods from the ImmutableService NAME to the Deployment, which is created if"
        " there is none",
    )
    add = command.add_argument
    add("--dry-run", action="store_true", help="only check, and say what would be done")
    text = "seconds to wait while nothing changes [600]"
    add("--timeout", type=seconds, default=600.0, help=text)
    add_login(command, "namespace of the Deployment [the context's]")
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Migrate and return the exit code."""
    kind, slash, name = given.name.partition("/")
    if not slash or kind.lower() not in TYPES or not name:
        say(f"error: {given.name} is not the name of a Deployment; write deployment/NAME")
        return CANNOT_RUN
    login = find_login(given.kubeconfig, given.context)
    namespace = given.namespace or login.namespace()

    async def work(client: KubeClient) -> int:
        migration = _Migration(
            deployment(client, namespace, name), service(client, namespace, name), given, say, show
        )
        try:
            return await migration.run()
        except NotFound as error:
            if error.name:
                raise
            raise CannotRun(not_installed(SERVICE)) from error
        except asyncio.CancelledError:
            say(
                "interrupted: running pods are kept; to continue, run the same command again; to"
                f" go back: kubectl immutable migrate deployment/{name}{_return(given)}"
            )
            return INTERRUPTED

    return await with_client(login, work, say)


def _return(given: argparse.Namespace) -> str:
    """Return the option that moves the pods to where they came from."""
    return "" if given.abort or given.back else " --abort"


@dataclass
class _Migration:
    """One run of the command."""

    deployment: Side
    service: Side
    given: argparse.Namespace
    say: Say
    show: Say

    @property
    def name(self) -> str:
        return self.deployment.name

    async def run(self) -> int:
        """Return the exit code. Raises `CannotRun`, `ApiError`."""
        source, there = await self.deployment.read(), await self.service.read()
        client, namespace = self.deployment.client, self.deployment.namespace
        scaler = await autoscaler_of(client, namespace, self.name)
        if tool := self._owned_by(source, there, scaler):
            self._two_commits(tool)
            return CANNOT_RUN
        if self.given.abort or self.given.back:
            return await self._back(source, there, scaler)
        return await self._forth(source, there, scaler)

    def _owned_by(self, *bodies: Json | None) -> str:
        for body in filter(None, bodies):
            if tool := tool_of(body):
                return (
                    f"{body.get('kind') or 'HorizontalPodAutoscaler'} {self.name} belongs to {tool}"
                )
            owner = next(iter(body["metadata"].get("ownerReferences") or ()), None)
            if owner and "scaleTargetRef" in body["spec"]:
                by = f"{owner['kind']} {owner['name']}"
                raise CannotRun(
                    f"the autoscaler of {self.name} belongs to {by}, which would change it back;"
                    f" delete {by}, migrate, and create it again for the ImmutableService"
                )
        return ""

    def _two_commits(self, tool: str) -> None:
        made = "kubectl immutable convert -f FILE | kubectl immutable pin -f -"
        wait = f"kubectl immutable status {self.name}"
        first = "Add the ImmutableService, and keep the Deployment"
        if self.given.abort or self.given.back:
            made, first = (
                "the manifest as it was before",
                "Add the Deployment, and keep the service",
            )
            wait = f"kubectl rollout status deployment/{self.name}"
        self.say(
            f"error: {tool}, which would undo the migration; make two commits instead:\n"
            f"1. {first}: {made}. Wait until: {wait}\n"
            "2. Remove the old object, and set scaleTargetRef of its autoscalers to the new one."
        )

    # Forth

    async def _forth(self, source: Json | None, there: Json | None, scaler: Json | None) -> int:
        if source is None:
            raise CannotRun(self._no_deployment())
        marks = Side.marks(source)
        if marks.get(MOVED) and there is not None and not source["spec"].get("replicas", 1):
            self.show(f"deployment {self.name} was moved to the ImmutableService already")
            return 0
        self._check(source, there, marks)
        total = total_of(source, marks, is_new=there is None)
        surge = surge_of((source["spec"].get("strategy") or {}).get("rollingUpdate"), total)
        body = None
        if there is None:
            body = await service_for(source, self.deployment, self.say)
        if self.given.dry_run:
            return self._tell_plan(total, surge, scaler, body)
        if there is None:
            await self.deployment.mark({REPLICAS: total})
        if body is not None:
            await self._create(source, body)
        code = await self._transfer(self.deployment, self.service, total, surge, scaler)
        if code == 0:
            await self.deployment.mark({REPLICAS: total, MOVED: True})
            self.show(
                f"deployment {self.name} was moved to ImmutableService {self.name}. Replace the"
                " Deployment in your manifests, and when you no longer need it, run: kubectl"
                " delete deployment"
                f" {self.name} -n {self.deployment.namespace}"
            )
        return code

    def _check(self, source: Json, there: Json | None, marks: Json) -> None:
        """Raise `CannotRun` if the Deployment cannot be moved to the service."""
        if (there is None or not marks) and (problem := refusal(source)):
            raise CannotRun(f"deployment {self.name} cannot be migrated: {problem}")
        if there is None:
            return
        if not (made := Side.marks(there)):
            raise CannotRun(
                f"there is an ImmutableService {self.name} that was not made by this command;"
                " delete it, or rename one of the two"
            )
        if made.get(SOURCE) != fingerprint(source["spec"]["template"]):
            raise CannotRun(
                f"the template of deployment {self.name} changed since the migration began; go"
                " back with --abort, and start the migration again"
            )

    async def _create(self, source: Json, body: Json) -> None:
        """Create the service, and note what the API server made of its template."""
        stored = await self.service.create(body)
        made = {SOURCE: fingerprint(source["spec"]["template"])}
        await self.service.mark(made | {MADE: fingerprint(stored["spec"]["template"])})
        self.show(f"ImmutableService {self.name} created")

    def _no_deployment(self) -> str:
        return (
            f"there is no Deployment {self.name} in namespace {self.deployment.namespace}; list all"
            " with: kubectl get deployments -A"
        )

    def _tell_plan(self, total: int, surge: int, scaler: Json | None, body: Json | None) -> int:
        if body is not None:
            self.show(f"ImmutableService {self.name} would be created, with these images:")
            for container in body["spec"]["template"]["spec"]["containers"]:
                self.show(f"  {container['name']}: {container['image']}")
        self.show(f"{total} pods would be moved, {surge} at a time")
        if scaler is not None:
            name = scaler["metadata"]["name"]
            self.show(f"HorizontalPodAutoscaler {name} would be moved, too")
        return 0

    # Back

    async def _back(self, source: Json | None, there: Json | None, scaler: Json | None) -> int:
        marks, made = Side.marks(source), Side.marks(there)
        if there is None:
            return await self._nothing_to_move(source, marks)
        if self.given.abort and (not marks or marks.get(MOVED)):
            what = "has ended" if marks else "has not begun"
            raise CannotRun(
                f"the migration of deployment {self.name} {what}; to go back, use --back"
            )
        if there["spec"].get("suspend"):
            raise CannotRun(
                f"service {self.name} is suspended; first run: kubectl immutable resume {self.name}"
            )
        running = marks and not marks.get(MOVED)
        desired = there["spec"].get("replicas", (there.get("status") or {}).get("replicas"))
        total = int(marks[REPLICAS] if running else desired or 0)
        surge = surge_of(there["spec"].get("rollout"), total)
        if self.given.dry_run:
            return self._tell_plan(total, surge, scaler, None)
        await self._ready_deployment(source, there, made, total)
        code = await self._transfer(self.service, self.deployment, total, surge, scaler)
        if code:
            return code
        if made:
            await self.service.delete(there["metadata"]["uid"])
        await self.deployment.mark(None)
        kept = "" if made else "; the service is kept without pods, because you created it"
        self.show(f"the pods of {self.name} belong to deployment {self.name} again{kept}")
        return 0

    async def _nothing_to_move(self, source: Json | None, marks: Json) -> int:
        if source is None or not marks:
            raise CannotRun(
                f"there is no ImmutableService {self.name} in namespace {self.service.namespace};"
                " nothing has to be moved back"
            )
        # Interrupted before the service was created, or after it was deleted.
        if not self.given.dry_run:
            if source["spec"].get("replicas", 1) == 0:
                await self.deployment.scale(int(marks.get(REPLICAS, 1)))
            await self.deployment.mark(None)
        self.show(f"deployment {self.name} is as it was before the migration")
        return 0

    async def _ready_deployment(
        self, source: Json | None, there: Json, made: Json, total: int
    ) -> None:
        """Let the Deployment exist and have the template of the service."""
        template = there["spec"]["template"]
        if source is None:
            await self.deployment.create(deployment_of(there))
        elif fingerprint(template) != made.get(MADE):
            self._check_selector(source, template)
            patch = {"spec": {"template": {**template, "$patch": "replace"}}}
            await self.deployment.patch(patch, strategic=True)
        await self.deployment.mark({REPLICAS: total})

    def _check_selector(self, source: Json, template: Json) -> None:
        labels = (template.get("metadata") or {}).get("labels") or {}
        wanted = source["spec"]["selector"].get("matchLabels") or {}
        if any(labels.get(key) != value for key, value in wanted.items()):
            raise CannotRun(
                f"the labels of the service's template do not match the selector of deployment"
                f" {self.name}; delete that Deployment, and run the command again"
            )

    async def _transfer(
        self, old: Side, new: Side, total: int, surge: int, scaler: Json | None
    ) -> int:
        moving = Transfer(old, new, total, surge, scaler, self.given.timeout, self.show)
        if not (problem := await moving.run()):
            return 0
        self.say(
            f"error: {problem}; running pods are kept. Correct the cause and run the command"
            f" again, or go back: kubectl immutable migrate deployment/{self.name}"
            f"{_return(self.given)}"
        )
        return 1
