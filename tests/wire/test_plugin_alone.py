"""The plug-in without what only the operator needs: kopf, cryptography, prometheus-client.

The wheel in a fresh environment is tried in tests/release (`make release`).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Modules of the extra "operator", and the operator's process.
ABSENT = ("kopf", "cryptography", "prometheus_client")
APART = (*ABSENT, "immutable_operator.runtime")
# They take most of a second to import, and each TAB would wait for them.
SLOW = ("aiohttp", "kubernetes", "pydantic", "structlog")
WITHOUT = "import sys\nfor name in {names!r}: sys.modules[name] = None\n"


def run(names: tuple[str, ...], program: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a Python that cannot import these modules."""
    command = [sys.executable, "-c", WITHOUT.format(names=names) + program, *args]
    return subprocess.run(command, text=True, capture_output=True)


@pytest.mark.parametrize(
    "args", [("version", "--client"), ("check", "--help"), ("verify", "--help"), ("__complete", "")]
)
def test_plugin_runs_without_the_packages_of_the_operator(args: tuple[str, ...]) -> None:
    done = run(APART, "from immutable_operator.cli.main import main; main()", *args)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize("words", [("",), ("get", "--"), ("undo", "web", "--")], ids=" ".join)
def test_completion_of_verbs_and_options_imports_no_slow_package(words: tuple[str, ...]) -> None:
    program = "from immutable_operator.cli.main import answer_kubectl; answer_kubectl()"
    done = run(SLOW, program, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) > 5


def test_operator_without_its_packages_says_what_to_install() -> None:
    done = run(ABSENT, "from immutable_operator.runtime.start import main; main()")
    assert done.returncode == 1
    assert "install both with: pip install 'immutable-operator[operator]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_versions_of_the_plugin_are_those_that_are_tested() -> None:
    """What the archives of the plug-in contain is what the tests of the plug-in ran with."""
    plugin, tested = (_locked(f"requirements-{name}.txt") for name in ("cli", "dev"))
    assert plugin.items() <= tested.items()
    assert not plugin.keys() & {"kopf", "cryptography", "prometheus-client"}


def test_lock_of_the_plugin_has_all_its_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["cli"]]
    names = {re.split(r"[<>=]", name)[0] for name in wanted}
    assert names <= _locked("requirements-cli.txt").keys(), "run: make lock"


def _locked(name: str) -> dict[str, str]:
    return dict(re.findall(r"(?m)^([a-z0-9.-]+)==(\S+)", (ROOT / name).read_text()))
