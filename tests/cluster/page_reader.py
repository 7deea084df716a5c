"""A reader of the documents: types the commands of a page and compares what they print.

The reader has a checkout of the repository, kubectl with the plug-in, helm, and a kubeconfig whose
namespace is the page's own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

from tests.controlplane import ControlPlane
from tests.controlplane.access import find_kubectl
from tests.controlplane.build import binaries
from tests.pages import BY_HAND, FAILS, OUTPUT, ROOT, Block, blocks, shows

__all__ = ["Reader"]

TIMEOUT = 180
# Variables that a block exports are there in the next one, as in the shell of a reader.
_SCRIPT = "[ ! -e .exported ] || . ./.exported\nset -euo pipefail\n{}\nexport -p > .exported\n"


class Reader:
    """Follows pages in a folder of its own."""

    def __init__(self, plane: ControlPlane, folder: Path, namespace: str) -> None:
        self._folder = folder
        for entry in ROOT.iterdir():
            if not entry.name.startswith("."):
                (folder / entry.name).symlink_to(entry)
        self._environment = os.environ | {
            "KUBECONFIG": str(_kubeconfig(plane, folder, namespace)),
            "HOME": str(folder),
            "KUBECACHEDIR": str(plane.folder / "kubectl-cache"),
            "NO_COLOR": "1",
            "PATH": os.pathsep.join(
                [
                    str(Path(sys.executable).parent),
                    str(find_kubectl().parent),
                    str(binaries(["helm"])["helm"].parent),
                    os.environ["PATH"],
                ]
            ),
        }

    def suppose(self, commands: str) -> None:
        """Make what a page supposes."""
        self._run(Block("bash", "", commands, 0), "what the page supposes")

    def follow(self, page: Path) -> int:
        """Do what a page says; returns how many of its blocks were left to the machine of a person.

        AssertionError with the line of the page if a command fails or prints something else.
        """
        printed: str | None = ""
        left = 0
        for block in blocks(page):
            where = f"{page.relative_to(ROOT)}:{block.line}"
            if block.language == "bash" and block.title == BY_HAND:
                left += 1
                printed = None
            elif block.language == "bash":
                printed = self._run(block, where)
                print(f"{where}\n{printed}")  # shown when a later block fails
            elif block.title == OUTPUT and printed is not None:
                assert shows(block.text, printed), (
                    f"{where}: the page shows\n{block.text}\nand the commands print\n{printed}"
                )
            elif block.language == "yaml" and block.title.endswith(".yaml"):
                path = self._folder / block.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")
        return left

    def _run(self, block: Block, where: str) -> str:
        done = subprocess.run(
            ["bash", "-c", _SCRIPT.format(block.text)],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        refused = block.title == FAILS
        assert (done.returncode != 0) == refused, (
            f"{where}: exit code {done.returncode}\n{block.text}\n{done.stdout}"
        )
        return done.stdout


def _kubeconfig(plane: ControlPlane, folder: Path, namespace: str) -> Path:
    """The administrator's kubeconfig with another default namespace."""
    config = yaml.safe_load(plane.kubeconfig().read_text(encoding="utf-8"))
    for context in config["contexts"]:
        context["context"]["namespace"] = namespace
    path = folder / ".kubeconfig"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path
