"""Prometheus beside a control plane, and the CRDs of the Prometheus Operator.

It is real Prometheus: it scrapes what a test names, evaluates rules, and is asked over its API.
"""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.controlplane.build import GO_MODULES, BuildError, binaries, find_go
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.processes import free_ports

__all__ = ["JOB", "Prometheus", "operator_crds", "targets_at"]

COMPONENT = "prometheus"
JOB = "immutable-operator"
OPERATOR = "github.com/prometheus-operator/prometheus-operator"
Json = dict[str, Any]


def operator_crds(*plurals: str) -> list[Path]:
    """The CRDs of these kinds of the Prometheus Operator. Raises `BuildError` without network."""
    command = [find_go(print), "mod", "download", "-json", OPERATOR]
    home = GO_MODULES / "prometheus-operator"
    done = subprocess.run(command, cwd=home, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"{OPERATOR} cannot be downloaded: {done.stdout}{done.stderr}")
    folder = Path(json.loads(done.stdout)["Dir"]) / "example" / "prometheus-operator-crd"
    return [folder / f"monitoring.coreos.com_{plural}.yaml" for plural in plurals]


def targets_at(targets: Sequence[str], labels: Mapping[str, str]) -> Json:
    """Scrape these targets (host:port); ``labels`` do not replace those of their metrics."""
    found = [{"targets": list(targets), "labels": dict(labels)}]
    return {"job_name": JOB, "honor_labels": True, "static_configs": found}


class Prometheus:
    """Prometheus that scrapes each second; ends with the block.

    ``job`` is a scrape configuration, ``groups`` are groups of rules, as in a rule file. It listens
    on ``host``, an address of this machine.
    """

    def __init__(
        self,
        plane: ControlPlane,
        job: Json,
        groups: Sequence[Json] = (),
        host: str = "127.0.0.1",
    ) -> None:
        self._plane = plane
        [self._port] = free_ports(1)
        self.address = f"http://{host}:{self._port}"
        # Of its own: the series of another one would still count for five minutes.
        folder = plane.folder / f"{COMPONENT}-{self._port}"
        folder.mkdir()
        self._rules, self._configuration = folder / "rules.yaml", folder / "prometheus.yaml"
        self._rules.write_text(json.dumps({"groups": list(groups)}))
        often = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        body = {"global": often, "rule_files": [str(self._rules)], "scrape_configs": [job]}
        self._configuration.write_text(yaml.safe_dump(body))

    def __enter__(self) -> Self:
        command = [
            str(binaries([COMPONENT])[COMPONENT]),
            f"--config.file={self._configuration}",
            f"--storage.tsdb.path={self._configuration.with_name('data')}",
            f"--web.listen-address={self.address.removeprefix('http://')}",
        ]
        self._plane.run_beside(COMPONENT, command, {}, [self._port], self._is_ready)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._plane.kill(COMPONENT)

    def targets(self) -> list[Json]:
        """The targets of its scrapes, with ``health`` and ``lastError``."""
        found: list[Json] = self._get("targets")["activeTargets"]
        return found

    def alerts(self, name: str) -> list[Json]:
        """The active alerts of a name, with ``labels``, ``annotations`` and ``state``."""
        return [a for a in self._get("alerts")["alerts"] if a["labels"]["alertname"] == name]

    def rules(self) -> list[Json]:
        """Its alerting rules, with ``health`` and ``lastError``."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def query(self, expression: str) -> list[Json]:
        """The present samples of an expression: ``metric`` and ``value`` (time, text)."""
        found: list[Json] = self._get("query", query=expression)["result"]
        return found

    def log_tail(self, lines: int = 25) -> str:
        return self._plane.log_tail(COMPONENT, lines)

    def _get(self, what: str, **query: str) -> Json:
        _, text = self._ask(f"/api/v1/{what}?{urllib.parse.urlencode(query)}")
        answer: Json = json.loads(text)
        assert answer["status"] == "success", answer
        data: Json = answer["data"]
        return data

    def _ask(self, path: str) -> tuple[int, str]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.address}{path}", timeout=10) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def _is_ready(self) -> bool:
        try:
            return self._ask("/-/ready")[0] == 200
        except OSError:
            return False
