"""gitops/kustomize with an API server: its schema, and an overlay that is applied as users do."""

from __future__ import annotations

import json
from pathlib import Path

from gitops.generate import kustomize
from tests.cluster.services import Service
from tests.controlplane import ControlPlane

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "gitops" / "production"


def test_schema_for_kustomize_is_that_of_the_api_server(control_plane: ControlPlane) -> None:
    openapi = json.loads(control_plane.kubectl("get", "--raw", "/openapi/v2").stdout)
    committed = (ROOT / kustomize.FILE).read_text(encoding="utf-8")
    advice = f"renew it, as the docstring of {kustomize.__name__} says"
    assert kustomize.render(openapi) == committed, advice


def test_example_is_applied_scaled_and_ready(web: Service) -> None:
    web.kubectl("apply", f"--kustomize={EXAMPLE}")
    web.until("its autoscaler sets its minimum", lambda: web.get()["spec"].get("replicas") == 2)
    web.until_ready()

    again = web.kubectl("apply", f"--kustomize={EXAMPLE}")

    assert "immutableservice.immutable.dev/web unchanged" in again
    assert len(web.active()) == 2
