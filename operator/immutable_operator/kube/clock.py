"""The API server's clock, measured by the ``Date`` header of its answers.

The API server stamps creation and deletion by its own clock. The operator compares those stamps
with the present, so the present is read from the same clock: an operator on a node whose clock is a
minute ahead must not replace a pod a minute early. Source: RFC 9110, 6.6.1 (whole seconds).
"""

from __future__ import annotations

import functools
import math
import time
from email.utils import parsedate_to_datetime

__all__ = ["ServerClock"]


class ServerClock:
    """The time of the API server, in seconds since the epoch.

    Each answer bounds the difference of the two clocks: the server wrote its date after the
    request was sent and before the answer came, and cut it to whole seconds. Bounds of many
    answers are kept together. An answer that contradicts them means that the server's clock was
    set, and only the new bounds count. While the bounds allow that both clocks agree, nothing is
    corrected.
    """

    def __init__(self) -> None:
        self._began = time.time() - time.monotonic()
        self._least, self._most = -math.inf, math.inf

    def local(self) -> float:
        """Return this process's own time: that of the day at its start, and never set since."""
        return self._began + time.monotonic()

    @property
    def offset(self) -> float:
        """Seconds by which the API server's clock is ahead of the local one."""
        return min(max(0.0, self._least), self._most)

    def time(self) -> float:
        return self.local() + self.offset

    def note(self, sent: float, date: str | None) -> None:
        """Take in one answer, now; ``sent`` is the `local` time at which its request was sent."""
        if (shown := _moment(date or "")) is None:
            return
        least, most = shown - self.local(), shown + 1.0 - sent
        self._least, self._most = max(self._least, least), min(self._most, most)
        if self._least > self._most:
            self._least, self._most = least, most


@functools.lru_cache(maxsize=16)  # many answers come within one second
def _moment(date: str) -> float | None:
    """Return seconds since the epoch, or None if it is no date."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
