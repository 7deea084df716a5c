"""The names that complete a command line, where something takes long."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.wire.cluster_of_answers import answering

SHOP = json.dumps({"metadata": {}, "items": [{"metadata": {"name": "shop"}}]}).encode()
# A client is imported when it is needed; a finder that knows nothing makes that slow.
SLOWLY = """
import asyncio, sys, time
from immutable_operator.cli.complete import Asked
from immutable_operator.cli.names import PATIENCE_SECONDS, names

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "kubernetes":
            time.sleep(PATIENCE_SECONDS)

sys.meta_path.insert(0, Slow())
print(asyncio.run(names(Asked("get", "NAMESPACE", {"kubeconfig": sys.argv[1]}))))
"""


def test_names_are_offered_however_long_the_imports_take(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    with answering(lambda method, path: (200, SHOP)) as server:
        body = {
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server.url}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        file.write_text(json.dumps(body))
        command = [sys.executable, "-c", SLOWLY, str(file)]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout == "[('shop', '')]\n", told.stderr
