"""Copies the policies into the chart, as `api.crd` does for the CRDs.

``python -m immutable_operator.admission.chart`` writes; with ``--check`` it compares and shows
a diff.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import Final

from immutable_operator.admission.policies import GUARDS, NODE_GUARDS, source

__all__ = ["main", "render"]

ROOT: Final = Path(__file__).resolve().parents[3]
FOLDER: Final = "charts/immutable-operator/files/policies"
NODE_FOLDER: Final = "charts/immutable-operator/files/node-policies"
_HEADER = (
    "# Copied from operator/immutable_operator/admission/{}:"
    " python -m immutable_operator.admission.chart\n"
)


def render() -> dict[str, str]:
    """Return the text of each copy by its path in the repository."""
    always, nodes = _HEADER.format("policies"), _HEADER.format("node_policies")
    return {f"{FOLDER}/{guard}.yaml": always + source(guard) for guard in GUARDS} | {
        f"{NODE_FOLDER}/{guard}.yaml": nodes + source(guard) for guard in NODE_GUARDS
    }


def _committed(root: Path) -> dict[str, str]:
    return {
        f"{folder}/{file.name}": file.read_text(encoding="utf-8")
        for folder in (FOLDER, NODE_FOLDER)
        for file in sorted((root / folder).glob("*.yaml"))
    }


def _differences(wanted: dict[str, str], found: dict[str, str]) -> str:
    diffs: list[str] = []
    for path in sorted({*wanted, *found}):
        old, new = (texts.get(path, "").splitlines(keepends=True) for texts in (found, wanted))
        diffs += difflib.unified_diff(old, new, fromfile=path, tofile=f"{path} (wanted)")
    return "".join(diffs)


def _write(root: Path, wanted: dict[str, str], found: dict[str, str]) -> None:
    for folder in (FOLDER, NODE_FOLDER):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for path in {*found} - {*wanted}:
        (root / path).unlink()
    for path, text in wanted.items():
        (root / path).write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Copy the policies into the chart, or compare the copies with the committed files."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help="only compare; exit 1 with a diff",
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="root of the repository")
    options = parser.parse_args(arguments)
    wanted, found = render(), _committed(options.root)
    if not options.check:
        _write(options.root, wanted, found)
        return 0
    if difference := _differences(wanted, found):
        sys.stdout.write(difference)
        print("the policies in the chart differ from those in the package; run: make crds")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
