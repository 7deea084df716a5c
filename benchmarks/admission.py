"""Measures the latency that the policies and the break-glass webhook add to requests.

    python -m benchmarks.admission                  # 200 requests, 1 and 50 at once

Each request is sent with and without the policies (or the webhook), in the order with, without,
without, with. The requests for the policies are dry runs. A connection to a pod has no dry run: it
goes as far as the simulated kubelet, which refuses it with and without the webhook.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.load import at_once
from benchmarks.measure import Json, spread, store
from benchmarks.report import admission_table
from tests.cluster.guards import until_in_force, without_guards
from tests.cluster.operator_process import Installation, OperatorProcess
from tests.cluster.services import Service, pin
from tests.cluster.webhook import CONFIGURATION, GROUP, behind_glass
from tests.controlplane import ControlPlane
from tests.controlplane.api import STRATEGIC_PATCH, ApiError
from tests.controlplane.processes import free_ports

NAMESPACE = "bench"
INSTANCES = 50
Request = Callable[[], object]


def main() -> None:
    options = _options()
    say = Console(stderr=True).print
    results = []
    with ControlPlane.start(say=say) as plane:
        plane.add_nodes(2)
        with _served(plane) as service:
            for at_a_time in options.at_once:
                for what, (without, request) in _requests(plane, service).items():
                    say(f"{what}, {at_a_time} at once …")
                    results.append(compared(what, request, without, at_a_time, options.requests))
    store("admission", results, options.beside, options.raw)
    print(admission_table(results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--requests", type=int, default=200, help="with, and as many without")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--raw", type=Path, help="file for the raw results [benchmarks/raw]")
    parser.add_argument("--beside", default="nothing", help="what else ran on the machine")
    return parser.parse_args()


@contextmanager
def _served(plane: ControlPlane) -> Iterator[Service]:
    """An operator that serves the webhook, and a service whose instances stay when marked."""
    installation = Installation.install(plane)
    [port] = free_ports(1)
    installation.aim_webhook(port)
    operator = OperatorProcess(installation, "operator", (), webhook_port=port)
    try:
        operator.until_leading()
        until_in_force(plane)
        plane.api().request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        yield behind_glass(Service(plane, NAMESPACE), INSTANCES)
    finally:
        operator.stop()


Without = Callable[[], AbstractContextManager[None]]


def _requests(plane: ControlPlane, service: Service) -> Mapping[str, tuple[Without, Request]]:
    """Each kind of request, and how to do without what is measured."""
    api = plane.api()
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    names = itertools.cycle(p["metadata"]["name"] for p in service.active())
    jane = replace(api, impersonated="jane", group=GROUP)
    labels = {"metadata": {"labels": {"seen": "yes"}}}
    stranger = {"metadata": {"name": "stranger"}, "spec": _spec()}

    def label() -> object:
        return api.request("PATCH", f"{pods}/{next(names)}?dryRun=All", labels, STRATEGIC_PATCH)

    def create() -> object:
        return api.request("POST", f"{pods}?dryRun=All", stranger)

    def connect() -> None:
        with contextlib.suppress(ApiError):  # by the simulated kubelet, after admission
            jane.request("POST", f"{pods}/{next(names)}/exec?command=true&stdout=true")

    return {
        "create a pod of others": (lambda: without_guards(plane), create),
        "label an instance": (lambda: without_guards(plane), label),
        "exec as break-glass": (lambda: _without_webhook(plane), connect),
    }


def _spec() -> dict[str, Any]:
    return {"containers": [{"name": "web", "image": pin("stranger")}]}


@contextmanager
def _without_webhook(plane: ControlPlane) -> Iterator[None]:
    body = plane.api().get(CONFIGURATION)
    plane.api().request("DELETE", CONFIGURATION)
    try:
        time.sleep(SETTLE_SECONDS)
        yield
    finally:
        meta = body["metadata"]
        kept = {key: meta[key] for key in ("name", "labels", "annotations") if key in meta}
        collection = CONFIGURATION.rpartition("/")[0]
        plane.api().request("POST", collection, {**body, "metadata": kept})
        time.sleep(SETTLE_SECONDS)


# The API server reads changes of webhooks within a second; nothing shows when it has.
SETTLE_SECONDS = 3.0


def compared(what: str, request: Request, without: Without, at_a_time: int, count: int) -> Json:
    """Latencies of ``count`` requests with, and of as many without."""
    half = -(-count // 2)
    with_ = send(request, half, at_a_time)
    with without():
        rest = send(request, 2 * half, at_a_time)
    with_ += send(request, half, at_a_time)
    return {
        "request": what,
        "at_once": at_a_time,
        "with": spread(with_),
        "without": spread(rest),
    }


def send(request: Request, count: int, at_a_time: int) -> list[float]:
    """Send requests, so many at once; return the seconds of each."""
    seconds: list[float] = []

    def timed() -> None:
        request()  # opens the connection of this thread
        for _ in range(-(-count // at_a_time)):
            began = time.perf_counter()
            request()
            seconds.append(time.perf_counter() - began)

    at_once((timed for _ in range(at_a_time)), at_a_time)
    return seconds


if __name__ == "__main__":
    main()
