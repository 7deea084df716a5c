"""A world in which an older version of the operator ran: its objects, and nothing that moves.

The objects are fixtures (`tests/fixtures/upgrade/README.md`). Neither scheduler nor kubelets are
there: whatever is written, an operator wrote it, and each of its writes is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.simulation.world.api import Request
from tests.simulation.world.process import Process
from tests.simulation.world.stand_ins import stand_ins
from tests.simulation.world.storage import Commit, Obj
from tests.simulation.world.world import World

__all__ = ["Upgraded", "upgraded"]

RECORD_OR_INSTANCE = re.compile(r"-im[0-9a-f]{8}(-[a-z0-9]{5})?$")
FIXTURES = Path(__file__).parents[1] / "fixtures" / "upgrade"


class Upgraded(World):
    """The objects of one version at ``later`` seconds after they were written down.

    ``left`` are these objects by resource. The service ``suspended`` is suspended.
    """

    def __init__(self, version: str, later: float, suspended: str = "") -> None:
        super().__init__(0)
        self.pools = "simulated"
        self.writes: list[Request] = []
        self.api.storage.listeners.remove(self.cluster._heard)
        folder = FIXTURES / version
        self.loop.epoch = msgspec.json.decode((folder / "at.json").read_bytes()) + later
        files = (file for file in sorted(folder.glob("*.json")) if file.stem != "at")
        self.left: dict[str, list[Obj]] = {
            file.stem: msgspec.json.decode(file.read_bytes()) for file in files
        }
        for service in self.left["immutableservices"]:
            if service["metadata"]["name"] == suspended:
                service["spec"]["suspend"] = True
        for resource, objects in self.left.items():
            for obj in objects:
                self.api.storage.commit(version, resource, None, obj)

    def sent(self, process: Process, request: Request) -> None:
        if request.is_write and request.route[1] not in ("leases", "selfsubjectreviews"):
            self.writes.append(request)

    def _committed(self, commit: Commit) -> None:
        """Objects that this world did not create are not checked."""

    def of(self, owner: str) -> list[Request]:
        """The writes for one service or pool, its events left out."""
        return [w for w in self.writes if w.route[1] != "events" and _owner(w) == owner]


def _owner(request: Request) -> str:
    """The name of the service or pool of which a request is, as the names of objects tell."""
    name = request.route[2] or str(request.body["metadata"]["name"])
    return RECORD_OR_INSTANCE.sub("", name)


@contextmanager
def upgraded(version: str, later: float = 0.0, suspended: str = "") -> Iterator[Upgraded]:
    """The world of one version, and the present operator in it."""
    made = Upgraded(version, later, suspended)
    with stand_ins(made.loop, 0):
        try:
            made.start()
            yield made
        finally:
            made.end()
