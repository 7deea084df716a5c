"""Operator processes: starting, asking, stopping, freezing and killing them.

They run as users' clusters run them, but for the container: under the chart's service account,
with exactly its rights. Nothing here touches a process that it did not start.
"""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.warm import Warm, WarmProcess
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.processes import bare_environment, free_ports, spawn
from tests.waiting import WAIT_SECONDS, wait_for

__all__ = [
    "ACCOUNT",
    "CHART",
    "LONG_LEASE",
    "NAMESPACE",
    "USER",
    "Installation",
    "OperatorProcess",
    "Operators",
]

CHART = Path(__file__).parents[2] / "charts" / "immutable-operator"
NAMESPACE = "immutable-system"
ACCOUNT = "immutable-operator"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
# The break-glass webhook: the API server finds the operator by address, there are no pods of it.
BREAK_GLASS = f"{ACCOUNT}-break-glass"
WEBHOOK_NAMES = "127.0.0.1,localhost"
# Longer than any test waits: whoever leads within an ordinary wait did not wait for it to expire.
LONG_LEASE = ("--lease-seconds=300", "--renew-seconds=200")
TAIL_LINES = 40
# Seconds that the API server waits for the webhook.
CHART_WAITS, BED_WAITS = 2, 10


@dataclass(frozen=True)
class Installation:
    """The chart, installed without its pods, and the way in as its service account."""

    plane: ControlPlane

    @classmethod
    def install(cls, plane: ControlPlane, *options: str) -> Installation:
        plane.helm(
            *("install", ACCOUNT, str(CHART), "--create-namespace", "--set", "replicas=0"),
            *options,
            namespace=NAMESPACE,
        )
        return cls(plane)

    def aim_webhook(self, port: int | None) -> None:
        """Let the API server ask the operator process on this port; the caBundle stays.

        Without a port it asks the Service, as the chart says: only so can the chart be upgraded.
        It waits longer for a process than the chart says, which may be stopped for some seconds on
        a busy machine.
        """
        path = (
            f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{BREAK_GLASS}"
        )
        body = self.plane.api().get(path)
        client = body["webhooks"][0]["clientConfig"]
        if port is None:
            body["webhooks"][0]["timeoutSeconds"] = CHART_WAITS
            client.pop("url", None)
            service = {"name": f"{ACCOUNT}-webhook", "namespace": NAMESPACE}
            client["service"] = service | {"path": "/break-glass", "port": 443}
        else:
            body["webhooks"][0]["timeoutSeconds"] = BED_WAITS
            client.pop("service", None)
            client["url"] = f"https://127.0.0.1:{port}/break-glass"
        self.plane.api().request("PUT", path, body)

    def log_in(self, name: str, server: str = "") -> tuple[Path, str]:
        """A kubeconfig with a token of its own, and the id under which the audit log has it.

        ``server`` is the URL of a proxy in front of the API server.
        """
        fresh = self.plane.service_account_kubeconfig(NAMESPACE, ACCOUNT)
        own = fresh.replace(fresh.with_name(f"{name}.{ACCOUNT}.kubeconfig"))
        config = json.loads(own.read_text())
        if server:
            config["clusters"][0]["cluster"] = {"server": server}
            own.write_text(json.dumps(config))
        [user] = config["users"]
        claims = user["user"]["token"].split(".")[1]
        jti = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"]
        return own, f"JTI={jti}"


class OperatorProcess:
    """One replica, as a process. Its log is a file in the run directory of the control plane."""

    def __init__(
        self,
        installation: Installation,
        name: str,
        flags: tuple[str, ...],
        webhook_port: int = 0,
        server: str = "",
        warm: Warm | None = None,
        program: Path | None = None,
    ) -> None:
        folder = installation.plane.folder
        self.plane = installation.plane
        self.name = name
        self.flags = flags
        self.log = folder / f"{name}.log"
        self._start = self.log.stat().st_size if self.log.exists() else 0
        self._asked_to_end = False
        kubeconfig, self.credential = installation.log_in(name, server)
        arguments = [
            "run",
            f"--kubeconfig={kubeconfig}",
            f"--namespace={NAMESPACE}",
            f"--identity={name}",
            *("--listen=127.0.0.1:0", "--log-format=json"),
            f"--webhook-listen=127.0.0.1:{webhook_port}",
            f"--webhook-names={WEBHOOK_NAMES}",
            *flags,
        ]
        self._process: subprocess.Popen[bytes] | WarmProcess
        if warm is not None and program is None:
            environment = bare_environment(folder)
            self._process = warm.start(arguments, folder, self.log, environment)
        else:
            started = (str(program),) if program else ("-m", "immutable_operator.runtime.main")
            command = [sys.executable, *started, *arguments]
            self._process, _ = spawn(name, command, folder=folder, ports=(), tied=True)

    def records(self, event: str | None = None) -> list[Json]:
        """Its log since it started, as records; only those of one event where asked."""
        found = [json.loads(line) for line in self.text().splitlines()]
        return [r for r in found if event is None or r.get("event") == event]

    def text(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._start)
            text = log.read().decode()
        return text[: text.rfind("\n") + 1]

    def tail(self) -> str:
        # At the very end of a run its folder is gone: that must not hide what failed.
        lines = self.text().splitlines()[-TAIL_LINES:] if self.log.exists() else []
        return "\n".join([f"the end of {self.log} (exit code {self.exit_code}):", *lines])

    @property
    def exit_code(self) -> int | None:
        """None while it runs; the negative number of the signal that killed it."""
        return self._process.poll()

    @property
    def died(self) -> bool:
        """Whether it ended although the test did not end it."""
        return self.exit_code is not None and not self._asked_to_end

    @property
    def may_end(self) -> bool:
        """Whether it ended, or was given a reason to."""
        return self.exit_code is not None or self._asked_to_end

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def identity(self) -> str:
        """The name under which it holds the lease and reports events."""
        return str(self.records("leading")[0]["identity"])

    @property
    def leading(self) -> bool:
        return self.exit_code is None and bool(self.records("leading"))

    def until_synced(self) -> OperatorProcess:
        """Until it knows the cluster: ready to lead, or leading."""
        wait_for(f"{self.name} is synced", lambda: self.records("synced"), 60, self.tail)
        return self.until_ready()

    def until_ready(self) -> OperatorProcess:
        """Until it says so itself; the first one of a run first makes the webhook's certificate."""
        wait_for(f"{self.name} is ready", lambda: self.get("/readyz")[0] == 200, 60, self.tail)
        return self

    def until_leading(self, timeout: float = WAIT_SECONDS) -> OperatorProcess:
        wait_for(f"{self.name} leads", lambda: self.leading, timeout, self.tail)
        return self.until_ready()

    @property
    def webhook_port(self) -> int:
        return int(self.records("webhook listening")[0]["port"])

    def get(self, path: str) -> tuple[int, str]:
        """Ask its own HTTP port: status code and text."""
        port = self.records("listening")[0]["port"]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def terminate(self) -> None:
        """SIGTERM, as a kubelet ends a pod; does not wait."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: it does nothing, and does not know that it does nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._asked_to_end = True  # a leader that slept through its lease must end
        self._process.send_signal(signal.SIGCONT)  # nothing, if it was killed meanwhile

    def wait(self, timeout: float = WAIT_SECONDS) -> int:
        """Its exit code, once it has ended."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end\n{self.tail()}") from None

    def stop(self) -> int:
        """End it politely and give its exit code."""
        if self.exit_code is None:
            self.terminate()
            self._process.send_signal(signal.SIGCONT)  # nothing, if it was killed meanwhile
        return self.wait()

    def _signal(self, number: signal.Signals) -> None:
        self._asked_to_end = True
        if self._process.poll() is None:
            self._process.send_signal(number)


class Operators:
    """The replicas of one run: the one that all tests share, and those that a test adds."""

    def __init__(
        self, installation: Installation, always: tuple[str, ...] = (), server: str = ""
    ) -> None:
        """``always`` are flags of every replica, and ``server`` the URL of a proxy for them."""
        self.plane = installation.plane
        self._installation = installation
        self._always, self._server = always, server
        self._added: list[OperatorProcess] = []
        self._usual: tuple[str, ...] = ()
        self._count = 0
        # The first replica of a run starts as in its container: with the command.
        self._warm: Warm | None = None
        [self._webhook_port] = free_ports(1)
        self.aim_webhook(self._webhook_port)
        self.main = self._launch("operator", ())
        self._warm = Warm()

    def start(
        self, name: str = "replica", *flags: str, program: Path | None = None
    ) -> OperatorProcess:
        """A further replica, until the end of the test; ``program`` is a script that runs it."""
        self._count += 1
        process = self._launch(f"{name}-{self._count}", flags, program=program)
        self._added.append(process)
        return process

    def aim_webhook(self, port: int | None = None) -> None:
        """Let the API server ask another replica; without a port, the shared one again."""
        self._installation.aim_webhook(port or self._webhook_port)

    def aim_webhook_as_installed(self) -> None:
        """Let the API server ask the Service, which has no pods here."""
        self._installation.aim_webhook(None)

    @contextmanager
    def usually(self, *flags: str) -> Iterator[None]:
        """Inside of the block every test finds the shared replica with these flags."""
        self._usual = flags
        self.restart(*flags).until_leading()
        try:
            yield
        finally:
            self._usual = ()
            self.restart().until_leading()

    def restart(self, *flags: str, server: str = "") -> OperatorProcess:
        """The shared replica anew; with flags of a test's own, until the end of that test.

        ``server`` is the URL of a proxy in front of the API server.
        """
        self.main.stop()
        self.main = self._launch("operator", flags, server)
        return self.main

    def free_lease(self) -> None:
        """Let the next replica lead at once, though the last one was killed."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{ACCOUNT}"
        self.plane.api().merge_patch(path, {"spec": {"holderIdentity": ""}})

    def all(self) -> list[OperatorProcess]:
        return [self.main, *self._added]

    def revive(self) -> None:
        """Start the shared replica again if it ended between two tests. AssertionError if it did:
        that fails one test, not all that follow.
        """
        if self.main.exit_code is not None:
            tail = self.main.tail()
            self.restart(*self._usual).until_leading()
            raise AssertionError(f"the operator died between two tests\n{tail}")

    def restore(self) -> None:
        """As every test finds it: one replica, leading. AssertionError if one died unasked."""
        died = [process.tail() for process in self.all() if process.died]
        for process in self._added:
            process.stop()
        self._added.clear()
        # One that was told to end, or that slept through its lease, may still lead for a moment.
        if self.main.may_end or self.main.flags != (*self._always, *self._usual):
            self.restart(*self._usual)
        self.main.until_leading()
        assert not died, "an operator died unasked\n" + "\n".join(died)

    def tails(self) -> str:
        return "\n\n".join(process.tail() for process in self.all())

    def stop(self) -> None:
        for process in self.all():
            process.stop()
        if self._warm is not None:
            self._warm.stop()

    def _launch(
        self, name: str, flags: tuple[str, ...], server: str = "", program: Path | None = None
    ) -> OperatorProcess:
        port = self._webhook_port if name == "operator" else 0
        flags = (*self._always, *flags)
        server = server or self._server
        return OperatorProcess(self._installation, name, flags, port, server, self._warm, program)
