"""The cluster, namespace and proxy of `kubectl immutable` are those that kubectl would take."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import certifi
import pytest
import yaml

from immutable_operator.cli.login import Login, LoginError, ServiceAccount, find_login

PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY")
SERVER = "https://api.example:6443"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person at a machine of their own: no pod, no proxy, an empty home."""
    names = [*PROXIES, *map(str.lower, PROXIES), "KUBECONFIG", "POD_NAMESPACE"]
    for name in (*names, "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def account(home: Path, monkeypatch: pytest.MonkeyPatch) -> ServiceAccount:
    """Inside of a pod in the namespace shop."""
    authority = Path(certifi.where()).read_text()
    for name, text in (("token", "t0ken"), ("ca.crt", authority), ("namespace", "shop\n")):
        (home / name).write_text(text)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return ServiceAccount(home / "token", home / "ca.crt")


def context(name: str, namespace: str | None = None) -> dict[str, Any]:
    body = {"cluster": f"cluster-of-{name}", "user": f"user-of-{name}"}
    return {"name": name, "context": body | ({"namespace": namespace} if namespace else {})}


def cluster(name: str, server: str = SERVER, **more: str) -> dict[str, Any]:
    return {"name": f"cluster-of-{name}", "cluster": {"server": server, **more}}


def user(name: str, token: str) -> dict[str, Any]:
    return {"name": f"user-of-{name}", "user": {"token": token}}


def write(path: Path, **document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {key.replace("_", "-"): value for key, value in document.items()}
    path.write_text(yaml.safe_dump(document))
    return path


def whole(path: Path, name: str, namespace: str | None = None, **of_cluster: str) -> Path:
    """A file that says everything of one context, which is the current one."""
    return write(
        path,
        current_context=name,
        contexts=[context(name, namespace)],
        clusters=[cluster(name, **of_cluster)],
        users=[user(name, f"token-of-{name}")],
    )


def listed(monkeypatch: pytest.MonkeyPatch, *files: Path | str) -> None:
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, files)))


def connection(login: Login) -> Any:
    return asyncio.run(login.configuration())


def test_namespace_is_read_from_the_context_at_any_place_in_the_list(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = whole(home / "first", "a", "team-a")
    second = whole(home / "second", "b", "team-b")
    listed(monkeypatch, first, second)
    assert find_login().namespace() == "team-a"
    assert find_login(context="b").namespace() == "team-b"
    listed(monkeypatch, second, first)
    assert find_login().namespace() == "team-b"
    assert find_login(str(first)).namespace() == "team-a", "the option is stronger than the list"


def test_context_cluster_and_user_may_be_in_different_files(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(
        monkeypatch,
        write(home / "current", current_context="a"),
        write(home / "contexts", contexts=[context("a", "team")], current_context="b"),
        write(home / "clusters", clusters=[cluster("a", "https://other.example")]),
        write(home / "users", users=[user("a", "t1")]),
        whole(home / "late", "a", "too-late"),
    )
    login = find_login()
    assert login.namespace() == "team"
    found = connection(login)
    assert found.host == "https://other.example"
    assert found.api_key["BearerToken"] == "Bearer t1"


@pytest.mark.parametrize("empty", ["", "# nothing yet\n", "contexts:\nclusters:\nusers:\n"])
def test_missing_and_empty_files_are_skipped(
    home: Path, monkeypatch: pytest.MonkeyPatch, empty: str
) -> None:
    (home / "empty").write_text(empty)
    listed(monkeypatch, home / "missing", "", home / "empty", whole(home / "a", "a", "team"))
    login = find_login()
    assert login.namespace() == "team"
    assert connection(login).host == SERVER


def test_default_kubeconfig_is_the_file_in_the_home_directory(home: Path) -> None:
    whole(home / ".kube" / "config", "a", "team")
    assert find_login().namespace() == "team"


def test_context_without_a_namespace_means_default(home: Path) -> None:
    assert find_login(str(whole(home / "a", "a"))).namespace() == "default"


def test_login_in_a_pod_uses_the_service_account(
    account: ServiceAccount,
) -> None:
    login = find_login(account=account)
    assert login.namespace() == "shop"
    found = connection(login)
    assert found.host == "https://10.96.0.1:443"
    assert found.api_key["BearerToken"] == "bearer t0ken"


def test_kubeconfig_in_a_pod_overrides_the_service_account_except_an_unset_namespace(
    home: Path, account: ServiceAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(monkeypatch, whole(home / "a", "a", "default"), whole(home / "b", "b"))
    assert find_login(account=account).namespace() == "default"
    assert find_login(context="b", account=account).namespace() == "shop"
    assert connection(find_login(context="b", account=account)).host == SERVER


def test_files_without_a_context_are_ignored_in_a_pod(
    home: Path, account: ServiceAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(monkeypatch, home / "missing", write(home / "a", current_context=""))
    assert find_login(account=account).namespace() == "shop"
    monkeypatch.setenv("POD_NAMESPACE", "told")
    assert find_login(account=account).namespace() == "told"


@pytest.mark.parametrize(
    ("given", "named", "says"),
    [
        ("nowhere", None, "file nowhere does not exist; specify another file with --kubeconfig"),
        (None, "b", "context b does not exist in"),
        ("not-yaml", None, "not-yaml cannot be read"),
        ("a-list", None, "is not a kubeconfig file"),
        ("no-cluster", None, "Expected object with name cluster-of-a"),
    ],
)
def test_missing_entry_is_named(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: str | None,
    named: str | None,
    says: str,
) -> None:
    monkeypatch.chdir(home)
    listed(monkeypatch, whole(home / "a", "a"))
    (home / "not-yaml").write_text("{")
    (home / "a-list").write_text("[1]")
    write(home / "no-cluster", current_context="a", contexts=[context("a")])
    with pytest.raises(LoginError, match=says):
        connection(find_login(given, named))


def test_missing_login_is_reported_with_the_remedy() -> None:
    with pytest.raises(LoginError, match="does not exist; specify another one with --kubeconfig"):
        find_login()


def test_proxy_of_the_cluster_entry_is_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://from-the-environment:3128")
    monkeypatch.setenv("NO_PROXY", "*")
    file = whole(home / "a", "a", **{"proxy-url": "http://of-the-cluster:8080"})
    assert connection(find_login(str(file))).proxy == "http://of-the-cluster:8080"


ENVIRONMENTS: dict[str, tuple[str, dict[str, str], str | None]] = {
    "given": (SERVER, {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
    "in small letters": (SERVER, {"https_proxy": "http://p:3128"}, "http://p:3128"),
    "without a scheme": (SERVER, {"HTTPS_PROXY": "p:3128"}, "http://p:3128"),
    "with a login": (SERVER, {"HTTPS_PROXY": "http://u:w@p:1"}, "http://u:w@p:1"),
    "for http only": (SERVER, {"HTTP_PROXY": "http://p:3128"}, None),
    "for http": ("http://api.example", {"HTTP_PROXY": "http://p:3128"}, "http://p:3128"),
    "for everything": (SERVER, {"ALL_PROXY": "socks5://p:3128"}, None),
    "not for the host": (SERVER, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "api.example"}, None),
    "not for the domain": (SERVER, {"HTTPS_PROXY": "http://p:1", "no_proxy": "a,.example"}, None),
    "not for others": (SERVER, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "le"}, "http://p:1"),
    "not for the network": (
        "https://10.1.2.3:6443",
        {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"},
        None,
    ),
    "not for another network": (
        "https://10.1.2.3:6443",
        {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.2.0.0/16"},
        "http://p:1",
    ),
    "not for anything": (SERVER, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
    "not for this machine": ("https://127.0.0.1:6443", {"HTTPS_PROXY": "http://p:1"}, None),
    "not for this machine, v6": ("https://[::1]:6443", {"HTTPS_PROXY": "http://p:1"}, None),
    "not for localhost": ("https://localhost:6443", {"HTTPS_PROXY": "http://p:1"}, None),
}


@pytest.mark.parametrize(
    ("server", "environment", "proxy"), ENVIRONMENTS.values(), ids=ENVIRONMENTS
)
def test_proxy_of_the_environment_is_used_for_matching_hosts(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: str,
    environment: dict[str, str],
    proxy: str | None,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert connection(find_login(str(whole(home / "a", "a", server=server)))).proxy == proxy


def test_unusable_proxy_is_named(home: Path) -> None:
    file = whole(home / "a", "a", **{"proxy-url": "socks5://p:1080"})
    with pytest.raises(LoginError, match="socks5 proxies are not supported"):
        connection(find_login(str(file)))
