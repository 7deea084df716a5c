"""A container cannot write into its own files, unless its service or its template says so."""

from __future__ import annotations

from tests.cluster.services import Service
from tests.controlplane.api import Json
from tests.controlplane.real.nodes import RealNodes
from tests.real.pods import ready_at
from tests.real.web import WebService

WRITABLE = {"immutability": {"writableRootFilesystem": True}}
ELSEWHERE = {"volumes": [{"name": "scratch", "emptyDir": {}}]}


def writes(image: str, path: str, **more: object) -> Json:
    """A container that creates a file before the server starts, as root: rights refuse nothing.

    What it prints last is in the status of the pod.
    """
    return {
        "name": "writer",
        "image": image,
        "command": ["/web", "write", path],
        "securityContext": {"runAsUser": 0},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **more,
    }


def ends(web: Service) -> list[tuple[int, str]]:
    """With which code, and with which words, the writer of each pod ended last."""
    found = []
    for pod in web.active():
        for status in pod["status"].get("initContainerStatuses", ()):
            for state in (status["state"], status.get("lastState", {})):
                if ended := state.get("terminated"):
                    found.append((ended["exitCode"], ended.get("message", "").strip()))
    return found


def test_root_file_system_is_read_only_by_default_and_writable_on_request(
    web: WebService, real: RealNodes
) -> None:
    image = real.images.digest("web")
    # The server itself runs as its image says, and its template says nothing of its files.
    server = {"image": image, "readinessProbe": ready_at("/readyz")}
    refused = {"initContainers": [writes(image, "/written")]}
    web.apply(replicas=1, container=server, pod=refused)
    web.until("the write was refused", lambda: ends(web))
    assert ends(web)[0] == (1, "web: open /written: read-only file system")
    # A file system of its own may be written, and nothing else changes.
    mounts = [{"name": "scratch", "mountPath": "/scratch"}]
    scratch = writes(image, "/scratch/written", volumeMounts=mounts)
    web.apply(pod={"initContainers": [scratch], **ELSEWHERE})
    web.until_ready()
    assert ends(web)[0][0] == 0
    [pod] = web.active()
    contexts = [
        pod["spec"][kind][0]["securityContext"] for kind in ("initContainers", "containers")
    ]
    assert [context["readOnlyRootFilesystem"] for context in contexts] == [True, True]
    # The service opts out: the same write works.
    web.apply(pod=refused, spec=WRITABLE)
    web.until_ready()
    web.until_alone()
    assert ends(web)[0][0] == 0
