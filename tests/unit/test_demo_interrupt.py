"""Ctrl-C ends the demo also if it arrives where Python drops an exception."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from examples.demo.interrupt import interruptible


class Dropping:
    """Is interrupted in its destructor."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def interrupted_in_a_destructor() -> None:
    Dropping()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.01)


def test_interrupt_in_a_destructor_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: dropped.append(told.exc_type))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), interruptible(0.05):
            interrupted_in_a_destructor()
        assert dropped == [KeyboardInterrupt]
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    finally:
        signal.signal(signal.SIGINT, before)


def test_interrupt_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
