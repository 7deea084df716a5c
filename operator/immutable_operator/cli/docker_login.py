"""The credentials that ``docker login`` has stored: in config.json, or in a credential helper."""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from immutable_operator.cli.problem import CannotRun
from immutable_operator.registry.tags import Credentials

__all__ = ["DockerLogin"]

DOCKER_HUB = "https://index.docker.io/v1/"
HUB_HOSTS = ("docker.io", "index.docker.io", "registry-1.docker.io")
# A helper gives this name with a token that replaces name and password.
TOKEN_USER = "<token>"  # noqa: S105 - not a secret
HELPER_SECONDS = 30.0


class DockerLogin:
    """Credentials of the user, by the host of the registry.

    Raises `CannotRun` if config.json cannot be read, or a credential helper cannot be used.
    """

    def __init__(self, path: Path | None = None) -> None:
        folder = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
        self._path = path or Path(folder) / "config.json"
        self._config = _read(self._path)
        self.of = cache(self._of)

    def _of(self, host: str) -> Credentials | None:
        helpers = _mapping(self._config.get("credHelpers"))
        entries = _mapping(self._config.get("auths"))
        keys = _keys(host)
        for key in keys:
            if helper := helpers.get(key):
                return self._helped(str(helper), key)
        for key in keys:
            if found := _stored(_mapping(entries.get(key)), self._path, key):
                return found
        if helper := self._config.get("credsStore"):
            for key in keys:
                if found := self._helped(str(helper), key):
                    return found
        return None

    def _helped(self, helper: str, server: str) -> Credentials | None:
        program = f"docker-credential-{helper}"
        try:
            done = subprocess.run(
                [program, "get"],
                input=server,
                text=True,
                capture_output=True,
                check=False,
                timeout=HELPER_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotRun(
                f"the credential helper {program} of {self._path} cannot be run: {error};"
                " install it, or remove it from that file"
            ) from error
        if done.returncode != 0:
            if "not found" in done.stdout.lower():
                return None
            said = (done.stdout or done.stderr).strip()[:200]
            raise CannotRun(
                f"the credential helper {program} failed for {server}: {said}; log in again"
            )
        try:
            answer = _mapping(json.loads(done.stdout))
        except ValueError as error:
            raise CannotRun(f"the answer of the credential helper {program} is not JSON") from error
        user, secret = str(answer.get("Username") or ""), str(answer.get("Secret") or "")
        if user == TOKEN_USER:
            return Credentials(identity_token=secret)
        return Credentials(user, secret) if secret else None


def _keys(host: str) -> tuple[str, ...]:
    """Return the names under which credentials for a host are stored."""
    if host in HUB_HOSTS:
        return (DOCKER_HUB, "index.docker.io", "docker.io")
    return (
        host,
        f"https://{host}",
        f"https://{host}/",
        f"https://{host}/v1/",
        f"https://{host}/v2/",
    )


def _stored(entry: Mapping[str, Any], path: Path, key: str) -> Credentials | None:
    if token := entry.get("identitytoken"):
        return Credentials(identity_token=str(token))
    if auth := entry.get("auth"):
        try:
            user, _, password = base64.b64decode(str(auth), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            advice = f"run: docker login {key}"
            raise CannotRun(f"{path}: auth of {key} is not valid base64; {advice}") from error
        return Credentials(user, password.rstrip("\0"))
    if entry.get("username"):
        return Credentials(str(entry["username"]), str(entry.get("password") or ""))
    return None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise CannotRun(f"{path} cannot be read: {error}") from error
    try:
        return _mapping(json.loads(text)) if text.strip() else {}
    except ValueError as error:
        raise CannotRun(f"{path} is not JSON: {error}; correct it, or log in again") from error


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
