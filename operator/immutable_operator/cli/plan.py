"""``kubectl immutable plan``: what would happen if a file was applied; it changes nothing.

The planner of the operator itself is run, against the state of the cluster, with the edited spec.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

from immutable_operator.cli.arguments import Say, add_login
from immutable_operator.cli.compare import compared
from immutable_operator.cli.compare_config import Pinned
from immutable_operator.cli.contents import Contents
from immutable_operator.cli.diff import DIFFERENT, SAME, Side, born, changes_between, recorded
from immutable_operator.cli.dry_run import Supposed, suppose
from immutable_operator.cli.foretold import Foretold, as_json, as_text
from immutable_operator.cli.login import find_login
from immutable_operator.cli.manifests import Manifest, Manifests, read_manifests
from immutable_operator.cli.objects import Json
from immutable_operator.cli.owner import CANNOT_RUN, Owner, records_home, with_client
from immutable_operator.cli.planner_view import Known, read_view
from immutable_operator.cli.problem import CannotRun
from immutable_operator.cli.records import identity, named
from immutable_operator.cli.written import as_text as as_data
from immutable_operator.domain.desired import desired_number
from immutable_operator.domain.families.nodes import NODES
from immutable_operator.domain.families.pods import PODS
from immutable_operator.domain.forecast import forecast
from immutable_operator.domain.model import CreateRevision, Policy
from immutable_operator.domain.target import Target, choose
from immutable_operator.kube.client import KubeClient
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the verb to the command line."""
    command = commands.add_parser(
        "plan",
        description="Runs the planner of the operator with the services and node pools of a file,"
        " against the present state of the cluster, and changes nothing. It shows whether there"
        " would be a new revision, what differs, which pods would be replaced, in which order and"
        " how fast, and which freeze or budget would delay that. It asks the API server with a dry"
        " run, so that what would be refused is refused here, too. ConfigMaps in the file are"
        " taken into account.",
        epilog="Exit codes: 0 nothing would change, 1 something would, 2 cannot run, or the file"
        " would be refused.",
    )
    command.add_argument(
        "--filename",
        "-f",
        action="append",
        required=True,
        metavar="FILE",
        help="file of YAML or JSON with any number of documents; - is standard input",
    )
    command.add_argument(
        "--output", "-o", choices=("text", "json", "yaml"), default="text", help="format [text]"
    )
    add_login(command, "namespace of objects that have none in the file [the context's]")
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, say: Say, show: Say) -> int:
    """Print what would happen and return the exit code."""
    try:
        manifests = read_manifests(given.filename)
    except CannotRun as error:
        say(f"error: {error}")
        return CANNOT_RUN
    for other in manifests.others:
        say(f"ignored: {other}; plan looks at services, node pools and ConfigMaps only")
    login = find_login(given.kubeconfig, given.context)
    here = given.namespace or login.namespace()

    async def work(client: KubeClient) -> int:
        told = []
        for manifest in manifests.owners:
            if given.namespace and manifest.namespace not in ("", given.namespace):
                raise CannotRun(
                    f"{manifest.kind.name} {manifest.name} is in namespace {manifest.namespace},"
                    f" and --namespace is {given.namespace}; leave one of them out"
                )
            namespace = manifest.namespace or here
            told.append(await _foretold(client, manifest, namespace, manifests))
        for one in told:
            for text in one.unknown if given.output == "text" else ():
                say(f"warning: {text}")
        show(_formatted(told, given.output))
        return DIFFERENT if any(one.is_changed for one in told) else SAME

    return await with_client(login, work, say)


def _formatted(told: list[Foretold], output: str) -> str:
    if output == "text":
        return "\n\n".join(as_text(replace(one, unknown=())) for one in told)
    return as_data([as_json(one) for one in told], output)


async def _foretold(
    client: KubeClient, manifest: Manifest, namespace: str, manifests: Manifests
) -> Foretold:
    now = time.time()
    supposed = await suppose(client, manifest, namespace, now)
    now = client.clock.time()
    kind = manifest.kind
    if not kind.is_namespaced:
        namespace = await records_home(client, manifest.name) if supposed.before else namespace
    owner = Owner(client, kind, namespace, manifest.name, supposed.after)
    records = await owner.records() if supposed.before is not None else []
    given = {
        **manifests.configs.get("", {}),
        **manifests.configs.get(namespace, {}),
    }
    contents = Contents(client, namespace, given)
    known = await read_view(owner, records, contents, now)
    return await _told(owner, supposed, records, contents, (known, now))


async def _told(
    owner: Owner,
    supposed: Supposed,
    records: list[Json],
    contents: Contents,
    seen: tuple[Known, float],
) -> Foretold:
    known, now = seen
    view, family = known.view, PODS if owner.kind.is_namespaced else NODES
    # What holds it back does not change what the spec asks for.
    free = replace(view, freezes=(), spec=replace(view.spec, suspend=False))
    target = choose(free, now, family)
    new = next((m for m in target.moves if isinstance(m, CreateRevision)), None)
    by_id = {identity(record): record for record in records}
    running = by_id.get(str(owner.status.get("currentRevision")))
    sides = _sides(owner, supposed, running, known)
    is_other = running is not None and (new is not None or _asked(target, by_id) != named(running))
    changes, problems = (
        await changes_between(owner.kind, *sides, contents) if is_other else ([], [])
    )
    warnings = [supposed.warning] if supposed.warning else []
    withheld = [f"{k} {n} is not compared: no revision pins it" for k, n in view.withheld]
    return Foretold(
        word=owner.kind.word,
        namespace=owner.namespace if owner.kind.is_namespaced else "",
        name=owner.name,
        exists=supposed.before is not None,
        running=named(running) if running else "",
        asked=_asked(target, by_id),
        new=new,
        titles=(sides[0].title, sides[1].title),
        changes=changes,
        spec=_spec_changes(owner, supposed),
        found=forecast(view, now, family, known.assumed, Policy()),
        now=now,
        start=known.assumed.start,
        is_observed=known.is_observed,
        desired=desired_number(view),
        unknown=[*warnings, *known.unknown, *problems, *sorted(withheld)],
    )


def _asked(target: Target, by_id: dict[str, Json]) -> str:
    asked = target.asked
    return named(by_id[asked.id]) if asked is not None and asked.id in by_id else ""


def _sides(
    owner: Owner, supposed: Supposed, running: Json | None, known: Known
) -> tuple[Side, Side]:
    """Return what runs, and what the file asks for."""
    spec = OwnerRecord.of(supposed.after, owner.kind, owner.namespace).spec
    config = {
        key: Pinned(key[1], source.digest or "") for key, source in known.view.configs.items()
    }
    new = Side(
        f"{owner.kind.word} {owner.name} in the file", born(owner.kind, spec.template or {}), config
    )
    if running is None:
        return Side(f"{owner.kind.word} {owner.name} does not run", {}), new
    return recorded(owner, running), new


def _spec_changes(owner: Owner, supposed: Supposed) -> list[Any]:
    """Return what differs in the spec beside what a revision records."""
    if supposed.before is None:
        return []
    before, after = (
        {k: v for k, v in body["spec"].items() if k not in owner.kind.fields}
        for body in (supposed.before, supposed.after)
    )
    return compared("spec", before, after)
