"""Writes docs/images/demo.svg: a moment of the demo, drawn by the demo's own renderer.

``python -m website.picture`` writes; with ``--check`` it compares. The pods are those of a run of
`make demo`. The picture asks for no font from a server: a viewer uses a monospace font of its own.
"""

from __future__ import annotations

import argparse
import io
import re
from pathlib import Path
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from examples.demo.fleet import Fleet
from examples.demo.place import Json
from examples.demo.screen import Scene, Screen
from immutable_operator.cli.drawing import drawn

__all__ = ["FILE", "ROOT", "main", "render"]

ROOT: Final = Path(__file__).resolve().parents[1]
FILE: Final = "docs/images/demo.svg"
WIDTH: Final = 96
SECONDS: Final = 7.7
REPLICAS: Final = 4
OLD, NEW = "9d5e4ec9", "5f2ed9b0"
# Slot, predecessor and its successor, as the demo ended each; the first successor is starting.
PAIRS: Final = (
    ("noanq", "37nt2"),
    ("emamp", "ui4vc"),
    ("fak2n", "x6wcb"),
    ("a3h26", "icykr"),
)
_FONT_FACE: Final = re.compile(r"@font-face \{\{.*?\}\}", re.DOTALL)


class _Still(Scene):
    """A scene whose clock stands still."""

    @property
    def seconds(self) -> float:
        return SECONDS


def render() -> str:
    """Return the text of the picture."""
    console = Console(
        width=WIDTH,
        record=True,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        no_color=False,
        _environ={},  # whatever NO_COLOR and TERM say
    )
    console.print(
        Text("$ sed 's|2.52@.*|2.53@sha256:99c6b4bb4a1e…|' examples/web.yaml | kubectl apply -f -"),
        style="bold",
    )
    console.print(drawn(_Still(Screen(1), _fleet(), OLD).picture()))
    svg = console.export_svg(
        title="make demo", code_format=_FONT_FACE.sub("", CONSOLE_SVG_FORMAT), unique_id="demo"
    )
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def _fleet() -> Fleet:
    """All predecessors were there; three were replaced, and the last successor is starting."""
    fleet = Fleet()
    fleet.see_service({"metadata": {"uid": "", "generation": 2}, "spec": {"replicas": REPLICAS}})
    for slot, (old, _) in enumerate(PAIRS):
        fleet.see_pod(_pod(slot, OLD, old, ready=True), deleted=False)
    fleet.count_from_now()
    for slot, (old, new) in reversed([*enumerate(PAIRS)]):
        fleet.see_pod(_pod(slot, NEW, new, replaces=old, ready=False), deleted=False)
        if slot:
            fleet.see_pod(_pod(slot, NEW, new, replaces=old, ready=True), deleted=False)
            fleet.see_pod(_pod(slot, OLD, old, ready=True), deleted=True)
    return fleet


def _pod(slot: int, revision: str, name: str, *, ready: bool, replaces: str = "") -> Json:
    notes = {"immutable.dev/slot": str(slot)}
    if replaces:
        notes["immutable.dev/replaces"] = f"web-im{OLD}-{replaces}"
        notes["immutable.dev/because"] = "Outdated"
    return {
        "metadata": {
            "name": f"web-im{revision}-{name}",
            "labels": {"immutable.dev/revision": revision},
            "annotations": notes,
        },
        "spec": {"nodeName": "node-0"},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def main(arguments: list[str] | None = None) -> int:
    """Write the picture, or compare it with the committed file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 if it differs")
    options = parser.parse_args(arguments)
    file, wanted = ROOT / FILE, render()
    if not options.check:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(wanted, encoding="utf-8")
        return 0
    if file.exists() and file.read_text(encoding="utf-8") == wanted:
        return 0
    print(f"{FILE} differs from what the demo draws; run: python -m website.picture")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
