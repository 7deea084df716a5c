"""Starts the plug-in from the libraries beside this file."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
try:
    from immutable_operator.cli.main import main
except ImportError as error:
    sys.exit(
        f"error: this archive does not work with {sys.executable}: {error}; install the plug-in"
        " with pipx instead: pipx install 'immutable-operator[cli]'"
    )
main()
