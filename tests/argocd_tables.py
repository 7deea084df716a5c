"""The tables of tests beside the scripts of gitops/argocd: samples, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops.generate.argocd import SCRIPTS
from immutable_operator.api.names import GROUP

__all__ = ["ACTIONS", "DISCOVERIES", "FOLDER", "HEALTH", "load"]

FOLDER = SCRIPTS / GROUP


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _entries(table: str, section: str) -> list[Any]:
    """A parameter for each entry of a section of all tables of this name: folder and entry."""
    found = []
    for file in sorted(FOLDER.rglob(table)):
        for entry in load(file)[section]:
            what = f"{entry['action']} of " if "action" in entry else ""
            kind = file.relative_to(FOLDER).parts[0]
            name = f"{kind}: {what}{Path(entry['inputPath']).stem}"
            found.append(pytest.param(file.parent, entry, id=name))
    return found


HEALTH = _entries("health_test.yaml", "tests")
DISCOVERIES = _entries("action_test.yaml", "discoveryTests")
ACTIONS = _entries("action_test.yaml", "actionTests")
