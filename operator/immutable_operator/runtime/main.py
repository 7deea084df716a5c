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
from datetime import timedelta
from pathlib import Path

import structlog

from immutable_operator.admission.rotation import RotationTimes
from immutable_operator.domain.model import Backoff, Policy
from immutable_operator.kube.client import KubeClient, load_configuration
from immutable_operator.kube.lease import LeaseTimes
from immutable_operator.runtime.logs import configure_logs
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.process import Operator, Options
from immutable_operator.runtime.webhook import Webhook, WebhookOptions

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
        webhook_options = _webhook_options(given)
        configuration = await load_configuration(given.kubeconfig, given.context)
    except Exception as error:
        log.error("cannot start", error=str(error))
        return 2
    metrics = Metrics()
    client = KubeClient(
        configuration, writes_per_second=given.writes_per_second, count=metrics.count_request
    )
    webhook = None
    if webhook_options:
        webhook = Webhook(webhook_options, configuration, given.namespace, metrics)
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
        policy=Policy(heal=Backoff(given.heal_seconds, Policy().heal.most)),
        watch_secrets=given.watch_secrets,
        plain_http_registries=frozenset(given.plain_http_registry),
    )
    return await Operator(options, client, metrics, webhook).run()


def _webhook_options(given: argparse.Namespace) -> WebhookOptions | None:
    """None without --webhook-listen; ValueError for times that cannot work."""
    if not given.webhook_listen:
        return None
    return WebhookOptions(
        listen=given.webhook_listen,
        service=given.webhook_service,
        secret=given.webhook_secret or given.webhook_service,
        configuration=given.webhook_configuration,
        names=tuple(name for name in given.webhook_names.split(",") if name),
        times=RotationTimes(
            timedelta(seconds=given.webhook_lifetime_seconds),
            timedelta(seconds=given.webhook_settle_seconds),
        ),
        poll=given.webhook_poll_seconds,
    )


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
        help="notice also that a Secret was deleted and recreated under running instances; needs"
        " the right to list and watch Secrets",
    )
    run.add_argument(
        "--plain-http-registry",
        metavar="HOST:PORT",
        action="append",
        default=[],
        help="a registry to ask over HTTP what an image is made of; may be repeated",
    )
    _add_webhook(run)
    run.add_argument("--log-format", choices=("json", "console"), default="json")
    run.add_argument("--log-level", choices=("DEBUG", "INFO", "WARNING"), default="INFO")
    return parser


def _add_webhook(run: argparse.ArgumentParser) -> None:
    group = run.add_argument_group("break-glass webhook (see enforcement.breakGlass of the chart)")
    group.add_argument(
        "--webhook-listen",
        metavar="HOST:PORT",
        help="where to serve it; :PORT takes all addresses; left out, it is not served",
    )
    group.add_argument(
        "--webhook-service",
        default="immutable-operator-webhook",
        help="name of its Service, for the certificate",
    )
    group.add_argument(
        "--webhook-secret", help="name of the Secret of its certificates [as the Service]"
    )
    group.add_argument(
        "--webhook-configuration",
        default="immutable-operator-break-glass",
        help="name of the ValidatingWebhookConfiguration that gets the CA",
    )
    group.add_argument(
        "--webhook-names", default="", help="further names and addresses, with commas between"
    )
    for what, seconds, text in (
        ("lifetime", 30 * 86_400.0, "how long a certificate is valid; renewed at half of it"),
        ("settle", 120.0, "how long until all have seen a new certificate or CA"),
        ("poll", 10.0, "how often each replica looks for a new certificate"),
    ):
        group.add_argument(
            f"--webhook-{what}-seconds", type=float, default=seconds, help=f"{text} [{seconds:g}]"
        )


if __name__ == "__main__":
    main()
