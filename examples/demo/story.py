"""The steps of the demo: cluster, chart, operator, service, change, replacement."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from examples.demo import operator_process
from examples.demo.act import Act
from examples.demo.feed import Feed
from examples.demo.fleet import Fleet
from examples.demo.nodes import play_pool, sum_up_pool
from examples.demo.operator_process import Webhook
from examples.demo.own import CRDS
from examples.demo.place import ACCOUNT, CHART, RELEASE, SYSTEM, DemoError, Place
from examples.demo.screen import Screen
from examples.demo.settled import until_settled
from tests.controlplane.access import find_kubectl
from tests.controlplane.audit import AuditLog

__all__ = ["STEPS", "play"]

STEPS = 4
SERVICE = "web"
OPERATOR = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"
NODE_VALUES = ("--set=nodes.enabled=true,nodes.simulated=true",)
NODE_FLAGS = ("--nodes", "--simulated-nodes")
INSTALL = (
    *("upgrade", "--install", RELEASE, str(CHART), f"--namespace={SYSTEM}"),
    *("--create-namespace", "--set=replicas=0"),
)


def play(screen: Screen, what: str, prepare: Callable[[], Place], *, nodes: bool = False) -> None:
    """Run the whole demo. Everything keeps running afterwards. ``nodes``: that of node pools."""
    with screen.step(what, "10 s; about 15 minutes the first time" if "plane" in what else "5 s"):
        place = prepare()
    webhook = Webhook.on(place.address) if place.address else None
    with screen.step("the operator's chart, installed with helm", "5 s"):
        _install(place, screen, webhook, NODE_VALUES if nodes else ())
    with screen.step("the operator: a process under the chart's service account", "20 s"):
        _start_operator(place, screen, webhook, NODE_FLAGS if nodes else ())
    if nodes:
        with screen.step("a pool of three nodes, then a change of one in place", "30 s"):
            replaced = play_pool(place, screen)
        sum_up_pool(place, screen, replaced)
        return
    fleet, began = Fleet(), 0
    change = f"sed '{place.edit}' {place.manifest} | {place.typed} apply -f -"
    with screen.step("a service with four pods, then a change of its image", "15 s"):
        _begin_afresh(place, screen)
        with Feed(place, SERVICE) as feed:
            Act(place, screen, feed, fleet).run(f"{place.typed} apply -f {place.manifest}")
            began = place.audit.mark() if place.audit else 0
            old = fleet.service.revision if fleet.service else ""
            seconds = Act(place, screen, feed, fleet).run(change)
    _sum_up(place, screen, fleet, old, seconds, began)
    _how_to_go_on(place, screen, change)


def _begin_afresh(place: Place, screen: Screen) -> None:
    """Delete the service of an earlier demo, with its pods and revisions."""
    if place.get("immutableservice", SERVICE):
        screen.detail("deleting the service of an earlier demo")
        place.run("delete", "immutableservice", SERVICE, "--cascade=foreground", "--timeout=100s")


def _install(place: Place, screen: Screen, webhook: Webhook | None, values: Sequence[str]) -> None:
    if place.operator_kubeconfig is None:
        screen.detail("it is already installed and is not changed")
        return
    if webhook:
        way = f"breakGlassURL={webhook.url}"
    else:
        screen.detail("break-glass is disabled, because the API server cannot reach this machine")
        way = "breakGlass=false"
    install = (*INSTALL, f"--set=enforcement.{way}", *values)
    try:
        place.run_helm(*install)
    except DemoError as error:
        # An interrupted install blocks the next one; uninstalling keeps services.
        if "another operation" not in str(error):
            raise
        screen.detail("an earlier installation was interrupted: installing again")
        place.run_helm("uninstall", RELEASE, f"--namespace={SYSTEM}")
        place.run_helm(*install)
    names = (f"customresourcedefinition/{name}" for name in CRDS)
    place.run("wait", "--for=condition=Established", "--timeout=60s", *names)


def _start_operator(
    place: Place, screen: Screen, webhook: Webhook | None, flags: Sequence[str]
) -> None:
    if place.operator_kubeconfig is None:
        screen.detail("it is already running and is not changed")
        return
    kubeconfig = place.operator_kubeconfig()
    operator_process.start(place.folder, kubeconfig, webhook, flags)
    until_settled(place, kubeconfig)
    screen.detail(f"its log: {operator_process.log_file(place.folder)}")


def _sum_up(
    place: Place, screen: Screen, fleet: Fleet, old: str, seconds: float, began: int
) -> None:
    service = fleet.service
    if service is None:
        return
    screen.print()
    screen.print(
        f"Revision {service.revision} has replaced revision {old} in {seconds:.1f} s:", style="bold"
    )
    pairs = [p for p in fleet.pairs(old) if p.predecessor and p.successor]
    for pair in pairs:
        if pair.predecessor and pair.successor:
            screen.print(f"  slot {pair.slot}  {pair.predecessor.name} -> {pair.successor.name}")
    for because in sorted({p.successor.because for p in pairs if p.successor}):
        screen.print(f"  why: {because}")
    early = ", ".join(fleet.left_too_early)
    screen.print(
        f"At least {fleet.fewest} of {service.wanted} pods were always available, and at most"
        f" {fleet.most} existed. "
        + (
            f"Removed before their successors were ready: {early}."
            if early
            else "Each pod was removed after its successor was ready."
        )
    )
    if place.audit:
        screen.print(
            f"The operator, according to the API server's audit log: {_writes(place.audit, began)}."
        )


def _writes(audit: AuditLog, began: int) -> str:
    """The operator's writes of pods since ``began``."""
    written = audit.writes(OPERATOR, began, allowed_only=True)
    created, evicted = written["create", "pods"], written["create", "pods/eviction"]
    pods = sum(n for (_, target), n in written.items() if target.partition("/")[0] == "pods")
    changed = pods - created - evicted
    return f"{created} pods created, {evicted} evicted, {changed} changed"


def _how_to_go_on(place: Place, screen: Screen, change: str) -> None:
    kubectl = place.typed
    screen.print()
    screen.print("Everything keeps running. To try it by hand, in this folder:", style="bold")
    if kubeconfig := place.environment.get("KUBECONFIG"):
        screen.command(f"  export KUBECONFIG={shlex.quote(kubeconfig)}")
    if shutil.which("kubectl") is None:
        screen.command(f"  alias kubectl={shlex.quote(str(find_kubectl()))}")
    message = "jsonpath='{.status.conditions[0].message}{\"\\n\"}'"
    first_pod = f"$({kubectl} get pods -o name | head -1)"
    tags = f"sed 's|@sha256.*||' {place.manifest} | {kubectl} apply -f -"
    broken = f"sed 's|@sha256.*|@sha256:{'0' * 64}|' {place.manifest} | {kubectl} apply -f -"
    if place.simulated:  # its nodes pull no images: an annotation simulates the failure
        fault = "s|sim/ready-delay.*|sim/fault: image-not-found|"
        broken = f"sed '{fault}' {place.manifest} | {kubectl} apply -f -"
    for what, command in (
        ("watch the service (stop with Ctrl-C)", f"{kubectl} get imsvc -w"),
        ("scale it like a Deployment", f"{kubectl} scale imsvc {SERVICE} --replicas=6"),
        (
            "delete a pod: the operator recreates it",
            f'{kubectl} delete --wait=false "{first_pod}"',
        ),
        ("an image that does not exist: the release fails, the other pods keep running", broken),
        (
            "show why, and what runs instead (after 20 seconds)",
            f"{kubectl} get imsvc {SERVICE} -o {message}",
        ),
        (
            "return to the first image: all pods are replaced",
            f"{kubectl} apply -f {place.manifest}",
        ),
        ("apply the second image again", change),
        ("an image without a digest: the API server refuses it", tags),
        ("list its revisions: the current one and the last ten", f"{kubectl} get imrev"),
        ("show the documentation of every field", f"{kubectl} explain imsvc.spec"),
    ):
        screen.print(f"  # {what}", style="dim")
        screen.command(f"  {command}")
    if place.address:
        plugin = Path(sys.executable).with_name("kubectl-immutable")
        image = place.get("immutableservice", SERVICE)["spec"]["template"]["spec"]["containers"][0]
        screen.print("  # try every way to change a running pod: takes about a minute", style="dim")
        screen.command(f"  {plugin} verify --image={image['image']}")
    screen.print()
    screen.print(
        f"Stop it, and delete everything that it created:  {place.stop_command}", style="bold"
    )
