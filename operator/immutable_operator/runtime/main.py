"""The command line of the operator process: ``immutable-operator run``."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from immutable_operator.domain.model import Policy
from immutable_operator.kube.client import KubeClient, load_configuration
from immutable_operator.kube.lease import LeaseTimes
from immutable_operator.runtime.logs import configure_logs
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.process import Operator, Options

__all__ = ["main"]

log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run a replica, exit with its code."""
    options = _parser().parse_args(arguments)
    configure_logs(options.log_format, options.log_level)
    # Many small objects that live long: collect rarely (measured, see the design).
    gc.set_threshold(100_000, 50, 100)
    sys.exit(asyncio.run(_run(options)))


async def _run(given: argparse.Namespace) -> int:
    try:
        times = LeaseTimes(given.lease_seconds, given.renew_seconds, given.retry_seconds)
        configuration = await load_configuration(given.kubeconfig, given.context)
    except Exception as error:
        log.error("cannot start", error=str(error))
        return 2
    metrics = Metrics()
    client = KubeClient(
        configuration, writes_per_second=given.writes_per_second, count=metrics.count_request
    )
    options = Options(
        namespace=given.namespace,
        # A restarted container keeps its pod's name: a suffix tells the processes apart.
        identity=f"{given.identity}-{secrets.token_hex(3)}",
        kubeconfig=given.kubeconfig,
        context=given.context,
        lease_name=given.lease_name,
        lease=times,
        listen=given.listen,
        writes_per_second=given.writes_per_second,
        policy=Policy(heal_base=given.heal_seconds),
        watch_secrets=given.watch_secrets,
        plain_http_registries=frozenset(given.plain_http_registry),
    )
    return await Operator(options, client, metrics).run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="immutable-operator",
        description="Makes a Kubernetes cluster honour: replace, never patch.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run one replica of the operator")
    env = os.environ.get
    kubeconfig = env("KUBECONFIG")
    run.add_argument(
        "--kubeconfig",
        type=Path,
        default=Path(kubeconfig) if kubeconfig else None,
        help="connection and login; in a pod leave it out [$KUBECONFIG]",
    )
    run.add_argument("--context", default=None, help="context of the kubeconfig to use")
    run.add_argument(
        "--namespace",
        default=env("POD_NAMESPACE", "immutable-system"),
        help="namespace of the leader's lease [$POD_NAMESPACE]",
    )
    run.add_argument("--lease-name", default="immutable-operator", help="name of the lease")
    run.add_argument(
        "--identity",
        default=env("POD_NAME") or socket.gethostname(),
        help="name of this replica [$POD_NAME]",
    )
    run.add_argument("--lease-seconds", type=float, default=15.0, help="how long a lease is valid")
    run.add_argument("--renew-seconds", type=float, default=10.0, help="when a renewal is too late")
    run.add_argument("--retry-seconds", type=float, default=2.0, help="pause between renewals")
    run.add_argument(
        "--writes-per-second", type=float, default=200.0, help="limit of all writes together"
    )
    run.add_argument(
        "--listen",
        default="0.0.0.0:8080",
        help="host:port of /metrics, /livez and /readyz; port 0 takes any free one",
    )
    run.add_argument(
        "--heal-seconds",
        type=float,
        default=60.0,
        help="pause before an instance is replaced that was tainted like its predecessor; doubled"
        " each time, up to an hour",
    )
    run.add_argument(
        "--watch-secrets",
        action="store_true",
        help="notice also that a Secret was deleted and made anew under running instances; needs"
        " the right to list and watch Secrets",
    )
    run.add_argument(
        "--plain-http-registry",
        metavar="HOST:PORT",
        action="append",
        default=[],
        help="a registry to ask over HTTP what an image is made of; may be repeated",
    )
    run.add_argument("--log-format", choices=("json", "console"), default="json")
    run.add_argument("--log-level", choices=("DEBUG", "INFO", "WARNING"), default="INFO")
    return parser


if __name__ == "__main__":
    main()
