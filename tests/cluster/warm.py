"""Operators that start from a process which has imported their libraries already.

A run starts more than a hundred operators, and the imports of each take more than a second of
processor time. The process here imports once and forks. Each fork is a process of its own from then
on, with its own session, environment, folder and log. On its standard output, the process reports
``{"pid": 7}`` for each start and ``{"pid": 7, "code": 0}`` for each end, a line each.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from queue import Queue
from typing import Any

from tests.controlplane.processes import die_with_parent
from tests.waiting import WAIT_SECONDS

__all__ = ["Warm", "WarmProcess"]

PROGRAM = "immutable_operator.runtime.main"
POLL_SECONDS = 0.02
ROOT = Path(__file__).parents[2]


class WarmProcess:
    """One process, with the methods of `subprocess.Popen` that tests need."""

    def __init__(self, pid: int, codes: Mapping[int, int]) -> None:
        self.pid = pid
        self._codes = codes

    def poll(self) -> int | None:
        """None while it runs; the negative number of the signal that killed it."""
        return self._codes.get(self.pid)

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float = WAIT_SECONDS) -> int:
        """Its exit code. Raises `subprocess.TimeoutExpired`."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(POLL_SECONDS)
        return code


class Warm:
    """The process that forks; it ends with the one that made it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
        self._codes: dict[int, int] = {}
        self._started: Queue[int] = Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def start(
        self, arguments: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str]
    ) -> WarmProcess:
        """Start an operator with these arguments; its log is appended to a file."""
        wish = {
            "arguments": list(arguments),
            "folder": str(folder),
            "log": str(log),
            "environment": dict(environment),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()
        return WarmProcess(self._started.get(timeout=60), self._codes)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "code" in said:
                self._codes[said["pid"]] = said["code"]
            else:
                self._started.put(said["pid"])


def _serve() -> None:
    import_module(PROGRAM)
    ended, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([sys.stdin, ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _report_ends()
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return
            _say(pid=_forked(json.loads(line)))


def _forked(wish: Mapping[str, Any]) -> int:
    """Return the pid of a new operator; in that operator, never return."""
    tie = die_with_parent()
    if pid := os.fork():
        return pid
    if tie:
        tie()
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(wish["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for there, here in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(there, here)
    os.chdir(wish["folder"])
    os.environ.clear()
    os.environ.update(wish["environment"])
    import_module(PROGRAM).main(wish["arguments"])
    raise AssertionError("main() exits")


def _report_ends() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _say(pid=pid, code=os.waitstatus_to_exitcode(status))


def _say(**words: int) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    _serve()
