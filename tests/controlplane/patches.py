"""Changes to the source of a module of others, made in a copy that is built in its place.

Only what is changed is written down here; the rest is copied from the module cache. A change whose
place is not found exactly once stops the build, so that a new version of the module is looked at.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["KWOK", "Patch", "PatchError", "patched_module"]


class PatchError(RuntimeError):
    """A change could not be made; the message says which."""


@dataclass(frozen=True)
class Patch:
    """Puts ``text`` before ``place`` in one file of a Go module."""

    module: str
    file: str
    place: str
    text: str


# kwok lists the pods of a new node once it has written the node's lease. Until its own view shows
# that lease it passes over all pods of the node, and until it shows the node's address a stage
# takes the node for lost (stages/fragments.yaml). A pod that is bound so early was never started:
# the list came too early for it, and so did its event. So the list waits for the view.
KWOK = (
    Patch(
        "sigs.k8s.io/kwok",
        "pkg/kwok/controllers/controller.go",
        "\t\topt := informer.Option{\n\t\t\tFieldSelector:     fields.OneTermEqualSelector("
        '"spec.nodeName"',
        """\
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
			node, exists := c.nodeCacheGetter.Get(nodeName)
			_, managed := c.nodes.Get(nodeName)
			held := c.readOnlyFunc == nil || !c.readOnlyFunc(nodeName)
			if !exists || managed && held && len(node.Status.Addresses) > 0 {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}

""",
    ),
)


def patched_module(
    go: str,
    patches: Sequence[Patch],
    source: Path,
    environment: Mapping[str, str],
    folder: Path,
) -> Path:
    """Copy the patched modules below ``folder``; return a go.mod there that uses the copies.

    ``source`` is the folder of the go.mod that pins them. The result is for ``go build -modfile``.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lines = [(source / "go.mod").read_text().rstrip()]
    for module in dict.fromkeys(patch.module for patch in patches):
        _run([go, "mod", "download", module], source, environment)
        found = _run([go, "list", "-m", "-f", "{{.Dir}}", module], source, environment)
        copy = folder / module.replace("/", "_")
        shutil.copytree(found.strip(), copy, copy_function=shutil.copyfile)
        # The module cache is read-only, and so are the copies of its folders.
        for path in (copy, *copy.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
        lines.append(f"replace {module} => {copy}")
        for patch in patches:
            if patch.module == module:
                _apply(patch, copy / patch.file)
    shutil.copyfile(source / "go.sum", folder / "go.sum")
    changed = folder / "go.mod"
    changed.write_text("\n".join(lines) + "\n")
    return changed


def _apply(patch: Patch, file: Path) -> None:
    before = file.read_text()
    if before.count(patch.place) != 1:
        raise PatchError(
            f"{patch.module} has {before.count(patch.place)} times {patch.place.strip()!r} in"
            f" {patch.file}, which the test bed changes; look whether the change is still needed,"
            f" and correct or remove it in {__file__}"
        )
    file.write_text(before.replace(patch.place, patch.text + patch.place))


def _run(command: Sequence[str], source: Path, environment: Mapping[str, str]) -> str:
    answer = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True)
    if answer.returncode:
        raise PatchError(f"{' '.join(command)} failed:\n{answer.stderr}")
    return answer.stdout
