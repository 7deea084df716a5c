"""Ctrl-C: it ends the demo wherever it arrives.

Python drops an exception that is raised in a destructor or a callback. A KeyboardInterrupt that
arrives there would be lost, and the demo would go on; so it is raised again until it has arrived.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interruptible"]

# Longer than what the demo tidies up takes.
AGAIN_SECONDS = 5.0


@contextmanager
def interruptible(again: float = AGAIN_SECONDS) -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGINT and SIGTERM, every ``again`` seconds until this ends.

    A SIGINT that is ignored, as in the background of a shell, stays ignored.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, again)
        raise KeyboardInterrupt

    numbers = {signal.SIGTERM, signal.SIGALRM}
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        numbers.add(signal.SIGINT)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
