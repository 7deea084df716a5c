"""Options of kubectl that change how a kubeconfig is used: another cluster, user or timeout.

They apply to the whole command, whichever verb it is; `main` sets them once.
"""

from __future__ import annotations

import argparse
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubernetes.aio.client import Configuration

__all__ = ["Overrides", "add_overrides", "overrides", "use_overrides"]

SECONDS = 15.0
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Overrides:
    """What is used instead of what the kubeconfig says. ``timeout`` is in seconds a request.

    ``cluster`` and ``credentials`` are names of entries of the kubeconfig; ``user``, ``uid`` and
    ``groups`` are impersonated.
    """

    cluster: str = ""
    credentials: str = ""
    server: str = ""
    server_name: str = ""
    token: str = ""
    certificate: str = ""
    key: str = ""
    authority: str = ""
    insecure: bool = False
    user: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    timeout: float = SECONDS

    def apply(self, configuration: Configuration) -> None:
        """Change a loaded configuration."""
        if self.server:
            configuration.host = self.server
        if self.server_name:
            configuration.tls_server_name = self.server_name
        if self.token:
            configuration.api_key["BearerToken"] = f"Bearer {self.token}"
            configuration.cert_file = configuration.key_file = None
        if self.certificate:
            configuration.cert_file = self.certificate
        if self.key:
            configuration.key_file = self.key
        if self.authority:
            configuration.ssl_ca_cert = self.authority
        if self.insecure:
            configuration.verify_ssl = False
        if self.user:
            # The headers of the client have one value each, and there can be several groups.
            names = [
                ("Impersonate-User", self.user),
                *([("Impersonate-Uid", self.uid)] if self.uid else []),
                *(("Impersonate-Group", group) for group in self.groups),
            ]
            configuration.client_session_kwargs |= {"headers": names}


_CURRENT: ContextVar[Overrides] = ContextVar("overrides")


def overrides() -> Overrides:
    """Return what applies to this command."""
    return _CURRENT.get(Overrides())


def use_overrides(given: argparse.Namespace) -> None:
    """Let the options of a command line apply from now on."""
    _CURRENT.set(_given(given))


def add_overrides(parser: argparse.ArgumentParser, default: Any) -> None:
    """Add the options to a parser."""
    add = parser.add_argument
    for names, more in OPTIONS.items():
        add(*names, default=default, **more)


def _given(given: argparse.Namespace) -> Overrides:
    return Overrides(
        cluster=given.cluster or "",
        credentials=given.user or "",
        server=given.server or "",
        server_name=given.tls_server_name or "",
        token=given.token or "",
        certificate=given.client_certificate or "",
        key=given.client_key or "",
        authority=given.certificate_authority or "",
        insecure=bool(given.insecure_skip_tls_verify),
        user=given.as_user or "",
        uid=given.as_uid or "",
        groups=tuple(given.as_groups or ()),
        timeout=given.request_timeout or SECONDS,
    )


def _duration(text: str) -> float:
    """Read a duration as kubectl writes it; without a unit it is in seconds. Raises ValueError."""
    unit = next((u for u in UNITS if text.endswith(u) and text[: -len(u)].isdecimal()), "")
    number = float(text[: len(text) - len(unit)]) * UNITS.get(unit, 1.0)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


_duration.__name__ = "duration"

OPTIONS: dict[tuple[str, ...], dict[str, Any]] = {
    ("--cluster",): {"help": "name of the kubeconfig cluster to use"},
    ("--user",): {"help": "name of the kubeconfig user to use"},
    ("--server", "-s"): {"help": "URL of the API server"},
    ("--tls-server-name",): {
        "metavar": "NAME",
        "help": "name in the certificate of the API server, if it is not that of the URL",
    },
    ("--token",): {"help": "bearer token for the API server"},
    ("--client-certificate",): {"metavar": "FILE", "help": "certificate of the user"},
    ("--client-key",): {"metavar": "FILE", "help": "key of this certificate"},
    ("--certificate-authority",): {
        "metavar": "FILE",
        "help": "certificate authority of the API server",
    },
    ("--insecure-skip-tls-verify",): {
        "action": "store_true",
        "help": "do not check the certificate of the API server",
    },
    ("--as",): {"dest": "as_user", "metavar": "USER", "help": "user to impersonate"},
    ("--as-uid",): {"metavar": "UID", "help": "uid to impersonate"},
    ("--as-group",): {
        "dest": "as_groups",
        "action": "append",
        "metavar": "GROUP",
        "help": "group to impersonate; can be given several times",
    },
    ("--request-timeout",): {
        "type": _duration,
        "metavar": "TIME",
        "help": f"how long to wait for an answer, such as 5s or 1m [{SECONDS:g}s]",
    },
}
"""The options by their names, as `argparse` takes them."""
