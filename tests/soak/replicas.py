"""The replicas of the operator in a soak: two, whatever happens to one of them."""

from __future__ import annotations

import itertools
import time

from tests.cluster.operator_process import Installation, OperatorProcess
from tests.controlplane.api import Json

__all__ = ["Replicas"]

COUNT = 2
# The records of a process that ends, after which libraries complain about being ended.
ENDS = ("ended", "stopping")
# A leader that cannot renew its lease in time must end: another one may lead already.
LOST = ("lease cannot be written", "lease lost")


class Replicas:
    """Keeps `COUNT` processes running: one that ended is replaced, as its Deployment would do it.

    ``server`` is the URL of the proxy through which they reach the API server. ``deaths`` are the
    logs of those that ended by themselves, ``cut_off`` is the number of leaders that the API server
    gave no answer until their lease was lost.
    """

    def __init__(self, installation: Installation, flags: tuple[str, ...], server: str) -> None:
        self._installation, self._flags, self._server = installation, flags, server
        self._all: list[OperatorProcess] = []
        self._asleep: OperatorProcess | None = None
        self._wakes = 0.0
        self._ended: set[str] = set()
        self.deaths: list[str] = []
        self.cut_off = 0
        self.refill()

    def refill(self) -> None:
        """Wake the one that sleeps if it is time, and replace those that ended."""
        if self._asleep is not None and time.monotonic() > self._wakes:
            self._asleep.thaw()
            self._asleep = None
        for process in self._all:
            if process.exit_code is not None and process.name not in self._ended:
                self._ended.add(process.name)
                if process.died and all(map(process.records, LOST)):
                    self.cut_off += 1
                elif process.died:
                    self.deaths.append(process.tail())
        for _ in range(COUNT - len(self.running)):
            name = f"soak-{len(self._all)}"
            self._all.append(
                OperatorProcess(self._installation, name, self._flags, server=self._server)
            )

    @property
    def running(self) -> list[OperatorProcess]:
        """Those that have not ended, the oldest first: a leader may outlive many standbys."""
        return [process for process in self._all if process.exit_code is None]

    def leader(self) -> OperatorProcess | None:
        """The one that leads, as far as its own log says."""
        leading = [process for process in self.running if process.leading]
        return leading[-1] if leading else None

    def standby(self) -> OperatorProcess | None:
        found = [process for process in self.running if not process.leading]
        return found[0] if found else None

    def put_to_sleep(self, process: OperatorProcess, seconds: float) -> bool:
        """SIGSTOP, for so long; return False if another one sleeps: at most one does."""
        if self._asleep is not None:
            return False
        process.freeze()
        self._asleep, self._wakes = process, time.monotonic() + seconds
        return True

    def wake(self) -> None:
        self._wakes = 0.0
        self.refill()

    def exceptions(self) -> list[Json]:
        """What any of them logged with a traceback, until it was told to end or lost its lease."""
        found = []
        for process in self._all:
            alive = itertools.takewhile(lambda r: r.get("event") not in ENDS, process.records())
            found += [record for record in alive if "exception" in record]
        return found

    def stop(self) -> None:
        for process in self._all:
            process.stop()
