"""Certificates rotate under load: nobody is refused, nothing restarts, no handshake fails."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field

from tests.cluster.operator_process import OperatorProcess, Operators
from tests.cluster.services import Service
from tests.cluster.test_break_glass import TOLD, connects, grant, names
from tests.cluster.webhook import ask, bundle, member, review
from tests.waiting import wait_for

# Half of it is left when a new one is made; a busy machine takes its time for the steps between.
SECONDS = 24
FAST = (
    f"--webhook-lifetime-seconds={SECONDS}",
    "--webhook-settle-seconds=2",
    "--webhook-poll-seconds=0.5",
)
ROTATIONS = 3


@dataclass
class Caller:
    """Asks a replica all the time, trusting what was published when it asked before."""

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
        trusted = bundle(self.web.plane)
        while not self._end.is_set():
            newer = bundle(self.web.plane)
            try:
                body = review(self.web.namespace, self.pod, dryRun=True)
                reply = ask(self.replica.webhook_port, trusted, body)
                if reply.status != 200 or not reply.response["allowed"]:
                    self.failures.append(reply.text)
                if reply.serial not in self.serials:
                    self.serials.append(reply.serial)
            except Exception as error:
                self.failures.append(repr(error))
            trusted = newer
            time.sleep(0.05)


def test_three_rotations_refuse_nobody(web: Service, operators: Operators) -> None:
    grant(web)
    web.apply(image="a", replicas=1, spec={"immutability": {"onTaint": "Report"}})
    web.until_ready()
    [pod] = names(web)
    leader = operators.restart(*FAST).until_leading()
    standby = operators.start("standby", *FAST).until_synced()
    mark = web.plane.audit().mark()
    open_before = failed_open(web)
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
    told = [event["annotations"].get(TOLD) for event in connects(web, mark)]
    assert len(told) >= execs > 10
    assert set(told) == {"tainted", "already-tainted"}, "the API server was answered each time"
    assert failed_open(web) == open_before
    for replica in (leader, standby):
        assert replica.exit_code is None
        assert len(replica.records("webhook listening")) == 1, "one server, from first to last"
        served = [int(r["serial"], 16) for r in replica.records("certificate served")]
        assert served[-len(set(served)) :] == list(dict.fromkeys(served)), "none twice"
    assert bundle(web.plane).count("BEGIN CERTIFICATE") <= 3, "old authorities are forgotten"


def failed_open(web: Service) -> float:
    """How often the API server let somebody in because our webhook did not answer."""
    lines = web.plane.api().text("GET", "/metrics").splitlines()
    name = "apiserver_admission_webhook_fail_open_count{"
    ours = [line for line in lines if line.startswith(name) and "break-glass.immutable.dev" in line]
    return sum(float(line.split()[-1]) for line in ours)


def test_a_caBundle_that_somebody_took_away_is_published_again(  # noqa: N802
    web: Service, operators: Operators
) -> None:
    """Such as an upgrade that replaces the configuration."""
    operators.restart("--webhook-poll-seconds=0.5").until_leading()
    before = bundle(web.plane)
    assert before
    gone = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
    web.plane.kubectl(
        *("patch", "validatingwebhookconfiguration", "immutable-operator-break-glass"),
        *("--type=json", "-p", json.dumps(gone)),
    )
    wait_for("it is published", lambda: bundle(web.plane) == before, 20)
