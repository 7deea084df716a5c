"""The benchmarks that need a control plane run, with tiny numbers; no figure is judged.

Each starts a control plane of its own, as for a person who measures.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.report import TABLES
from tests.controlplane.api import Json

ROOT = Path(__file__).parents[2]
SCALE = "--services=3 --pods=7 --busy=4 --samples=2 --idle-seconds=1 --limit-seconds=120"
# Argo Rollouts takes minutes to build.
ROLLOUT = "--pods=4 --rounds=1 --of ImmutableService Deployment"
EXPIRY = "--nodes=1 --age=12 --boot=1 --surge=1"
ADMISSION = "--requests=4 --at-once 1 3"

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]


@pytest.mark.parametrize(
    ("program", "options"),
    [("scale", SCALE), ("admission", ADMISSION), ("rollout", ROLLOUT), ("expiry", EXPIRY)],
)
def test_benchmark_stores_raw_results_of_which_its_table_is_made(
    program: str, options: str, tmp_path: Path
) -> None:
    raw = tmp_path / "raw.json"
    command = [sys.executable, "-m", f"benchmarks.{program}", *options.split(), f"--raw={raw}"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    results: list[Json] = json.loads(raw.read_text())["results"]
    assert TABLES[program](results) in made.stdout
