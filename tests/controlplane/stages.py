"""Generates the configuration of KWOK from ``stages/*.yaml``.

Text between at signs (``@dispatch@``) in a stage is replaced by the fragment with this name in
``stages/fragments.yaml``; fragments can contain fragments. Therefore the rule that selects a stage,
and the format of a status, are each written once.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

__all__ = ["write_stages"]

FOLDER = Path(__file__).parent / "stages"
# kwok 0.8 uses no defaults if there is such a document: all options must be set.
OPTIONS = {
    "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
    "kind": "KwokConfiguration",
    "options": {
        "podPlayStageParallelism": 16,
        "nodePlayStageParallelism": 4,
        "nodeLeaseParallelism": 4,
        "podsOnNodeSyncParallelism": 4,
        "enablePodsOnNodeSyncListPager": True,
        "enableDebuggingHandlers": True,
    },
}


def write_stages(path: Path) -> Path:
    """Write the configuration file for ``kwok --config``."""
    fragments = yaml.safe_load((FOLDER / "fragments.yaml").read_text())
    documents: list[Any] = [OPTIONS]
    for name in ("nodes.yaml", "pods.yaml"):
        for stage in yaml.safe_load_all((FOLDER / name).read_text()):
            documents.append(_expand(stage, fragments))
    path.write_text("\n---\n".join(json.dumps(document, indent=1) for document in documents))
    return path


def _expand(value: Any, fragments: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _expand(item, fragments) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, fragments) for item in value]
    if isinstance(value, str):
        return re.sub(r"@([a-z-]+)@", lambda found: _expand(fragments[found[1]], fragments), value)
    return value
