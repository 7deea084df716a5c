"""Everything that may go wrong, at random, from one seed: what a run under attack is made of.

Each seed picks a few kinds of trouble (a run with all kinds at once is in trouble all the time
and shows little), plays them for a while, and then stops: from there on the service has to
come to rest by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from immutable_operator.domain.failing import CHECK_FAILED
from immutable_operator.domain.model import (
    CONFIG_MAP,
    BlueGreen,
    Canary,
    CanaryStep,
    Check,
    Command,
    Finding,
    HttpQuestion,
    HttpRoute,
    OnFailure,
    OnInconclusive,
    OnTaint,
    Pause,
    Port,
    Route,
    RouteRef,
    SetReplicas,
    SetWeight,
    Spec,
    Traffic,
    instance_name,
)
from tests.simulation.simulation import Simulation
from tests.unit.given import REVISIONS, SERVICE, UID

__all__ = ["Adversary", "begun"]

GOOD = "AB"
CONFIG = "settings"
KEY = (CONFIG_MAP, CONFIG)
HTTP, HTTPS = Traffic((Port(80, 8080),)), Traffic((Port(443, 8443),))
LIMITS: list[tuple[int | str, int | str]] = [
    (1, 0),
    (0, 1),
    (1, 1),
    ("25%", 0),
    ("25%", "25%"),
    (2, 0),
    (0, "50%"),
    ("100%", "100%"),
    (3, 2),
]

ROUTE = HttpRoute(SERVICE, "shop", "route", 1, rules=1, percent=0, is_observed=True)


class Adversary:
    """Attacks one simulation with the troubles that its seed picked."""

    def __init__(self, run: Simulation) -> None:
        self.run, self.rng = run, run.rng
        self.cluster = run.cluster
        kinds: list[Callable[[], None]] = [
            self.change_image,
            self.break_image,
            self.scale,
            self.change_budget,
            self.suspend,
            self.refuse,
            self.delete,
            self.lose,
            self.end,
            self.unready,
            self.reach_into,
            self.mutator,
            self.on_taint,
            self.quota,
            self.disruption_budget,
            self.stranger,
            self.restart,
            self.configure,
            self.pin,
            self.hang,
            self.command,
            self.retry,
            self.on_failure,
            self.bake,
            self.expose,
            self.edit_route,
            self.take_route,
            self.refuse_routes,
            self.check,
            self.blue_green,
            self.canary,
            self.http_route,
            self.edit_weights,
            self.gateway,
            self.decide,
        ]
        self.kinds = self.rng.sample(kinds, self.rng.randint(2, 6))
        run.crash_chance = self.rng.choice([0.0, 0.0, 0.1])

    def attack(self, times: int) -> None:
        """Trouble after trouble, close together or far apart."""
        for _ in range(times):
            self.rng.choice(self.kinds)()
            self.run.run(self.rng.choice([0.0, 0.3, 1.0, 4.0, 15.0, 90.0]))

    def stop(self) -> None:
        """No more trouble: a spec that works, room for it, and an operator that lives."""
        self.run.crash_chance = 0.0
        self.cluster.quota = self.cluster.min_available = self.cluster.patched_after = None
        self.cluster.refuses_routes = False
        self.cluster.has_gateway = True
        self.cluster.http_route = replace(ROUTE, is_observed=True)
        self._free_names()
        if any(not optional for optional in self.cluster.spec.pinned.values()):
            self.run.configure(CONFIG, "good")
        self.cluster.behaviours["B"] = self.cluster.behaviours["A"]
        self.cluster.findings.clear()
        records = self.cluster.revisions.values()
        if any(r.verdict.reason == CHECK_FAILED and not r.verdict.fallback for r in records):
            self.run.apply(checks=())  # a revision that is kept passes no check by itself
        for name, pod in sorted(self.cluster.pods.items()):
            if pod.ready_since is None and not pod.trouble:
                self.cluster.delete(name)  # it may be one that hangs
        if self.cluster.spec.canary is not None:  # nobody is left who promotes
            self.run.apply(canary=Canary((SetWeight(40), Pause(5.0))))
        way = self.cluster.spec.blue_green
        if way is not None:
            self.run.apply(blue_green=replace(way, is_auto=True), traffic=HTTP)
        self.run.apply(self.rng.choice(GOOD), suspend=False, on_failure=OnFailure.ROLL_BACK)

    # What the user does.

    def change_image(self) -> None:
        self.run.apply(self.rng.choice(GOOD))

    def break_image(self) -> None:
        self.run.apply(self.rng.choice("CDEF"))

    def scale(self) -> None:
        self.run.apply(replicas=self.rng.choice([0, 1, 2, 3, 5, 8, None]))

    def change_budget(self) -> None:
        surge, unavailable = self.rng.choice(LIMITS)
        self.run.apply(max_surge=surge, max_unavailable=unavailable)

    def suspend(self) -> None:
        spec = self.cluster.spec
        self.run.apply(suspend=not (spec and spec.suspend))

    def refuse(self) -> None:
        kept = self.cluster.spec
        self.run.refuse()
        self.run.run(self.rng.choice([0.0, 5.0]))
        self.cluster.spec = kept
        self.run.apply()

    def hang(self) -> None:
        """New pods of B do not become ready, or do again."""
        works = self.cluster.behaviours["A"]
        hangs = replace(works, about="hangs", ready_after=None)
        self.cluster.behaviours["B"] = self.rng.choice([works, hangs])

    def command(self) -> None:
        known = [*self.cluster.revisions, "", "", "ffffffff"]
        command = self.rng.choice([Command.ROLL_BACK, Command.RETRY, Command.RESUME])
        self.run.command(command, self.rng.choice(known))

    def retry(self) -> None:
        self.run.retry(self.rng.choice(["one", "two", "three"]))

    def on_failure(self) -> None:
        self.run.apply(on_failure=self.rng.choice(list(OnFailure)))

    def bake(self) -> None:
        self.run.apply(bake_seconds=self.rng.choice([0, 5, 40]))

    def check(self) -> None:
        """Releases are checked, or not any more; the next answers are some."""
        up = Check("up", HttpQuestion(url="http://web/", status=200), inconclusive_limit=2)
        waits = replace(up, on_inconclusive=OnInconclusive.WAIT)
        self.run.apply(checks=self.rng.choice([(), (up,), (waits,), (replace(up, count=3),)]))
        for letter in GOOD:
            found = self.rng.choices(list(Finding), [3, 1, 2], k=2)
            self.cluster.findings[REVISIONS[letter].id] = [*found, Finding.PASSED]

    def configure(self) -> None:
        """The ConfigMap that the service may read says something else, or is gone."""
        self.run.configure(CONFIG, self.rng.choice(["good", "better", "other", None]))

    def pin(self) -> None:
        """The template reads a ConfigMap (optional or not), or none."""
        self.run.apply(pinned=self.rng.choice([{KEY: False}, {KEY: True}, {}]))

    # What befalls pods.

    def delete(self) -> None:
        self._any_pod(self.cluster.delete)

    def lose(self) -> None:
        self._any_pod(self.cluster.lose)

    def end(self) -> None:
        self._any_pod(self.cluster.end)

    def unready(self) -> None:
        seconds = self.rng.choice([1.0, 20.0])
        self._any_pod(lambda name: self.cluster.unready(name, seconds))

    def reach_into(self) -> None:
        self._any_pod(self.cluster.reach_into)

    def mutator(self) -> None:
        """Something patches each new pod, or stops to."""
        self.cluster.patched_after = self.rng.choice([0.5, 10.0, None])

    def on_taint(self) -> None:
        seconds = self.rng.choice([10.0, 600.0])
        self.run.apply(on_taint=self.rng.choice(list(OnTaint)), quarantine_seconds=seconds)

    # What the cluster forbids.

    def quota(self) -> None:
        self.cluster.quota = self.rng.choice([0, 2, 4, None])

    def disruption_budget(self) -> None:
        self.cluster.min_available = self.rng.choice([1, 2, 3, 9, None])

    def stranger(self) -> None:
        revision = REVISIONS[self.rng.choice(GOOD)].id
        slot = self.rng.randint(0, 4)
        name = instance_name(SERVICE, UID, revision, slot, self.rng.randint(0, 1))
        if name not in self.cluster.pods:
            self.cluster.strangers.add(name)

    def restart(self) -> None:
        self.run.operator.restart()

    def expose(self) -> None:
        choices = [HTTP, HTTP, HTTPS]
        if self.cluster.spec.sides is None:  # which needs one
            self.run.apply(traffic=self.rng.choice([*choices, None]))
        else:
            self.run.apply(traffic=self.rng.choice(choices))

    def edit_route(self) -> None:
        edit: dict[str, object] = self.rng.choice([{}, {"revision": None}, {"traffic": HTTPS}])
        self.cluster.edit_route(SERVICE, **edit)
        self.run.operator.due = self.cluster.now

    def take_route(self) -> None:
        """A Service of somebody else has the name, or had it."""
        if not self._free_names():
            self.cluster.routes.setdefault(SERVICE, Route(SERVICE, "foreign"))
        self.run.operator.due = self.cluster.now

    def blue_green(self) -> None:
        """A strategy with a way to promote, or Rolling again."""
        ways = [BlueGreen(), BlueGreen(is_auto=True), BlueGreen(preview_replicas=1)]
        ways.append(BlueGreen(is_auto=True, promote_after=20.0, keep_for=5.0))
        way = self.rng.choice([*ways, None])
        if way is None:
            self.run.apply(strategy="Rolling", blue_green=None, canary=None, http_route=None)
        else:
            self.run.apply(
                strategy="BlueGreen", blue_green=way, canary=None, traffic=HTTP, http_route=None
            )

    def canary(self) -> None:
        """Steps, or others than before."""
        shares: list[CanaryStep] = [SetWeight(20), SetReplicas(1), SetReplicas("50%")]
        rest: list[CanaryStep] = [Pause(), Pause(10.0), SetWeight(60), Pause(90.0), SetWeight(100)]
        first, later = self.rng.choice(shares), self.rng.sample(rest, 2)
        self.run.apply(strategy="Canary", blue_green=None, canary=Canary((first, *later)))

    def http_route(self) -> None:
        """A canary with an HTTPRoute, or one that has none any more."""
        if self.cluster.spec.canary is None:
            self.canary()
        named = None if self.cluster.spec.http_route else RouteRef(SERVICE)
        self.run.apply(http_route=named, traffic=HTTP)

    def edit_weights(self) -> None:
        """Somebody writes the weights, deletes the HTTPRoute, or creates it again."""
        found = self.cluster.http_route
        if found is None or found.lack is not None:
            self.cluster.http_route = ROUTE
        else:
            self.cluster.edit_weights(self.rng.choice([0, 20, 70, None]))
        self.run.operator.due = self.cluster.now

    def gateway(self) -> None:
        """The gateway goes away, or comes back."""
        self.cluster.gateway(is_there=not self.cluster.has_gateway)
        self.run.operator.due = self.cluster.now

    def decide(self) -> None:
        """Somebody promotes or aborts what waits."""
        self.run.command(self.rng.choice([Command.PROMOTE, Command.PROMOTE, Command.ABORT]))

    def refuse_routes(self) -> None:
        self.cluster.refuses_routes = not self.cluster.refuses_routes

    def _free_names(self) -> bool:
        """Delete Services of others; return whether there were any."""
        foreign = [name for name, route in self.cluster.routes.items() if not route.is_own]
        for name in foreign:
            del self.cluster.routes[name]
        return bool(foreign)

    def _any_pod(self, what: Callable[[str], None]) -> None:
        if self.cluster.pods:
            what(self.rng.choice(sorted(self.cluster.pods)))


def begun(seed: int) -> Simulation:
    """A run with a service of some size and budget, at work on its first revision."""
    run = Simulation(seed, wild=True)
    surge, unavailable = run.rng.choice(LIMITS)
    run.cluster.spec = Spec(
        {},
        replicas=run.rng.choice([1, 2, 3, 4, 6]),
        max_surge=surge,
        max_unavailable=unavailable,
        min_ready_seconds=run.rng.choice([0, 0, 7]),
        progress_deadline_seconds=60,
        history_limit=run.rng.choice([1, 10]),
    )
    run.cluster.http_route = ROUTE
    run.apply("A")
    return run
