"""The leader's lease: which replica may write, for how long, checked right before each write.

Clocks of different machines are never compared: a follower measures with its own monotonic clock
how long the lease has not changed. The leader counts the validity from *before* it sent the
renewal. Losing the lease ends the process (see runtime/), so that nothing of a former leader keeps
running.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from immutable_operator.api.names import ANNOTATION_SEEN
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Conflict, NotFound, Unreachable
from immutable_operator.kube.handover import WatchedLease, handover
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reading import READ_ERRORS, decoded

__all__ = ["LEASES", "Lease", "LeaseTimes", "NotLeader"]

log = structlog.get_logger()
MOST_DURATION = 600.0
MOST_TRANSITIONS = 2**31 - 1
# Before a lease that is not renewed expires. Less than the second after which `Reflector.hurry`
# gets a bookmark, which must come after the lease is taken.
NOTICE_SECONDS = 0.8
LEASES = ApiPath("apis/coordination.k8s.io/v1", "leases")


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str
    annotations: dict[str, str] | None = None


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: float | None = None
    lease_transitions: int | None = None
    acquire_time: str | None = None


class _Lease(msgspec.Struct):
    """A lease as it is stored: any authorized client may have written it, also by hand."""

    metadata: _Meta
    spec: _Spec | None = None

    @property
    def holder(self) -> str:
        return (self.spec and self.spec.holder_identity) or ""

    @property
    def handed_over(self) -> dict[str, int]:
        """What its last holder had seen, if it gave the lease back and said so."""
        told = (self.metadata.annotations or {}).get(ANNOTATION_SEEN)
        if self.holder or not told:
            return {}
        try:
            return msgspec.json.decode(told, type=dict[str, int])
        except msgspec.DecodeError:
            return {}

    @property
    def duration(self) -> float:
        """Seconds; 0 if not set. The limit keeps a holder from excluding others forever."""
        stated = (self.spec and self.spec.lease_duration_seconds) or 0.0
        return min(stated, MOST_DURATION) if stated > 0 else 0.0

    @property
    def transitions(self) -> int:
        """A count that would exceed its field, or is invalid, starts again at 0."""
        stated = (self.spec and self.spec.lease_transitions) or 0
        return stated if 0 <= stated < MOST_TRANSITIONS else 0


class NotLeader(Exception):
    """A write was stopped because this process does not (safely) hold the lease."""


@dataclass(frozen=True)
class LeaseTimes:
    """Seconds: validity of the lease, deadline for a renewal, pause between tries."""

    duration: float = 15.0
    renew: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry < self.renew < self.duration:
            raise ValueError(
                f"lease times {self.duration}/{self.renew}/{self.retry} s are not valid; set the"
                " retry interval below the renewal deadline, and that below the lease duration"
            )


class Lease:
    """One replica's side of the election.

    Parameters
    ----------
    identity
        This replica's name; unique per process.
    times
        A write needs ``retry`` seconds of validity to be allowed, and gets at most what is left.

    ``expiring`` is called `NOTICE_SECONDS` before the lease of another replica expires.
    ``took_over`` says that there was a leader before, whose last writes may not be visible yet;
    ``handed_over`` is what it had seen, if it ended politely (see `release`).
    """

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes,
    ) -> None:
        self._client = client
        self.expiring: Callable[[], None] = lambda: None
        self._path = LEASES.item(namespace, name)
        self._collection = LEASES.collection(namespace)
        self._name, self._namespace = name, namespace
        self.identity = identity
        self.times = times
        self._valid_until = 0.0
        self._held: _Lease | None = None
        self._watched = WatchedLease()
        self._seen_version = ""
        self._seen_at = self._seen_period = 0.0
        self.acquired = asyncio.Event()
        self.took_over = False
        self.handed_over: dict[str, int] = {}

    @property
    def leading(self) -> bool:
        return time.monotonic() < self._valid_until

    def fence(self) -> float:
        """Return the seconds for which the lease is certainly valid: the limit for a write.

        Raises `NotLeader` if that is too short to start a write.
        """
        left = self._valid_until - time.monotonic()
        if left < self.times.retry:
            raise NotLeader(f"{self.identity} does not hold the lease {self._name}")
        return left

    async def run(self) -> None:
        """Acquire the lease, then renew it; return when it is lost."""
        async with handover(self._client, self._collection, self._name, self._watched):
            while not await self.try_acquire():
                await self._watched.wait(self._pause())
        self.acquired.set()
        log.info("leading", identity=self.identity)
        while True:
            await asyncio.sleep(self.times.retry)
            await self.try_renew()
            if time.monotonic() > self._valid_until - (self.times.duration - self.times.renew):
                log.error("lease lost", identity=self.identity)
                self._valid_until = 0.0
                return

    def _pause(self) -> float:
        """Seconds until the next try: a lease that is not renewed is tried when it expires.

        If that is soon, it is announced (`expiring`).
        """
        usual = self.times.retry * random.uniform(0.8, 1.2)  # noqa: S311
        left = self._seen_at + self._seen_period - time.monotonic()
        if left <= 0:
            return usual
        if left > NOTICE_SECONDS:
            return min(usual, left - NOTICE_SECONDS)
        self.expiring()
        return left

    async def try_acquire(self) -> bool:
        """Try once to take a lease that is free, or that did not change for its duration."""
        try:
            body = await self._client.get(self._path, resource="leases")
        except NotFound:
            # The holder of a lease that was deleted may not have noticed that yet.
            if self._is_anothers(""):
                return False
            return await self._hold("POST", self._collection, self._body(None, 0))
        except ApiError as error:
            log.warning("lease cannot be read", error=str(error))
            return False
        self.took_over = True
        try:
            lease = decoded(body, _Lease)
        except READ_ERRORS as error:
            log.warning("lease cannot be read", error=str(error))
            return False
        foreign = lease.holder not in ("", self.identity)
        self._seen_period = (lease.duration or self.times.duration) if foreign else 0.0
        if self._is_anothers(lease.metadata.resource_version):
            return False
        transitions = lease.transitions + (lease.holder != self.identity)
        self.handed_over = lease.handed_over
        return await self._hold("PUT", self._path, self._body(lease, transitions))

    def _is_anothers(self, version: str) -> bool:
        """Return whether the lease of another holder changed within its duration.

        ``version`` is the resource version of the present lease, "" if there is none.
        """
        if version != self._seen_version:
            # The watch may have shown it long before this try.
            since = self._watched.since(version)
            self._seen_version = version
            self._seen_at = time.monotonic() if since is None else since
        return time.monotonic() - self._seen_at < self._seen_period

    async def try_renew(self) -> bool:
        """Renew once with the cached version, without a read and without overwriting others."""
        if self._held is None:
            return False
        body = self._body(self._held, self._held.transitions)
        body["spec"]["acquireTime"] = self._held.spec.acquire_time if self._held.spec else None
        return await self._hold("PUT", self._path, body)

    async def release(self, seen: Mapping[str, int] | None = None) -> None:
        """Give the lease back, so that the next leader need not wait until it expires.

        ``seen`` says how far a view must be to show all writes of this leader; without it the next
        one lists everything, because some may not be visible yet.
        """
        for _ in range(2):
            if self._held is None or not self.leading:
                return
            body = self._body(self._held, self._held.transitions)
            body["spec"]["holderIdentity"] = ""
            body["spec"]["leaseDurationSeconds"] = 1
            if seen:
                told = json.dumps(seen, separators=(",", ":"))
                body["metadata"]["annotations"] = {ANNOTATION_SEEN: told}
            try:
                await self._client.hold("PUT", self._path, body, self.times.renew / 2)
            except Conflict:
                # A renewal without a response was committed: take its version.
                await self._look()
            except ApiError as error:
                log.warning("lease cannot be released", error=str(error))
                return
            else:
                self._valid_until = 0.0
                log.info("lease released", identity=self.identity)
                return

    async def _hold(self, method: str, path: str, body: dict[str, Any]) -> bool:
        before = time.monotonic()
        try:
            # Long enough for a slow API server, short enough for another try in time.
            answer = await self._client.hold(method, path, body, self.times.renew / 2)
        except Conflict:
            # Another replica was faster, or our renewal was committed but its response was
            # lost: read the lease, and keep it if it is ours.
            return await self._look()
        except NotFound:
            # It was deleted: the replica that recreates it holds it.
            self._valid_until = 0.0
            log.warning("lease was deleted")
            return False
        except ApiError as error:
            level = log.info if isinstance(error, Unreachable) else log.warning
            level("lease cannot be written", error=str(error))
            return False
        try:
            self._take(decoded(answer, _Lease), before)
        except READ_ERRORS as error:
            log.warning("lease cannot be read", error=str(error))
            return await self._look()
        return True

    async def _look(self) -> bool:
        try:
            lease = decoded(await self._client.get(self._path, resource="leases"), _Lease)
        except (ApiError, *READ_ERRORS):
            return False
        if lease.holder != self.identity:
            self._valid_until = 0.0
        elif self._held is not None:
            # The stored renewal may be older than this try, so it does not extend validity.
            self._held = lease
        return False

    def _take(self, lease: _Lease, before: float) -> None:
        self._held = lease
        self._valid_until = before + self.times.duration

    def _body(self, lease: _Lease | None, transitions: int) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        metadata: dict[str, Any] = {"name": self._name, "namespace": self._namespace}
        if lease is not None:
            metadata["resourceVersion"] = lease.metadata.resource_version
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": int(self.times.duration),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }
