"""Stories of an adversary: what only shows when one thing follows the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world.adversary import Adversary

__all__ = ["Stories"]


class Stories:
    """Each method but the first is one story, and plays it to its end."""

    def __init__(self, adversary: Adversary) -> None:
        self._adversary = adversary
        self.world, self.rng = adversary.world, adversary.rng
        self.all: list[Callable[[], None]] = [
            self.stuck_release,
            self.aged_fleet,
            self.look,
            self.to_and_fro,
            self.gap,
            self.lost_and_late,
        ]

    def stuck_release(self) -> None:
        """A release that does not work, and ordinary drains of what does."""
        self._adversary.break_image()
        self.world.run(self.rng.choice([5.0, 40.0]))
        for node in sorted(self._adversary.cluster.nodes):
            self._adversary.cluster.drain(node)
            self.world.run(self.rng.choice([10.0, 30.0]))
        self.look()

    def aged_fleet(self) -> None:
        """Instances fall due, and their successors do not get far."""
        ages = {"maxAge": "60s", "maxConcurrent": self.rng.choice([1, 1, 2])}
        self._adversary.people.apply(regeneration=ages)
        for _ in range(40):
            self.world.run(2.0)
            if self.rng.random() < 0.3:
                self.rng.choice(
                    [
                        self._adversary.delete_a_starting_one,
                        self._adversary.delete_a_pod,
                        self._adversary.scale,
                    ]
                )()

    def to_and_fro(self) -> None:
        """A good one, a bad one and the good one again, in quick succession."""
        for letter in self.rng.choice(["BA", "BCA", "CAB", "DBA", "ABAB"]):
            self._adversary.people.apply(template=self._adversary.template(letter))
            self.world.run(self.rng.choice([0.02, 0.2, 2.0, 20.0]))

    def gap(self) -> None:
        """What happens while nobody watches is told by no watch afterwards."""
        self._adversary.faults.outage(self.rng.choice([2.0, 8.0]))
        for _ in range(self.rng.randint(1, 2)):
            if pod := self._adversary.any_pod():
                self._adversary.people.delete_pod(pod, force=True)
        self._adversary.faults.compact()
        self.world.run(30.0)

    def lost_and_late(self) -> None:
        """Answers are lost while watches are late, and much is to be written."""
        self._adversary.faults.lose_answers(self.rng.choice([0.3, 0.6]), 20.0)
        self._adversary.faults.lag("pods", self.rng.choice([2.0, 6.0]))
        self.rng.choice([self._adversary.change_image, self._adversary.request])()
        self.world.run(30.0)

    def look(self) -> None:
        """22: in quiet, what works is repaired, whatever is wrong with what is wanted."""
        self._adversary.faults.stop()
        self._adversary.free()
        self.world.run(240.0)
        service = self._adversary.people.service
        if service is None or service.now.suspend or not service.good or self._adversary.port:
            return
        ready = sum(p.ready_since is not None for p in service.active)
        fewest = service.now.fewest
        # Those that were born of it and do not work any more (an image that is gone) are no fault.
        there = sum(p.revision == service.good for p in service.active)
        record = self.world.revision(service, service.good)
        if record and service.fresh and service.family.recorded(record) != service.now.letter:
            return
        if max(ready, there) < fewest and record and self.world.may_know(record):
            text = f"{ready} available, at least {fewest} wanted, {service.good} works"
            self.world.broken("22", text)
