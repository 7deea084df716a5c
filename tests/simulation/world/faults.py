"""What goes wrong with operators, with the way to the API server, with watches, and with clocks.

Each fault says by how much a view may be behind because of it (`World.staleness`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from tests.simulation.world.connection import Network
from tests.simulation.world.process import Process
from tests.simulation.world.world import World

__all__ = ["KINDS", "Faults"]

KINDS = ["", "pods", "immutablerevisions", "immutableservices", "immutableactions", "configmaps"]
RETRIES = 60.0  # a reflector that fails again and again


class Faults:
    """Each public method is one fault, of a size that the seed picks."""

    def __init__(self, world: World, rng: random.Random, kinds: Sequence[str] = KINDS) -> None:
        self.world, self.rng, self.kinds = world, rng, kinds
        self.all: list[Callable[[], None]] = [
            self.crash,
            self.crash_at_a_write,
            self.lose_answers,
            self.lose_requests,
            self.server_trouble,
            self.late_requests,
            self.lag,
            self.compact,
            self.cut_streams,
            self.mute_a_stream,
            self.freeze,
            self.jump,
            self.outage,
        ]

    def _networks(self) -> Iterator[Network]:
        yield self.world.network
        yield from (process.network for process in self.world.processes.values())

    def _process(self) -> Process | None:
        known = list(self.world.processes.values())
        return self.rng.choice(known) if known else None

    def _behind(self, seconds: float) -> None:
        self.world.staleness = max(self.world.staleness, seconds + 3.0)

    def _for_a_while(self, seconds: float | None = None, **chances: float) -> None:
        """Let these chances be so, and end it after a while."""
        self.world.say("network", ", ".join(f"{k} {v:g}" for k, v in chances.items()))
        self._behind(RETRIES)
        self.world.was_unwatched = True

        def put(factor: float) -> None:
            for network in self._networks():
                for name, chance in chances.items():
                    setattr(network, name, chance * factor)

        put(1.0)
        self.world.loop.after(seconds or self.rng.choice([5.0, 20.0, 60.0]), put, 0.0)

    # Processes.

    def crash(self) -> None:
        if process := self._process():
            self._behind(5.0)
            process.kill("it was killed")

    def end_politely(self) -> None:
        """SIGTERM: an upgrade, or the node of the operator is drained."""
        if process := self._process():
            self._behind(5.0)
            self.world.say(process.name, "is told to end")
            process.told_to_end.set()

    def crash_at_a_write(self) -> None:
        if process := self._process():
            self._behind(5.0)
            process.dies_at_write = self.rng.choice([0, 0, 1, 2, 3, 5])
            process.dies_before = self.rng.random() < 0.5
            when = "before" if process.dies_before else "after"
            self.world.say(process.name, f"will die {when} write {process.dies_at_write}")

    def freeze(self) -> None:
        """SIGSTOP, and SIGCONT later: perhaps after the lease has run out."""
        process = self._process()
        if process is None or process.frozen:
            return
        seconds = self.rng.choice([5.0, 25.0, 70.0])
        self._behind(seconds)
        self.world.say(process.name, f"is stopped for {seconds:g} s")
        self.world.loop.freeze(process)
        self.world.was_unwatched = True
        self.world.loop.after(seconds, self._thaw, process)

    def _thaw(self, process: Process) -> None:
        if process.frozen:
            self.world.say(process.name, "goes on")
            self.world.loop.thaw(process)

    def jump(self) -> None:
        """A wall clock is set; the monotonic clock is not."""
        self.world.clocks_right = False
        seconds = self.rng.choice([-600.0, -60.0, -5.0, 5.0, 60.0, 600.0])
        if process := self._process():
            process.wall_offset = seconds
            self.world.say(process.name, f"has a clock that is {seconds:+g} s off")

    # The way to the API server.

    def lose_answers(self, chance: float | None = None, seconds: float | None = None) -> None:
        self._for_a_while(seconds, unanswered=chance or self.rng.choice([0.1, 0.4, 0.9]))

    def lose_requests(self) -> None:
        self._for_a_while(lost=self.rng.choice([0.1, 0.5]))

    def server_trouble(self) -> None:
        self._for_a_while(trouble=self.rng.choice([0.1, 0.5]), throttled=0.1)

    def late_requests(self) -> None:
        self._for_a_while(late=self.rng.choice([0.1, 0.5]))

    def outage(self, seconds: float | None = None) -> None:
        """Nobody gets through for a while; leases run out."""
        seconds = seconds or self.rng.choice([3.0, 15.0, 45.0])
        self.world.say("network", f"is down for {seconds:g} s")
        self._behind(seconds + RETRIES)
        self.world.was_unwatched = True
        for network in self._networks():
            network.down = True
        self.cut_streams()
        self.world.loop.after(seconds, self._up)

    def _up(self) -> None:
        for network in self._networks():
            network.down = False

    # Watches.

    def lag(self, kind: str | None = None, seconds: float | None = None) -> None:
        kind = self.rng.choice(self.kinds) if kind is None else kind
        seconds = seconds or self.rng.choice([0.2, 1.0, 6.0, 30.0])
        self._behind(2 * seconds)
        self.world.say("watches", f"of {kind or 'all'} are up to {seconds:g} s late")
        for network in self._networks():
            network.lag[kind] = seconds
        self.world.loop.after(self.rng.choice([10.0, 60.0]), self._prompt, kind)

    def _prompt(self, kind: str) -> None:
        for network in self._networks():
            network.lag.pop(kind, None)

    def compact(self) -> None:
        """The history is gone, and every stream ends: 410 for whoever resumes."""
        self.world.say("watches", "are cut, and the history is gone")
        self._behind(5.0)
        self.world.api.storage.compact()
        for stream in self.world.api.streams:
            stream.cut()

    def cut_streams(self) -> None:
        self.world.say("watches", "are cut")
        self._behind(5.0)
        for stream in self.world.api.streams:
            if self.rng.random() < 0.7:
                stream.cut(self.rng.choice([b"", b'{"type": "ADD', b"<html>\n"]))

    def mute_a_stream(self) -> None:
        """A stream that gives nothing more and does not end."""
        streams = [s for s in self.world.api.streams if not s.closed and not s.mute]
        if streams:
            stream = self.rng.choice(streams)
            self.world.say("watches", f"of {stream.resource} by {stream.who} fall silent")
            self._behind(315.0 if stream.resource == "immutableservices" else 75.0)
            stream.mute = True

    def stop(self) -> None:
        """No more of it: what is under way ends, and new processes find all well."""
        for network in self._networks():
            network.calm()
        for process in list(self.world.processes.values()):
            process.dies_at_write = None
            process.wall_offset = 0.0
            self._thaw(process)
