"""What the test bed changes in the source of others is found exactly once, or the build stops."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane.patches import Patch, PatchError, patched_module

PATCH = Patch("example.com/them", "pkg/loop.go", "\tlist()", "\twait()\n")


@pytest.fixture
def them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module of others as the module cache has it, and a go that knows where."""
    cached = tmp_path / "cache" / "them"
    (cached / "pkg").mkdir(parents=True)
    (cached / "pkg" / "loop.go").write_text("func loop() {\n\tlist()\n}\n")
    pins = tmp_path / "pins"
    pins.mkdir()
    (pins / "go.mod").write_text("module pins\n")
    (pins / "go.sum").write_text("sums\n")

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, f"{cached}\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    return cached


def test_copy_is_changed_and_used_in_place_of_the_module(them: Path, tmp_path: Path) -> None:
    made = patched_module("go", [PATCH], tmp_path / "pins", {}, tmp_path / "work")
    module, replaced = made.read_text().splitlines()
    assert module == "module pins"
    copy = Path(replaced.removeprefix("replace example.com/them => "))
    assert (copy / "pkg" / "loop.go").read_text() == "func loop() {\n\twait()\n\tlist()\n}\n"
    assert (them / "pkg" / "loop.go").read_text() == "func loop() {\n\tlist()\n}\n"
    assert made.with_name("go.sum").read_text() == "sums\n"


@pytest.mark.parametrize("count", [0, 2])
def test_place_that_is_not_there_once_stops_the_build(
    them: Path, tmp_path: Path, count: int
) -> None:
    (them / "pkg" / "loop.go").write_text("\tlist()\n" * count)
    with pytest.raises(PatchError, match=f"them has {count} times 'list\\(\\)' in pkg/loop.go"):
        patched_module("go", [PATCH], tmp_path / "pins", {}, tmp_path / "work")
