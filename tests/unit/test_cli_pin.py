"""`kubectl immutable pin`: where images are in a text, how they are pinned, whose credentials."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest

from immutable_operator.api.image import is_pinned
from immutable_operator.cli.docker_login import DockerLogin
from immutable_operator.cli.images import found_images, pinned
from immutable_operator.cli.kubernetes_yaml import documents
from immutable_operator.cli.problem import CannotRun
from immutable_operator.cli.yaml_edit import applied
from immutable_operator.registry.tags import Credentials, Tagged

DIGEST = "sha256:" + "9f" * 32
PINNED = f"@{DIGEST}"


def pin(text: str) -> str:
    found = found_images(text, documents(text, "web.yaml"), "web.yaml")
    return applied(text, pinned(found, {one.image: DIGEST for one in found}))


@pytest.mark.parametrize(
    ("reference", "whole"),
    [
        ("nginx", "docker.io/library/nginx"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("docker.io/nginx:1.27", "docker.io/nginx:1.27"),
        ("bitnami/redis:7", "docker.io/bitnami/redis:7"),
        ("docker.io/bitnami/redis:7", "docker.io/bitnami/redis:7"),
        ("registry.example/web", "registry.example/web"),
        ("registry.example:5000/a/web:v1", "registry.example:5000/a/web:v1"),
        ("localhost/web:v1", "localhost/web:v1"),
    ],
)
def test_reference_is_completed_so_that_the_operator_accepts_it(reference: str, whole: str) -> None:
    assert pin(f"containers: [{{image: '{reference}'}}]\n") == (
        f"containers: [{{image: '{whole}{PINNED}'}}]\n"
    )
    assert is_pinned(whole + PINNED)


def test_digest_of_the_latest_image_is_asked_for_if_there_is_no_tag() -> None:
    assert Tagged.of("docker.io/nginx") == Tagged("docker.io", "library/nginx", "latest")
    assert Tagged.of("registry.example/web") == Tagged("registry.example", "web", "latest")


BEFORE = """\
# a comment: image: nginx:1
apiVersion: batch/v1
kind: CronJob
spec:
  jobTemplate:
    spec:
      template:
        spec:
          initContainers:
          - {name: a, image: "registry.example/a:1"}   # quoted
          containers:
          - name: b
            image:   &b   registry.example/b:1  # anchored
            args: ["image: nginx:1"]
          - name: c
            image: *b
          - image: registry.example/d:1@DIGEST
          - <<: {image: registry.example/e:1}
          volumes:
          - name: model
            image: {reference: registry.example/f:1}
          - {name: x, emptyDir: {}}
---
kind: List
items:
- spec: {template: {spec: {containers: [{image: registry.example/a:1}]}}}
---
kind: ConfigMap
data: {image: nginx:1}""".replace("DIGEST", DIGEST)
AFTER = """\
# a comment: image: nginx:1
apiVersion: batch/v1
kind: CronJob
spec:
  jobTemplate:
    spec:
      template:
        spec:
          initContainers:
          - {name: a, image: "registry.example/a:1@DIGEST"}   # quoted
          containers:
          - name: b
            image:   &b   registry.example/b:1@DIGEST  # anchored
            args: ["image: nginx:1"]
          - name: c
            image: *b
          - image: registry.example/d:1@DIGEST
          - <<: {image: registry.example/e:1@DIGEST}
          volumes:
          - name: model
            image: {reference: registry.example/f:1@DIGEST}
          - {name: x, emptyDir: {}}
---
kind: List
items:
- spec: {template: {spec: {containers: [{image: registry.example/a:1@DIGEST}]}}}
---
kind: ConfigMap
data: {image: nginx:1}""".replace("DIGEST", DIGEST)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("begins", ["", "\ufeff"])
def test_only_images_change_and_everything_else_is_the_same_to_the_byte(
    line_end: str, begins: str
) -> None:
    before, after = ((begins + text).replace("\n", line_end) for text in (BEFORE, AFTER))
    assert pin(before) == after
    assert pin(after) == after


def test_kustomization_gets_a_digest_instead_of_a_tag() -> None:
    text = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
images:
- name: web  # of the base
  newName: registry.example/web
  newTag: v1  # current
- {name: registry.example/b, newTag: "2"}
- {name: registry.example/c, digest: DIGEST}
- {name: registry.example/d, newName: registry.example/e}
"""
    assert pin(text) == text.replace("newTag: v1", f"digest: {DIGEST}").replace(
        'newTag: "2"', f"digest: {DIGEST}"
    )


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("Nginx:1", "image 'Nginx:1' is not valid"),
        ("nginx:a b", "is not valid"),
        ('"n\\u0067inx"', "written with escapes"),
        ("$(IMAGE)", "is not valid"),
    ],
)
def test_image_that_is_not_valid_is_named_with_its_line(image: str, says: str) -> None:
    with pytest.raises(CannotRun, match=r"^web\.yaml, line 3: ") as error:
        pin(f"# web\ncontainers:\n- image: {image}\n")
    assert says in str(error.value)


def login(folder: Path, **config: object) -> DockerLogin:
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return DockerLogin(path)


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def helper(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_stored_passwords_are_found_by_host(tmp_path: Path) -> None:
    entries = {
        "https://index.docker.io/v1/": auth("jane:one"),
        "registry.example:5000": auth("jane:two:three"),
        "https://old.example": {"username": "jane", "password": "four"},
        "token.example": {"identitytoken": "five", **auth("jane:")},
        "empty.example": {},
    }
    found = login(tmp_path, auths=entries).of
    assert found("docker.io") == Credentials("jane", "one")
    assert found("registry.example:5000") == Credentials("jane", "two:three")
    assert found("old.example") == Credentials("jane", "four")
    assert found("token.example") == Credentials("", "", "five")
    assert found("empty.example") is found("registry.example") is None


def test_helper_of_a_host_is_asked_before_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = """read server; echo "{\\"Username\\": \\"NAME\\", \\"Secret\\": \\"$server\\"}\""""
    helper(tmp_path, "own", answer.replace("NAME", "<token>"), monkeypatch)
    helper(tmp_path, "store", answer.replace("NAME", "jane"), monkeypatch)
    found = login(tmp_path, credsStore="store", credHelpers={"a.example": "own"}).of
    assert found("a.example") == Credentials("", "", "a.example")
    assert found("b.example") == Credentials("jane", "b.example")


def test_store_without_credentials_for_a_host_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "echo credentials not found in native keychain; exit 1"
    helper(tmp_path, "store", said, monkeypatch)
    assert login(tmp_path, credsStore="store").of("a.example") is None


@pytest.mark.parametrize(
    ("script", "says"),
    [(None, "cannot be run"), ("echo locked; exit 1", "locked; log in again"), ("echo x", "JSON")],
)
def test_helper_that_fails_is_named(
    script: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script:
        helper(tmp_path, "store", script, monkeypatch)
    with pytest.raises(CannotRun, match=f"docker-credential-store.*{says}"):
        login(tmp_path, credsStore="store").of("a.example")


@pytest.mark.parametrize("text", ["{", '{"auths": {"a.example": {"auth": "???"}}}'])
def test_broken_file_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(CannotRun, match=r"config\.json"):
        DockerLogin(path).of("a.example")


def test_folder_of_the_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    login(tmp_path, auths={"a.example": auth("jane:one")})
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert DockerLogin().of("a.example") == Credentials("jane", "one")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "nowhere"))
    assert DockerLogin().of("a.example") is None
