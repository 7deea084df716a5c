"""Checks the chart with ct, kubeconform and helm-docs: ``python -m tests.controlplane.chart_lint``.

With each file of values in ``ci/``: `helm lint` through chart-testing, and the rendered manifests
against the schemas of the test bed's API server. With ``--if-built`` nothing is built: what is
missing is skipped. With ``--write-docs`` the README of the chart is written, not compared.
"""

from __future__ import annotations

import argparse
import difflib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.controlplane.build import KUBERNETES_VERSION, BuildError, binaries, built
from tests.controlplane.schemas import LOCATION, schemas_folder

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "immutable-operator"
README = CHART / "README.md"
PROGRAMS = ("helm", "ct", "kubeconform", "helm-docs")
MUTATING = "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
# Not checked: accounts of maintainers and versions of earlier charts, which need a host of
# repositories, and the style of YAML, for which ct runs programs of their own.
CT_LINT = (
    *("lint", "--charts", str(CHART), "--validate-maintainers=false"),
    *("--check-version-increment=false", "--validate-yaml=false", "--validate-chart-schema=false"),
    *("--helm-lint-extra-args", "--strict --quiet"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--if-built", action="store_true", help="skip what is not built")
    parser.add_argument("--write-docs", action="store_true", help="only write README.md")
    options = parser.parse_args(arguments)
    try:
        programs = built(PROGRAMS) if options.if_built else binaries(PROGRAMS)
        if missing := sorted({*PROGRAMS} - {*programs}):
            print(f"chart: ct, kubeconform and helm-docs skipped, not built: {', '.join(missing)}")
            return 0
        if options.write_docs:
            README.write_text(_docs(programs))
            return 0
        folder = schemas_folder(build=not options.if_built)
        checks = [_lint(programs), _readme(programs)]
        if folder is None:
            print("kubeconform: skipped, there are no schemas yet (make chart-lint makes them)")
        else:
            checks += [_conform(programs, folder, file) for file in _values()]
    except BuildError as error:
        print(f"the chart cannot be checked: {error}")
        return 3
    return 0 if all(checks) else 1


def _values() -> list[Path]:
    return sorted((CHART / "ci").glob("*-values.yaml"))


def _run(
    command: Sequence[object], given: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        input=given,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | variables,
    )


def _tell(what: str, done: subprocess.CompletedProcess[str]) -> bool:
    """Print what was checked, and what the program said if it failed."""
    print(what, flush=True)
    if done.returncode:
        print(done.stdout + done.stderr)
    return done.returncode == 0


def _lint(programs: Mapping[str, Path]) -> bool:
    path = f"{programs['helm'].parent}{os.pathsep}{os.environ['PATH']}"
    return _tell(f"ct lint {CHART.relative_to(ROOT)}", _run([programs["ct"], *CT_LINT], PATH=path))


def _conform(programs: Mapping[str, Path], folder: Path, values: Path) -> bool:
    """Check what the chart installs with these values."""
    command = ("template", "immutable-operator", CHART, "--namespace=immutable-system", MUTATING)
    made = _run([programs["helm"], *command, f"--values={values}"])
    if made.returncode:
        return _tell(f"helm template --values {values.name}", made)
    version = KUBERNETES_VERSION.removeprefix("v")
    where = ("-schema-location", folder / LOCATION, "-kubernetes-version", version)
    done = _run([programs["kubeconform"], "-strict", "-summary", *where, "-"], made.stdout)
    return _tell(f"kubeconform --values {values.name}: {done.stdout.strip()[-120:]}", done)


def _docs(programs: Mapping[str, Path]) -> str:
    options = ("--chart-search-root", CHART, "--dry-run", "--sort-values-order=file")
    done = _run([programs["helm-docs"], *options, "--log-level=warning"])
    if done.returncode or done.stderr:
        raise BuildError(f"helm-docs failed: {done.stderr}")
    return done.stdout.rstrip("\n") + "\n"


def _readme(programs: Mapping[str, Path]) -> bool:
    wanted, found = (
        text.splitlines(keepends=True) for text in (_docs(programs), README.read_text())
    )
    difference = "".join(difflib.unified_diff(found, wanted, "README.md", "README.md (wanted)"))
    print("helm-docs: README.md of the chart")
    if difference:
        print(
            f"{difference}\nREADME.md differs from values.yaml and README.md.gotmpl;"
            " run: make chart-docs"
        )
    return not difference


if __name__ == "__main__":
    sys.exit(main())
