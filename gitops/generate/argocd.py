"""Writes the scripts under gitops/argocd/resource_customizations into gitops/argocd/argocd-cm.yaml.

``python -m gitops.generate.argocd`` writes; with ``--check`` it compares. Argo CD reads the folder
only where it is part of Argo CD itself; everywhere else the scripts belong into its ConfigMap.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

import yaml

__all__ = ["SCRIPTS", "main", "render"]

ROOT: Final = Path(__file__).resolve().parents[2]
FILE: Final = "gitops/argocd/argocd-cm.yaml"
SCRIPTS: Final = ROOT / "gitops" / "argocd" / "resource_customizations"
_HEADER: Final = (
    "# Generated from the scripts in resource_customizations: python -m gitops.generate.argocd\n"
    "# kubectl -n argocd patch configmap argocd-cm --patch-file gitops/argocd/argocd-cm.yaml\n"
)


class _Literal(yaml.SafeDumper):
    """Writes texts of several lines as they are, so that a script can be read in the file."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Literal.add_representer(str, _text)


def render() -> str:
    """Return the text of the ConfigMap: the health and the actions of each kind."""
    data: dict[str, str] = {}
    for kind in sorted(SCRIPTS.glob("*/*")):
        key = f"{kind.parent.name}_{kind.name}"
        data[f"resource.customizations.health.{key}"] = _read(kind / "health.lua")
        if (actions := kind / "actions").exists():
            data[f"resource.customizations.actions.{key}"] = _dump(_actions(actions))
    return _HEADER + _dump(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "argocd-cm", "labels": {"app.kubernetes.io/part-of": "argocd"}},
            "data": data,
        }
    )


def _actions(folder: Path) -> dict[str, Any]:
    definitions = [
        {"name": script.parent.name, "action.lua": _read(script)}
        for script in sorted(folder.glob("*/action.lua"))
    ]
    return {"discovery.lua": _read(folder / "discovery.lua"), "definitions": definitions}


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _dump(value: object) -> str:
    text: str = yaml.dump(value, Dumper=_Literal, sort_keys=False, width=1000)
    return text


def main(arguments: list[str] | None = None) -> int:
    """Write the ConfigMap, or compare it with the committed file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 if it differs")
    options = parser.parse_args(arguments)
    file, wanted = ROOT / FILE, render()
    if not options.check:
        file.write_text(wanted, encoding="utf-8")
        return 0
    if file.exists() and _read(file) == wanted:
        return 0
    print(f"{FILE} differs from the scripts; run: python -m gitops.generate.argocd")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
