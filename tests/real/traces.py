"""What a bed of real nodes has on this machine, so that a test can tell when it is gone."""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane.real.blocks import Block
from tests.controlplane.real.remains import Remains

__all__ = ["NOTHING", "Traces", "block_of"]


@dataclass(frozen=True)
class Traces:
    """What there is on this machine of one bed; other beds may run beside it."""

    processes: list[str]
    mounts: list[str]
    interfaces: list[str]
    tables: list[str]
    cgroups: list[str]

    @classmethod
    def of(cls, folder: Path, block: Block) -> Traces:
        """Traces of the run in that folder, which had that block of addresses."""
        cgroups = list(Path("/sys/fs/cgroup").glob(f"*/{block.interface}-*"))
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
        return cls(
            processes=_processes(f"{folder}/") + _inside(cgroups),
            mounts=_with(f"{folder}/", Path("/proc/mounts").read_text()),
            interfaces=[p.name for p in Path("/sys/class/net").glob(block.interface)],
            tables=_with(f" {block.interface}\n", tables),
            cgroups=list(map(str, cgroups)),
        )


NOTHING = Traces([], [], [], [], [])


def block_of(folder: Path) -> Block:
    remains = Remains.load(folder)
    assert remains is not None
    assert remains.block is not None
    return remains.block


def _processes(text: str) -> list[str]:
    """Command lines with this text."""
    return _with(text, "\n".join(map(_command_line, Path("/proc").glob("[0-9]*"))))


def _inside(cgroups: list[Path]) -> list[str]:
    """Command lines of the processes in these control groups."""
    files = [file for group in cgroups for file in group.glob("**/cgroup.procs")]
    pids: set[str] = set()
    for file in files:
        with contextlib.suppress(FileNotFoundError):  # a container that just ended
            pids |= set(file.read_text().split())
    return [_command_line(Path("/proc") / pid) for pid in sorted(pids)]


def _command_line(process: Path) -> str:
    with contextlib.suppress(OSError):
        return (process / "cmdline").read_text(errors="replace").replace("\0", " ")
    return ""


def _with(text: str, lines: str) -> list[str]:
    return [line for line in lines.splitlines(keepends=True) if text in line]
