"""Services that went back to a good revision: getting there, and reading the records."""

from __future__ import annotations

from tests.cluster.history import History
from tests.cluster.services import Service, is_ready, pin
from tests.controlplane.api import Json

__all__ = [
    *("CRASH", "NEVER", "broken", "counts", "ready"),
    *("record", "until_back", "until_failed", "verdict"),
]

CRASH = {"fault": "crash-loop"}
NEVER = {"fault": "never-ready"}


def record(web: Service, number: int) -> Json:
    """The record of the revision with this number."""
    [found] = [r for r in web.revisions() if r["spec"]["number"] == number]
    return found


def verdict(web: Service, number: int) -> Json:
    """What became of the revision with this number."""
    status: Json = record(web, number).get("status", {})
    return status


def until_failed(web: Service, number: int) -> None:
    """Until the revision with this number is on record as failed."""
    web.until(f"{number} failed", lambda: verdict(web, number).get("phase") == "Failed")


def until_back(web: Service, image: str = "a") -> Json:
    """Until the service runs again what worked, at full strength, and nothing else."""
    told = web.until_stalled("RolledBack")
    count = web.get()["spec"].get("replicas", 1)
    web.until("it is restored", lambda: web.images() == [pin(image)] * count)
    web.until("it works", lambda: ready(web) == count)
    return told


def broken(web: Service, replicas: int = 2, **changes: object) -> None:
    """Revision 1 works, revision 2 crashes; the service is back at revision 1."""
    web.apply(image="a", replicas=replicas, **changes)
    web.until_ready()
    web.apply(image="b", sim=CRASH)
    until_back(web)


def counts(history: History) -> tuple[int, int]:
    """How many pods were born, and how many were told to end."""
    return len(history.births()), len(history.retirements())


def ready(web: Service) -> int:
    """How many of its pods are Ready."""
    return sum(map(is_ready, web.active()))
