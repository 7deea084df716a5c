"""`kubectl immutable pin` with a registry: tags, credentials, and whatever a registry answers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from immutable_operator.cli.main import main

BODY = b'{"mediaType": "application/vnd.oci.image.index.v1+json"}'
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
TEXT = "containers:\n- image: HOST/shop/web:v1  # pinned\n- image: HOST/shop/web:v1"
TOKEN = "t0ken"  # noqa: S105


class Registry:
    """Has shop/web:v1. ``scheme``: how it asks for credentials, if at all."""

    def __init__(self, scheme: str = "", *, names_digest: bool = True, status: int = 200) -> None:
        self.scheme, self.names_digest, self.status = scheme, names_digest, status
        self.host = ""
        self.asked: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        given = request.headers.get("Authorization", "")
        if request.path == "/token":
            return await self._token(request, given)
        if self.scheme == "Basic" and given != basic():
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})
        if self.scheme == "Bearer" and given != f"Bearer {TOKEN}":
            challenge = f'Bearer realm="http://{self.host}/token",service="s",scope="pull"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        if request.path != "/v2/shop/web/manifests/v1":
            return web.Response(status=404)
        named = {"Docker-Content-Digest": DIGEST} if self.names_digest else {}
        return web.Response(status=self.status, body=BODY, headers=named)

    async def _token(self, request: web.Request, given: str) -> web.StreamResponse:
        form = await request.post()
        if given == basic() or form.get("refresh_token") == "identity":
            return web.json_response({"token": TOKEN})
        return web.Response(status=401)


def basic() -> str:
    return f"Basic {base64.b64encode(b'jane:secret').decode()}"


@pytest.fixture(autouse=True)
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def log_in(docker: Path, host: str, entry: dict[str, Any] | None = None) -> None:
    own = entry or {"auth": basic().removeprefix("Basic ")}
    (docker / "config.json").write_text(json.dumps({"auths": {host: own}}))


def run(registry: Registry, docker: Path, *args: str, entry: Any = None, text: str = TEXT) -> int:
    """Pin a file with images of this registry; return the exit code."""

    async def serve() -> int:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", registry.handle)
        async with TestServer(app) as server:
            registry.host = f"127.0.0.1:{server.port}"
            if entry is not None:
                log_in(docker, registry.host, entry)
            path = docker / "web.yaml"
            path.write_text(text.replace("HOST", registry.host))
            command = ["pin", "-f", str(path), *args]
            with pytest.raises(SystemExit) as ended:
                await asyncio.to_thread(main, command)
            assert isinstance(ended.value.code, int)
            return ended.value.code

    return asyncio.run(serve())


@pytest.mark.parametrize("names_digest", [True, False])
def test_tag_is_asked_for_once_and_its_digest_is_added(
    names_digest: bool, docker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry(names_digest=names_digest)
    assert run(registry, docker) == 0
    wanted = TEXT.replace("HOST", registry.host).replace(":v1", f":v1@{DIGEST}")
    assert capsys.readouterr().out == wanted
    methods = ["HEAD"] if names_digest else ["HEAD", "GET"]
    assert registry.asked == [f"{method} /v2/shop/web/manifests/v1" for method in methods]


def test_file_is_changed_in_place_and_keeps_its_mode(
    docker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry()
    assert run(registry, docker, "--in-place") == 0
    path = docker / "web.yaml"
    assert path.read_text() == TEXT.replace("HOST", registry.host).replace(":v1", f":v1@{DIGEST}")
    assert capsys.readouterr().out == ""
    assert {file.name for file in docker.iterdir()} == {"web.yaml"}


@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
def test_credentials_of_docker_are_used(scheme: str, docker: Path) -> None:
    assert run(Registry(scheme), docker, entry={"auth": basic().removeprefix("Basic ")}) == 0


def test_identity_token_is_exchanged(docker: Path) -> None:
    registry = Registry("Bearer")
    assert run(registry, docker, entry={"identitytoken": "identity"}) == 0
    assert "POST /token" in registry.asked


@pytest.mark.parametrize(
    ("registry", "entry", "says"),
    [
        (Registry("Basic"), None, "asks for credentials to read"),
        (Registry("Bearer"), None, "asks for credentials to read"),
        (Registry("Bearer"), {"username": "joe", "password": "x"}, "does not let joe read"),
        (Registry("Basic"), {"username": "joe", "password": "x"}, "does not let joe read"),
        (Registry(status=404), None, "check its name and tag"),
        (Registry(status=429), None, "allows no more requests now"),
        (Registry(status=503), None, "answered 503"),
    ],
)
def test_refusal_is_one_sentence_and_nothing_is_written(
    registry: Registry, entry: Any, says: str, docker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(registry, docker, "--in-place", entry=entry) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {docker}/web.yaml, line 2: {registry.host} ")
    assert says in err
    assert err.count("\n") == 1
    assert (docker / "web.yaml").read_text() == TEXT.replace("HOST", registry.host)


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("127.0.0.1:1", "127.0.0.1:1 cannot be reached"),
        ("registry.invalid", "registry.invalid cannot be reached"),
    ],
)
def test_registry_that_is_away_is_named(
    host: str, says: str, docker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(Registry(), docker, text=TEXT.replace("HOST", host)) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_standard_input_cannot_be_changed_in_place(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["pin", "-f", "-", "--in-place"])
    assert ended.value.code == 2
    assert "--in-place needs a file" in capsys.readouterr().err
