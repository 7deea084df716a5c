"""Finds the cluster by the rules of kubectl: files, context, namespace and proxy.

Files: ``--kubeconfig``, else the list in $KUBECONFIG, else ~/.kube/config; the first file that
defines a name takes precedence. Without files: the service account of the pod. Proxy: ``proxy-url``
of the cluster, else $HTTPS_PROXY and $NO_PROXY.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

import yaml

from immutable_operator.cli.overrides import overrides
from immutable_operator.cli.person import Person
from immutable_operator.cli.problem import LoginError

if TYPE_CHECKING:
    from kubernetes.aio.client import Configuration

__all__ = ["Login", "LoginError", "ServiceAccount", "context_names", "find_login"]

DEFAULT: Final = "default"
# No context of a file can have this name.
CHOSEN: Final = "\0chosen"
OF_PODS: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class ServiceAccount:
    """The files of the service account in a pod."""

    token: Path = OF_PODS / "token"
    authority: Path = OF_PODS / "ca.crt"

    @property
    def there(self) -> bool:
        address = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")
        return all(map(os.environ.get, address)) and self.token.is_file()

    @property
    def namespace(self) -> str:
        if named := os.environ.get("POD_NAMESPACE"):
            return named
        file = self.token.with_name("namespace")
        text = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
        return text or DEFAULT

    def load(self, configuration: Configuration) -> None:
        from kubernetes.aio.config.incluster_config import InClusterConfigLoader

        InClusterConfigLoader(str(self.token), str(self.authority)).load_and_set(configuration)


@dataclass(frozen=True)
class Login:
    """How to reach the cluster. ``files`` are not empty and in order of precedence; ``context`` is
    the name of the context, None if there is none: then the service account is used.
    """

    files: tuple[Path, ...] = ()
    context: str | None = None
    account: ServiceAccount = ServiceAccount()

    def namespace(self) -> str:
        """The namespace that kubectl uses by default."""
        for document in map(_read, self.files):
            for item in document.get("contexts") or ():
                if item.get("name") == self.context is not None:
                    named = (item.get("context") or {}).get("namespace")
                    return str(named) if named else self._unnamed()
        return self._unnamed()

    def _unnamed(self) -> str:
        return self.account.namespace if self.account.there else DEFAULT

    async def configuration(self) -> Configuration:
        """Connection and credentials. Raises `LoginError` if they are not usable."""
        # Imported when it is needed: see `kube.transport`.
        from kubernetes.aio import config
        from kubernetes.aio.client import Configuration

        found = Configuration()
        try:
            if self.context is None:
                self.account.load(found)
            else:
                await _load(self.files, self.context, found)
        except (config.ConfigException, OSError, ValueError) as error:
            raise LoginError(f"{_where(self.files)}: {error}") from error
        # The proxy settings of the environment are evaluated here.
        found.client_session_kwargs = {"trust_env": False}
        overrides().apply(found)
        _check_certificates(found)
        found.proxy = _usable(found.proxy or _proxy_of_the_environment(found.host))
        return found

    async def person(self, *, user: str = "", groups: Sequence[str] = ()) -> Person:
        """A client for the user, or the impersonated user. Raises if the login is not usable."""
        configuration = await self.configuration()
        if user:
            # The headers of the client have one value each, and there are several groups.
            names = [("Impersonate-User", user), *(("Impersonate-Group", g) for g in groups)]
            configuration.client_session_kwargs |= {"headers": names}
        return Person(configuration, timeout=overrides().timeout)


async def _load(files: Sequence[Path], context: str, found: Configuration) -> None:
    """Load a context with the cluster and the user of the options. Raises as the library does."""
    from kubernetes.aio.config.kube_config import KubeConfigLoader, KubeConfigMerger

    merged = KubeConfigMerger(os.pathsep.join(map(str, files))).config
    entry = merged["contexts"].get_with_name(context)["context"].value
    named = {"cluster": overrides().cluster, "user": overrides().credentials}
    for key, name in named.items():
        if name:
            merged[f"{key}s"].get_with_name(name)  # raises if there is none
            entry = {**entry, key: name}
    merged.value["contexts"].append({"name": CHOSEN, "context": entry})
    # Relative paths are relative to the file of each entry, which the merger keeps.
    loader = KubeConfigLoader(merged, active_context=CHOSEN, config_base_path=None)
    await loader.load_and_set(found)


def _check_certificates(found: Configuration) -> None:
    """Raise `LoginError` if a file cannot be used; the client would not say which."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    files = [found.ssl_ca_cert] if found.ssl_ca_cert else []
    try:
        for authority in files:
            context.load_verify_locations(cafile=authority)
        if found.cert_file:
            files = [file for file in (found.cert_file, found.key_file) if file]
            context.load_cert_chain(found.cert_file, found.key_file)
    except OSError as error:  # an SSLError is one, too
        named = " with ".join(map(str, files))
        raise LoginError(f"{named} cannot be used as a certificate: {error}") from error


def find_login(
    given: str | None = None,
    context: str | None = None,
    account: ServiceAccount = ServiceAccount(),
) -> Login:
    """The login for the options ``--kubeconfig`` and ``--context``. Raises `LoginError`."""
    asked = list(_asked(given))
    if given and not asked[0].is_file():
        raise LoginError(f"file {given} does not exist; specify another file with --kubeconfig")
    # Each file is read here once, so that an unreadable file is named in the error.
    files = tuple(path for path in dict.fromkeys(asked) if path.is_file() and _read(path))
    named = (str(_read(path).get("current-context") or "") for path in files)
    chosen = context or next(filter(None, named), None)
    if chosen is not None and not any(_has(_read(path), chosen) for path in files):
        raise LoginError(
            f"context {chosen} does not exist in {_where(files)}; list the contexts with: kubectl"
            " config get-contexts"
        )
    if chosen is None and not files and not account.there:
        raise LoginError(
            f"the kubeconfig file {_where(asked)} does not exist; specify another one with"
            " --kubeconfig"
        )
    if chosen is None and not account.there:
        raise LoginError(
            f"no context is set in {_where(asked)}; specify a context with --context, or a file"
            " with --kubeconfig"
        )
    return Login(files, chosen, account)


def context_names(given: str | None = None) -> list[str]:
    """The contexts of the files of the option ``--kubeconfig``. Raises `LoginError`."""
    files = [path for path in _asked(given) if path.is_file()]
    listed = (item.get("name") for path in files for item in _read(path).get("contexts") or ())
    return list(dict.fromkeys(filter(None, listed)))


def _asked(given: str | None) -> Iterator[Path]:
    if given:
        yield Path(given).expanduser()
    elif listed := os.environ.get("KUBECONFIG"):
        yield from (Path(name).expanduser() for name in listed.split(os.pathsep) if name)
    else:
        yield Path.home() / ".kube" / "config"


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise LoginError(f"{path} cannot be read: {error}") from error
    if not isinstance(document or {}, dict):
        raise LoginError(f"{path} is not a kubeconfig file; specify another file with --kubeconfig")
    return document or {}


def _has(document: Mapping[str, Any], context: str) -> bool:
    return any(item.get("name") == context for item in document.get("contexts") or ())


def _where(files: Sequence[Path]) -> str:
    return os.pathsep.join(map(str, files)) or "the service account of this pod"


def _proxy_of_the_environment(server: str) -> str | None:
    """The proxy for this address, by the rules of kubectl: none for the local machine."""
    from kubernetes.client.rest import should_bypass_proxies

    address, proxies = urlsplit(server), getproxies_environment()
    if _is_here(address.hostname or "") or should_bypass_proxies(server, proxies.get("no", "")):
        return None
    return proxies.get(address.scheme)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _usable(proxy: str | None) -> str | None:
    if not proxy:
        return None
    url = proxy if "://" in proxy else f"http://{proxy}"
    scheme = urlsplit(url).scheme
    if scheme not in ("http", "https"):
        raise LoginError(
            f"{scheme} proxies are not supported; specify an http proxy, as proxy-url of the"
            " cluster in the kubeconfig or as HTTPS_PROXY"
        )
    return url
