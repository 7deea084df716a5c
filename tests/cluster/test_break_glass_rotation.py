"""Certificates rotate under load: no request is refused, nothing restarts, no handshake fails."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field

from tests.cluster.operator_process import OperatorProcess, Operators
from tests.cluster.services import Service, names
from tests.cluster.webhook import (
    TOLD,
    ask,
    behind_glass,
    bundle,
    connects,
    failed_open,
    member,
    review,
)
from tests.controlplane.api import Json
from tests.waiting import wait_for

# Half of it is left when a new one is made. What a replica shows is trusted for a settle time
# after the next one was to be shown: on a busy machine it takes its time to hear of that.
SECONDS = 36
SETTLE = 6.0
FAST = (
    f"--webhook-lifetime-seconds={SECONDS}",
    f"--webhook-settle-seconds={SETTLE:g}",
    "--webhook-poll-seconds=0.5",
)
ROTATIONS = 3


@dataclass
class Caller:
    """Asks a replica all the time, trusting what was published when it asked before.

    Nobody promises anything to those who trust what is older than the settle time: on a busy
    machine a turn of this may take that long, and then counts for nothing.
    """

    replica: OperatorProcess
    web: Service
    pod: str
    serials: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        known, trusted = time.monotonic(), bundle(self.web.plane)
        while not self._end.is_set():
            read, newer = time.monotonic(), bundle(self.web.plane)
            try:
                body = review(self.web.namespace, self.pod, dryRun=True)
                reply = ask(self.replica.webhook_port, trusted, body)
                if reply.status != 200 or not reply.response["allowed"]:
                    self.failures.append(reply.text)
                if reply.serial not in self.serials:
                    self.serials.append(reply.serial)
            except Exception as error:
                if time.monotonic() - known < SETTLE:
                    self.failures.append(repr(error))
            known, trusted = read, newer
            time.sleep(0.05)


def test_certificate_rotation_refuses_no_request(web: Service, operators: Operators) -> None:
    [pod] = names(behind_glass(web, 1))
    leader = operators.restart(*FAST).until_leading()
    standby = operators.start("standby", *FAST).until_synced()
    mark = web.plane.audit().mark()
    open_before = failed_open(web.plane)
    callers = [Caller(replica, web, pod) for replica in (leader, standby)]
    execs = 0

    def rotated() -> bool:
        nonlocal execs
        web.kubectl("exec", pod, *member(), "--", "true", check=False)
        execs += 1
        return all(len(caller.serials) > ROTATIONS for caller in callers)

    try:
        wait_for(
            "each replica rotated three times", rotated, SECONDS * (ROTATIONS + 2), leader.tail
        )
    finally:
        for caller in callers:
            caller.stop()
    for caller in callers:
        assert not caller.failures, f"{caller.failures[0]}\n{caller.replica.tail()}"
    assert execs > ROTATIONS
    # The API server writes down a connection a moment after it has ended.
    events = wait_for("all are audited", lambda: audited(web, mark, execs))
    told = [event["annotations"].get(TOLD) for event in events]
    assert set(told) == {"tainted", "already-tainted"}, "the API server was answered each time"
    assert failed_open(web.plane) == open_before
    for replica in (leader, standby):
        assert replica.exit_code is None
        assert len(replica.records("webhook listening")) == 1, "one server, from first to last"
        served = [int(r["serial"], 16) for r in replica.records("certificate served")]
        assert served[-len(set(served)) :] == list(dict.fromkeys(served)), "none twice"
    assert bundle(web.plane).count("BEGIN CERTIFICATE") <= 3, "old authorities are forgotten"


def audited(web: Service, mark: int, count: int) -> list[Json]:
    found = connects(web, mark)
    return found if len(found) >= count else []


def test_removed_ca_bundle_is_published_again(web: Service, operators: Operators) -> None:
    """Such as an upgrade that replaces the configuration."""
    operators.restart("--webhook-poll-seconds=0.5").until_leading()
    before = bundle(web.plane)
    assert before
    gone = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
    web.plane.kubectl(
        *("patch", "validatingwebhookconfiguration", "immutable-operator-break-glass"),
        *("--type=json", "-p", json.dumps(gone)),
    )
    wait_for("it is published", lambda: bundle(web.plane) == before)
