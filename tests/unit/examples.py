"""With how many examples a property is tried: in ``make unit`` a fifth of those of ``make test``.

``HYPOTHESIS_EXAMPLES=1000`` (`make search`) has others, and as many as it says.
"""

from __future__ import annotations

import os

__all__ = ["DEFAULT", "examples"]

DEFAULT = 100
SHARE = 5


def examples(full: int = DEFAULT) -> int:
    """So many examples, of ``full`` where nothing is in a hurry."""
    if wanted := os.environ.get("HYPOTHESIS_EXAMPLES"):
        return int(wanted)
    return full // SHARE if os.environ.get("HYPOTHESIS_PROFILE") == "quick" else full
