"""The commands of the documents, run in order as a reader runs them, with what they print."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.operator_process import OperatorProcess
from tests.cluster.page_reader import Reader
from tests.controlplane import ControlPlane
from tests.controlplane.build import binaries
from tests.pages import BY_HAND, ROOT, blocks, tutorials

PAGES = {str(page.relative_to(ROOT)): page for page in tutorials()}
# Why a block is not run here, in the order of the page.
CLUSTER = "creates a cluster in docker"
IMAGE = "builds an image with docker, podman or buildah: tests/real and tests/release build it"
INSTALLS = "installs a program: tests/unit/test_plugin_alone.py and tests/release do"
MAKE = "runs the tests, or builds: tests/unit/test_docs.py knows the targets"
RELEASE = "changes the release of the chart, which all tests share: its values are rendered below"
SIGNED = "needs a signed release: tests/release verifies one with a key"
LEFT_TO_A_PERSON = {
    "CONTRIBUTING.md": (MAKE,),
    "README.md": (f"{CLUSTER}, {IMAGE}", IMAGE, MAKE),
    "SECURITY.md": (SIGNED,) * 3,
    "charts/immutable-operator/README.md": (RELEASE,),
    "docs/configuration.md": (RELEASE, "no operator runs in a pod: tests/cluster/test_secrets.py"),
    "docs/dashboard.md": ("runs until Ctrl-C: tests/cluster/test_dashboard.py",),
    "docs/enforcement.md": ("ends all protection: tests/cluster/test_guarded.py",),
    "docs/gitops.md": ("needs Argo CD: tests/cluster/gitops",),
    "docs/how-to/canary.md": (RELEASE,),
    "docs/migrate.md": (
        "asks a public registry: tests/wire/test_pin.py",
        "is run by docs/how-to/migrate.md",
    ),
    "docs/monitoring.md": (RELEASE,),
    "docs/notifications.md": (RELEASE,),
    "docs/performance.md": (MAKE,),
    "docs/pin.md": ("asks a public registry: tests/wire/test_pin.py",),
    "docs/plugin.md": (
        INSTALLS,
        INSTALLS,
        INSTALLS,
        "asks on a terminal: tests/cluster/test_exec.py",
    ),
    "docs/quick-start.md": (CLUSTER, IMAGE, INSTALLS),
    "docs/release.md": (IMAGE,),
    "docs/troubleshooting.md": ("no operator runs in a pod: tests/real/test_install.py",),
    "docs/upgrade.md": (RELEASE,),
    "docs/verify.md": ("needs a pod of the operator: tests/cluster/test_verify.py", INSTALLS),
}
WEB = "kubectl apply -f examples/web.yaml && kubectl immutable status web\n"
SECOND = (
    "sed 's|2.52@.*|2.53@sha256:99c6b4bb4a1e1df3f0b3752168c89358794d02258ebebc26bf21c29399011a85|'"
    " examples/web.yaml > web.yaml && kubectl apply -f web.yaml && kubectl immutable status web\n"
)
# What a page that explains, and does not instruct, finds on the cluster.
SUPPOSED = {
    "docs/plugin.md": WEB + SECOND,
    "docs/troubleshooting.md": WEB,
}

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(autouse=True)
def cluster_as_before(control_plane: ControlPlane) -> Iterator[None]:
    """Afterwards there is no freeze and no cordoned node, also if a page stopped halfway."""
    yield
    control_plane.kubectl("delete", "imfrz", "--all")
    nodes = control_plane.api().get("/api/v1/nodes")["items"]
    control_plane.kubectl("uncordon", *(node["metadata"]["name"] for node in nodes))


@pytest.mark.parametrize("name", PAGES)
def test_commands_of_the_page_do_what_it_shows(
    control_plane: ControlPlane,
    operator: OperatorProcess,
    namespace: str,
    tmp_path: Path,
    name: str,
) -> None:
    assert operator.leading
    reader = Reader(control_plane, tmp_path, namespace)
    if name in SUPPOSED:
        reader.suppose(SUPPOSED[name])
    left = reader.follow(PAGES[name])
    reasons = LEFT_TO_A_PERSON.get(name, ())
    assert left == len(reasons), f"blocks with the title {BY_HAND}, each with a reason"


# Of a release: flags that `helm template` does not have, or that would ask a cluster.
OF_RELEASES = ("--wait", "--install", "--reuse-values", "--reset-then-reuse-values")
DIGEST = f"sha256:{'0' * 64}"
LINES = [
    pytest.param(line, id=f"{name}:{block.line}")
    for name, page in PAGES.items()
    for block in blocks(page)
    if block.language == "bash" and block.title == BY_HAND
    for line in block.text.replace("\\\n", " ").splitlines()
    if line.startswith(("helm install ", "helm upgrade "))
]


@pytest.mark.parametrize("line", LINES)
def test_release_that_a_page_describes_can_be_rendered(line: str) -> None:
    """The schema of the chart refuses values that do not exist."""
    text = re.sub(r"sha256:<[^>]*>|\"\$\{image#\*@\}\"", DIGEST, line).replace(
        "<registry>", "example"
    )
    _, _, *words = shlex.split(text, comments=True)
    kept = [word for word in words if word not in OF_RELEASES]
    least = ["--set=image.repository=example/operator", f"--set=image.digest={DIGEST}"]
    done = subprocess.run(
        [str(binaries(["helm"])["helm"]), "template", *least, *kept],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_pages_describe_releases() -> None:
    assert len(LINES) >= 6
