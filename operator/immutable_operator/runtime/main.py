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

from immutable_operator.admission.fault import Chosen
from immutable_operator.admission.policies import Allowed
from immutable_operator.admission.rotation import RotationTimes
from immutable_operator.admission.selfcheck import ALLOWABLE
from immutable_operator.domain.model import Backoff, FactType, Policy
from immutable_operator.kube.client import KubeClient, load_configuration
from immutable_operator.kube.lease import LeaseTimes
from immutable_operator.runtime.checks import CheckOptions
from immutable_operator.runtime.logs import configure_logs
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.node_watches import NodeOptions
from immutable_operator.runtime.process import Operator, Options
from immutable_operator.runtime.receiver import NotifyOptions
from immutable_operator.runtime.secrets import SecretOptions
from immutable_operator.runtime.webhook import Webhook, WebhookOptions

__all__ = ["main"]

log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run a replica, exit with its code."""
    options = _parser().parse_args(arguments)
    configure_logs(options.log_format, options.log_level)
    # Many small long-lived objects: collect all of them rarely. The young ones are collected more
    # often than that: what 100 000 of them leave behind is 15 MB (measured).
    gc.set_threshold(10_000, 50, 100)
    sys.exit(asyncio.run(_run(options)))


async def _run(given: argparse.Namespace) -> int:
    try:
        times = LeaseTimes(given.lease_seconds, given.renew_seconds, given.retry_seconds)
        webhook_options = _webhook_options(given)
        notify = _notify_options(given)
        pinning = SecretOptions(
            home=given.namespace,
            namespaces=frozenset(given.pin_secrets_in),
            grant=given.pinning_name,
            poll=given.secret_poll_seconds,
        )
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
        # A restarted container keeps its pod's name: a suffix distinguishes the processes.
        identity=f"{given.identity}-{secrets.token_hex(3)}",
        kubeconfig=given.kubeconfig,
        context=given.context,
        lease_name=given.lease_name,
        lease=times,
        listen=given.listen,
        writes_per_second=given.writes_per_second,
        policy=Policy(
            heal=Backoff(given.heal_seconds, Policy().heal.most), own_node=given.node_name
        ),
        watch_secrets=given.watch_secrets,
        pinning=pinning,
        checks=CheckOptions(
            secrets=frozenset(given.check_secrets_in), jobs=frozenset(given.check_jobs_in)
        ),
        plain_http_registries=frozenset(given.plain_http_registry),
        nodes=_node_options(given),
        gateway=given.gateway,
        owner_metrics=given.owner_metrics,
        enforcement=Chosen(
            Allowed(tuple(given.allowed_verb), tuple(given.allow_unpinned)),
            by_label=given.namespaces_by_label,
        ),
        notify=notify,
    )
    return await Operator(options, client, metrics, webhook).run()


def _node_options(given: argparse.Namespace) -> NodeOptions | None:
    """Return None without --nodes."""
    if not given.nodes:
        return None
    return NodeOptions(
        home=given.namespace,
        simulated=given.simulated_nodes,
        karpenter=given.karpenter_nodes,
        exempt=frozenset(given.nodes_exempt_namespace),
    )


def _webhook_options(given: argparse.Namespace) -> WebhookOptions | None:
    """Return None without --webhook-listen. Raises ValueError for invalid times."""
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


def _notify_options(given: argparse.Namespace) -> NotifyOptions | None:
    """Return None without --notify-url. Raises ValueError for options that cannot work."""
    if not given.notify_url:
        return None
    if given.notify_key_file is None:
        raise ValueError("--notify-url needs --notify-key-file: events are signed")
    return NotifyOptions(
        url=given.notify_url,
        key_file=given.notify_key_file,
        events=frozenset(map(FactType, given.notify_event)) or frozenset(FactType),
        source=given.notify_source,
        timeout=given.notify_timeout_seconds,
        ca_file=given.notify_ca_file,
        allow_http=given.notify_allow_http,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="immutable-operator",
        description="The operator for ImmutableServices and ImmutableNodePools: it replaces pods"
        " and nodes, and never patches them.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run one replica of the operator")
    env = os.environ.get
    kubeconfig = env("KUBECONFIG")
    run.add_argument(
        "--kubeconfig",
        type=Path,
        default=Path(kubeconfig) if kubeconfig else None,
        help="kubeconfig file; omit it in a pod [$KUBECONFIG]",
    )
    run.add_argument("--context", default=None, help="kubeconfig context to use")
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
    run.add_argument("--lease-seconds", type=float, default=15.0, help="validity of the lease")
    run.add_argument("--renew-seconds", type=float, default=10.0, help="deadline for a renewal")
    run.add_argument(
        "--retry-seconds", type=float, default=2.0, help="interval between attempts to renew it"
    )
    run.add_argument(
        "--writes-per-second",
        type=float,
        default=200.0,
        help="maximum number of writes to the API server per second",
    )
    run.add_argument(
        "--listen",
        default="0.0.0.0:8080",
        help="host:port of /metrics, /livez and /readyz; port 0 means any free port",
    )
    run.add_argument(
        "--owner-metrics",
        metavar="NUMBER",
        type=_count,
        default=Options.owner_metrics,
        help="number of services and pools that have metrics of their own, about 30 series each;"
        " 0: none [%(default)s]",
    )
    run.add_argument(
        "--heal-seconds",
        type=float,
        default=60.0,
        help="pause before replacing an instance that was modified like its predecessor; doubled"
        " each time, up to one hour",
    )
    run.add_argument(
        "--watch-secrets",
        action="store_true",
        help="also detect Secrets that are deleted and recreated while instances run; needs"
        " permission to list and watch Secrets",
    )
    run.add_argument(
        "--plain-http-registry",
        metavar="HOST:PORT",
        action="append",
        default=[],
        help="registry to be read over HTTP instead of HTTPS; may be repeated",
    )
    _add_enforcement(run)
    _add_pinning(run)
    _add_checks(run)
    run.add_argument(
        "--gateway",
        action="store_true",
        help="write the weights of HTTPRoutes that services name in spec.traffic.route; needs"
        " permission to list, watch and patch HTTPRoutes (see gateway of the chart)",
    )
    _add_nodes(run)
    _add_webhook(run)
    _add_notify(run)
    run.add_argument(
        "--log-format", choices=("json", "console"), default="json", help="format of the log [json]"
    )
    run.add_argument(
        "--log-level",
        choices=("DEBUG", "INFO", "WARNING"),
        default="INFO",
        help="minimum level of messages in the log [INFO]",
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return int(text)


def _add_enforcement(run: argparse.ArgumentParser) -> None:
    group = run.add_argument_group("policies to expect (see enforcement of the chart)")
    group.add_argument(
        "--allowed-verb",
        choices=ALLOWABLE,
        action="append",
        default=[],
        help="access that the policies let through, because it changes nothing in a pod",
    )
    group.add_argument(
        "--allow-unpinned",
        metavar="PREFIX",
        action="append",
        default=[],
        help="prefix of images that other webhooks may inject without a digest; may be repeated",
    )
    group.add_argument(
        "--namespaces-by-label",
        action="store_true",
        help="labels of namespaces determine where the policies deny; needs permission to list and"
        " watch namespaces",
    )


def _add_pinning(run: argparse.ArgumentParser) -> None:
    group = run.add_argument_group("pinned Secrets (see pinning.secrets of the chart)")
    group.add_argument(
        "--pin-secrets-in",
        metavar="NAMESPACE",
        action="append",
        default=[],
        help="namespace in which Secrets are pinned like ConfigMaps; needs permission to get and"
        " create Secrets there; may be repeated",
    )
    group.add_argument(
        "--pinning-name",
        default="immutable-operator-pinning",
        help="name of the Role that grants it, and of the Secret with the key of the digests",
    )
    group.add_argument(
        "--secret-poll-seconds",
        type=float,
        default=30.0,
        help="interval at which each pinned Secret is checked for a change",
    )


def _add_checks(run: argparse.ArgumentParser) -> None:
    group = run.add_argument_group("checks of releases (see checks of the chart)")
    group.add_argument(
        "--check-secrets-in",
        metavar="NAMESPACE",
        action="append",
        default=[],
        help="namespace in which checks may use Secrets to authorize their requests; needs"
        " permission to get Secrets there; may be repeated",
    )
    group.add_argument(
        "--check-jobs-in",
        metavar="NAMESPACE",
        action="append",
        default=[],
        help="namespace in which checks may run Jobs; needs permission to get and create Jobs"
        " there; may be repeated",
    )


def _add_nodes(run: argparse.ArgumentParser) -> None:
    group = run.add_argument_group("node pools (see nodes of the chart)")
    group.add_argument(
        "--nodes", action="store_true", help="serve ImmutableNodePools; needs more permissions"
    )
    group.add_argument(
        "--simulated-nodes",
        action="store_true",
        help="enable the provider simulated, which creates Node objects for KWOK",
    )
    group.add_argument(
        "--karpenter-nodes",
        action="store_true",
        help="enable the provider karpenter, which creates NodeClaims for Karpenter",
    )
    group.add_argument(
        "--nodes-exempt-namespace",
        metavar="NAMESPACE",
        action="append",
        default=[],
        help="namespace whose pods may have access to nodes, in addition to kube-system and the"
        " operator's own; may be repeated",
    )
    group.add_argument(
        "--node-name",
        default=os.environ.get("NODE_NAME", ""),
        help="node on which this process runs, which is replaced last [$NODE_NAME]",
    )


def _add_webhook(run: argparse.ArgumentParser) -> None:
    group = run.add_argument_group("break-glass webhook (see enforcement.breakGlass of the chart)")
    group.add_argument(
        "--webhook-listen",
        metavar="HOST:PORT",
        help="address on which the webhook listens; :PORT means all addresses; if omitted, there is"
        " no webhook",
    )
    group.add_argument(
        "--webhook-service",
        default="immutable-operator-webhook",
        help="name of the webhook's Service, for the certificate",
    )
    group.add_argument(
        "--webhook-secret", help="name of the Secret with the certificates [name of the Service]"
    )
    group.add_argument(
        "--webhook-configuration",
        default="immutable-operator-break-glass",
        help="name of the ValidatingWebhookConfiguration that receives the CA",
    )
    group.add_argument(
        "--webhook-names", default="", help="additional names and addresses, separated by commas"
    )
    for what, seconds, text in (
        ("lifetime", 30 * 86_400.0, "validity of a certificate, which is renewed after half of it"),
        ("settle", 120.0, "time until all replicas and API servers use a new certificate or CA"),
        ("poll", 10.0, "interval at which each replica checks for a new certificate"),
    ):
        group.add_argument(
            f"--webhook-{what}-seconds", type=float, default=seconds, help=f"{text} [{seconds:g}]"
        )


def _add_notify(run: argparse.ArgumentParser) -> None:
    group = run.add_argument_group("notifications (see notifications of the chart)")
    group.add_argument(
        "--notify-url", metavar="URL", help="receiver of CloudEvents; if omitted, none are sent"
    )
    group.add_argument(
        "--notify-key-file",
        metavar="FILE",
        type=Path,
        help="file with the keys of the signature, one a line: whsec_ and base64",
    )
    group.add_argument(
        "--notify-event",
        choices=[str(fact) for fact in FactType],
        action="append",
        default=[],
        help="event to send; may be repeated; if omitted, all are sent",
    )
    group.add_argument(
        "--notify-source",
        metavar="URI",
        default=NotifyOptions.source,
        help="source of the events, such as the name of the cluster [%(default)s]",
    )
    group.add_argument(
        "--notify-timeout-seconds",
        type=float,
        default=NotifyOptions.timeout,
        help="maximum time in which the receiver must accept one event [%(default)g]",
    )
    group.add_argument(
        "--notify-ca-file",
        metavar="FILE",
        type=Path,
        help="certificates that are trusted instead of those of the system",
    )
    group.add_argument(
        "--notify-allow-http",
        action="store_true",
        help="send events also to an http:// URL, unencrypted; they are signed nevertheless",
    )


if __name__ == "__main__":
    main()
