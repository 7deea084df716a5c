"""`kubectl immutable get -w`: a table on a terminal, and a line a change everywhere else."""

from __future__ import annotations

import asyncio
import io
import sys

import pytest
from rich.console import Console

from immutable_operator.cli import watching
from immutable_operator.cli.drawing import Cell, Column, Picture, drawn, new_console, style_of
from immutable_operator.cli.table import age
from immutable_operator.cli.watching import Render, Shown, follow, news
from immutable_operator.kube.errors import Unreachable

HEAD = ("SLOT", "POD", "AGE", "STATE")
BORN = 1000.0


class Over(Exception):
    """The story has ended."""


def state(above: str, *pods: tuple[str, str]) -> Render:
    def render(now: float) -> Shown:
        since = age(now - BORN)
        rows = [(str(slot), name, since, word) for slot, (name, word) in enumerate(pods)]
        return Shown([f"{above} since {since}"], [HEAD, *rows], key=1)

    return render


def told(before: Render, after: Render) -> list[str]:
    return list(news(before, after, BORN + 5))


def test_line_is_printed_for_each_change_and_not_for_ages() -> None:
    first = state("web: Ready", ("a", "Ready"), ("b", "Ready"))
    assert told(first, first) == []
    assert told(first, state("web: Ready", ("a", "Ready"), ("c", "Pending"))) == [
        "1   c   Pending",
        "b is gone",
    ]
    assert told(first, state("web: Replacing", ("a", "Ready"), ("b", "Ready"))) == [
        "web: Replacing since 5s"
    ]


def watched(*states: Render | Exception, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """What `follow` prints and says while it reads these states."""
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.0)
    left = list(states)
    shown: list[str] = []
    said: list[str] = []

    async def read() -> Render:
        if not left:
            raise Over
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    with pytest.raises(Over):
        asyncio.run(follow(read, True, said.append, shown.append))
    return "\n".join(shown), "\n".join(said)


def test_watch_off_a_terminal_prints_the_table_once_and_then_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = Unreachable(0, "Unreachable", "no response in time")
    first, second = state("web", ("a", "Ready")), state("web", ("a", "Terminating"))
    out, err = watched(first, lost, lost, second, second, monkeypatch=monkeypatch)
    assert out.count("SLOT") == 1
    assert out.splitlines()[-1] == "0   a   Terminating"
    assert err == "waiting for the API server: no response in time"
    assert "\x1b" not in out


def test_watch_on_a_terminal_without_rich_prints_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "immutable_operator.cli.drawing", None)
    out, _ = watched(state("web", ("a", "Ready")), state("web"), monkeypatch=monkeypatch)
    assert out.splitlines()[-1] == "a is gone"


def test_watch_on_a_terminal_redraws_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm")
    out, _ = watched(
        state("web", ("a", "Ready")), state("web", ("b", "Ready")), monkeypatch=monkeypatch
    )
    assert out == ""
    drawn_ = stream.getvalue()
    assert "SLOT" in drawn_
    assert "\x1b[" in drawn_


def picture(word: str) -> Picture:
    return Picture([Column("STATE")], [[Cell(word, style_of(word))]])


def rendered(word: str, **options: object) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, **options)  # type: ignore[arg-type]
    with console.capture() as captured:
        console.print(drawn(picture(word)))
    return captured.get()


def test_state_has_a_colour_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[32mReady" in rendered("Ready")
    assert "\x1b[31mCrashLoopBackOff" in rendered("CrashLoopBackOff")
    assert "\x1b[33mReady, Outdated" in rendered("Ready, Outdated")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in rendered("CrashLoopBackOff")


def test_text_is_never_markup() -> None:
    assert "[red]x" in rendered("[red]x", color_system=None)
    assert new_console()._markup is False
