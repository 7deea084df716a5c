"""The demo of node pools: a pool is created, a node is changed in place, and it is replaced."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from examples.demo.feed import Change, Feed
from examples.demo.place import DemoError, Json, Place
from examples.demo.screen import Screen
from immutable_operator.api.names import (
    ANNOTATION_BECAUSE,
    ANNOTATION_REPLACES,
    ANNOTATION_VERIFIED,
    LABEL_POOL,
    TAINT_RETIRING,
)

__all__ = ["play_pool", "sum_up_pool"]

POOL = "demo"
MANIFEST = "examples/nodepool.yaml"
KINDS = {
    "nodes": (f"--selector={LABEL_POOL}={{name}}",),
    "immutablenodepools": ("--field-selector=metadata.name={name}",),
    "events": (
        "--field-selector=involvedObject.kind=ImmutableNodePool,involvedObject.name={name}",
        "--namespace=default",
    ),
}
PATIENCE_SECONDS = 180.0
POLL_SECONDS = 0.1


@dataclass
class PoolScene:
    """What is known of the pool and its nodes, and when each change was shown."""

    screen: Screen
    began: float = field(default_factory=time.monotonic)
    nodes: dict[str, Json] = field(default_factory=dict)
    pool: Json = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)

    def take_in(self, change: Change) -> None:
        """Show a change of a node's state, an event, or another reason of the pool's status."""
        meta = change.item["metadata"]
        if change.kind == "nodes":
            gone = change.type == "DELETED"
            self._tell(meta["name"], "gone" if gone else state(change.item))
            self.nodes = {k: v for k, v in self.nodes.items() if k != meta["name"]}
            if not gone:
                self.nodes[meta["name"]] = change.item
        elif change.kind == "immutablenodepools":
            self.pool = change.item
            ready = condition(change.item, "Ready")
            self._tell(f"pool {POOL}", ready.get("reason", ""))
        elif change.type == "ADDED" and change.item["involvedObject"].get("uid") == self.uid:
            self.line(f"event {change.item['reason']}: {change.item['message']}")

    @property
    def uid(self) -> str:
        return str(self.pool.get("metadata", {}).get("uid", ""))

    def _tell(self, subject: str, text: str) -> None:
        if text and self.shown.get(subject) != text:
            self.shown[subject] = text
            self.line(f"{subject:<24} {text}")

    def line(self, text: str) -> None:
        self.screen.print(f"      {time.monotonic() - self.began:5.1f} s  {text}")

    def is_ready(self, generation: int) -> bool:
        """Whether the pool says so for this generation, and no node is left over."""
        ready = condition(self.pool, "Ready")
        told = self.pool.get("status", {}).get("observedGeneration", -1) >= generation
        wanted = self.pool.get("spec", {}).get("replicas")
        settled = ready.get("status") == "True" and ready.get("reason") == "Current"
        return told and settled and len(self.nodes) == wanted


def play_pool(place: Place, screen: Screen) -> tuple[str, Json]:
    """Create the pool, change a node in place, and show how it is replaced.

    Return the name of that node, and its successor.
    """
    if place.get("immutablenodepool", POOL):
        screen.detail("deleting the pool of an earlier demo, with its nodes")
        drain = json.dumps({"spec": {"deletionPolicy": "Drain"}})
        place.run("patch", "immutablenodepool", POOL, "--type=merge", f"--patch={drain}")
        place.run("delete", "immutablenodepool", POOL, "--timeout=100s")
    with closing(_open(place)) as feed:
        scene = PoolScene(screen)
        _run(place, screen, f"{place.typed} apply -f {MANIFEST}")
        _follow(feed.feed, scene, lambda: scene.is_ready(1))
        victim = min(scene.nodes)
        patch = json.dumps({"status": {"nodeInfo": {"kernelVersion": "6.1.0-patched"}}})
        change = f"{place.typed} patch node {victim} --subresource=status -p {shlex.quote(patch)}"
        scene.began = time.monotonic()
        _run(place, screen, change)
        _follow(feed.feed, scene, lambda: victim not in scene.nodes and scene.is_ready(1))
    named = ((n["metadata"]["annotations"].get(ANNOTATION_REPLACES), n) for n in nodes_of(scene))
    return victim, next(node for replaced, node in named if replaced == victim)


def nodes_of(scene: PoolScene) -> list[Json]:
    """The nodes that exist now."""
    return list(scene.nodes.values())


@dataclass
class _Open:
    feed: Feed

    def close(self) -> None:
        self.feed.__exit__(None, None, None)


def _open(place: Place) -> _Open:
    return _Open(Feed(place, POOL, KINDS).__enter__())


def _run(place: Place, screen: Screen, command: str) -> None:
    screen.print()
    screen.command(f"      $ {command}")
    process = place.start_shell(command)
    _, error = process.communicate()
    if process.returncode:
        raise DemoError(f"the command failed: {error.strip()}")


def _follow(feed: Feed, scene: PoolScene, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        if change := feed.next(POLL_SECONDS):
            scene.take_in(change)
        if time.monotonic() > deadline:
            ready = condition(scene.pool, "Ready")
            raise DemoError(
                f"the pool is not ready after {PATIENCE_SECONDS:g} s"
                f" ({ready.get('reason')}: {ready.get('message')}); see `kubectl describe imnp`"
            )


def sum_up_pool(place: Place, screen: Screen, replaced: tuple[str, Json]) -> None:
    """Print what has happened, and how to go on."""
    victim, successor = replaced
    screen.print()
    name = successor["metadata"]["name"]
    screen.print(f"Node {name} has replaced node {victim}:", style="bold")
    screen.print(f"  why: {successor['metadata']['annotations'][ANNOTATION_BECAUSE]}")
    screen.print(
        "  The successor was verified before its predecessor was cordoned, drained and deleted."
    )
    screen.print()
    screen.print("Everything keeps running. To try it by hand, in this folder:", style="bold")
    if kubeconfig := place.environment.get("KUBECONFIG"):
        screen.command(f"  export KUBECONFIG={shlex.quote(kubeconfig)}")
    for what, command in (
        ("watch the pool (stop with Ctrl-C)", "kubectl get imnp -w"),
        ("show its nodes", f"kubectl get nodes -l {LABEL_POOL}={POOL}"),
        (
            "another image: all nodes are replaced, one at a time",
            f"sed 's/20260101/20260201/' {MANIFEST} | kubectl apply -f -",
        ),
        ("scale it", f"kubectl scale imnp {POOL} --replicas=5"),
        ("list its revisions", "kubectl get imrev -n immutable-system"),
        ("show the documentation of every field", "kubectl explain imnp.spec"),
    ):
        screen.print(f"  # {what}", style="dim")
        screen.command(f"  {command}")
    screen.print()
    screen.print(
        f"Stop it, and delete everything that it created:  {place.stop_command}", style="bold"
    )


def state(node: Json) -> str:
    """What a node is doing, in words."""
    meta = node["metadata"]
    taints = {taint["key"] for taint in node["spec"].get("taints") or ()}
    because = meta["annotations"].get(ANNOTATION_BECAUSE, "")
    if TAINT_RETIRING in taints:
        return "cordoned, is being drained"
    if ANNOTATION_VERIFIED in meta["annotations"]:
        kernel = node["status"]["nodeInfo"]["kernelVersion"]
        return f"verified, kernel {kernel}"
    replaces = meta["annotations"].get(ANNOTATION_REPLACES)
    return f"created ({because})" + (f", replaces {replaces}" if replaces else "")


def condition(body: Json, kind: str) -> Json:
    """One condition of an object; empty if it is not there yet."""
    found = body.get("status", {}).get("conditions") or ()
    return next((c for c in found if c["type"] == kind), {})
