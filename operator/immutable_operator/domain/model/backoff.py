"""How long to wait after consecutive failures."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Backoff"]

_MOST_DOUBLINGS = 32  # a count of failures read from the cluster must not overflow


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds: ``first`` after the first failure, then twice as long each time, at most ``most``.

    >>> [Backoff(1.0, 5.0).after(failures) for failures in (0, 1, 2, 3, 4)]
    [0.0, 1.0, 2.0, 4.0, 5.0]
    """

    first: float
    most: float

    def after(self, failures: int) -> float:
        """Return how long to wait after ``failures`` in a row; 0 after none."""
        if failures <= 0:
            return 0.0
        return min(self.most, self.first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))
