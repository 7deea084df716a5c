"""The program ``immutable-operator``: says what to install where only the plug-in is installed."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the operator's command line, if the packages of the extra ``operator`` are there."""
    try:
        from immutable_operator.runtime.main import main as run
    except ModuleNotFoundError as error:
        sys.exit(
            f"error: the operator needs the package {error.name}, and only the kubectl plug-in is"
            " installed; install both with: pip install 'immutable-operator[operator]'"
        )
    run()
