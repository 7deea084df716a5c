"""The commands of the documents, run in order as a reader runs them, with what they print."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.operator_process import OperatorProcess
from tests.cluster.page_reader import Reader
from tests.controlplane import ControlPlane
from tests.pages import BY_HAND, ROOT, tutorials

PAGES = {str(page.relative_to(ROOT)): page for page in tutorials()}
# Blocks that create a cluster, build an image, install a program, ask a public registry or end with
# Ctrl-C; docs/how-to/migrate.md and other tests run the same commands.
LEFT_TO_A_PERSON = {
    "README.md": 1,
    "docs/dashboard.md": 1,
    "docs/migrate.md": 2,
    "docs/notifications.md": 1,
    "docs/performance.md": 1,
    "docs/pin.md": 1,
    "docs/quick-start.md": 3,
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
    left = Reader(control_plane, tmp_path, namespace).follow(PAGES[name])
    assert left == LEFT_TO_A_PERSON.get(name, 0), f"blocks with the title {BY_HAND}"
