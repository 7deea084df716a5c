"""A GitOps controller in tests: it applies the last commit again and again."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from tests.cluster.services import KIND_PATH, Service, Wish
from tests.controlplane.api import Json
from tests.waiting import wait_for

__all__ = ["ARGO_CD", "FLUX", "Reconciler"]

# The names under which they apply on the server side.
FLUX, ARGO_CD = "kustomize-controller", "argocd-controller"
APPLY = "application/apply-patch+yaml"


class Reconciler:
    """Applies the manifest of a service every few seconds, by server-side apply with force.

    ``period``: seconds between two applies. A refused apply fails the test at the end of the block.
    """

    def __init__(self, service: Service, manager: str, period: float = 0.5) -> None:
        self.service = service
        self._path = f"{KIND_PATH}/{service.namespace}/immutableservices/{service.name}"
        self._query = f"fieldManager={manager}&force=true"
        self._period = period
        self._manifest: Json = {}
        self._applied = 0
        self._failed: Exception | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def commit(self, wish: Wish) -> None:
        """Have this applied from now on; returns when it was applied once."""
        self._manifest = wish.manifest(self.service.name, self.service.namespace)
        if self._thread.ident is None:
            self._thread.start()
        self.until_applied(2)  # the first one may have begun before

    def until_applied(self, times: int) -> None:
        """Wait until it has applied so many times more."""
        wanted = self._applied + times
        wait_for(
            f"it is applied {times} times",
            lambda: self._applied >= wanted or self._failed is not None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join()
        if error is None and self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        path = f"{self._path}?{self._query}"
        while not self._end.is_set():
            try:
                self.service.plane.api().request("PATCH", path, self._manifest, APPLY)
            except Exception as error:
                self._failed = error
                return
            self._applied += 1
            self._end.wait(self._period)
