"""`kubectl immutable verify` on real nodes, as its documentation says: without any option.

Simulated nodes cannot resize, and refuse an exec themselves; here only the policies do.
"""

from __future__ import annotations

import json

import pytest

from immutable_operator.cli.paths import PATHS
from tests.cluster.verify import SEEN, left, verify
from tests.real.release import Release

BY_THE_API_SERVER = {"P18-tag", "M1-data"}


@pytest.mark.timeout(400)
def test_verify_passes_where_policies_are_enforced(
    release: Release, builds: tuple[str, str]
) -> None:
    done = verify(release.plane, "-o", "json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["operator"]["image"] in builds
    assert said["operator"]["ready"] == len(release.pods())
    assert done.tried("Healed") == SEEN
    assert done.tried("Prevented") == {path.id for path in PATHS} - SEEN
    by_itself = {n for n, row in done.rows.items() if row["layer"] == "API server itself"}
    assert by_itself == BY_THE_API_SERVER
    assert done.rows["P4-resize"]["layer"] == "L2 policy running-pod"
    assert done.rows["P6-break-glass"]["detail"].startswith("Tainted: exec by ")
    assert left(release.plane) == []
