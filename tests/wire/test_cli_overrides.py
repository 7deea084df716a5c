"""Options of kubectl that the plug-in accepts before and after the verb."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from immutable_operator.cli.main import main
from tests.wire.cluster_of_answers import answering

EMPTY = json.dumps({"kind": "List", "metadata": {}, "items": []}).encode()


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
    body = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(body))
    return file


@pytest.mark.parametrize("before", [True, False])
def test_option_counts_before_and_after_the_verb(kubeconfig: Path, before: bool) -> None:
    with answering(lambda method, path: (200, EMPTY)) as server:
        options = [
            *(f"--kubeconfig={kubeconfig}", f"--server={server.url}", "--namespace=shop"),
            *("--token=other", "--as=jane", "--as-group=a", "--as-group=b"),
        ]
        words = [*options, "get"] if before else ["get", *options]
        with pytest.raises(SystemExit) as ended:
            main(words)
    assert ended.value.code == 0
    assert server.asked == ["GET /apis/immutable.dev/v1alpha1/namespaces/shop/immutableservices"]
    [headers] = server.headers
    assert headers["authorization"] == ["Bearer other"]
    assert headers["impersonate-user"] == ["jane"]
    assert headers["impersonate-group"] == ["a", "b"]


def test_cluster_and_user_are_those_of_the_kubeconfig_with_these_names(
    kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(lambda method, path: (200, EMPTY)) as server:
        body = json.loads(kubeconfig.read_text())
        body["clusters"].append({"name": "other", "cluster": {"server": server.url}})
        body["users"].append({"name": "jane", "user": {"token": "of-jane"}})
        kubeconfig.write_text(json.dumps(body))
        options = [f"--kubeconfig={kubeconfig}", "--cluster=other", "--user=jane"]
        with pytest.raises(SystemExit) as ended:
            main([*options, "--as=bob", "--as-uid=b1", "get"])
    assert ended.value.code == 0, capsys.readouterr().err
    [headers] = server.headers
    assert headers["authorization"] == ["Bearer of-jane"]
    assert headers["impersonate-user"] == ["bob"]
    assert headers["impersonate-uid"] == ["b1"]
    assert json.loads(kubeconfig.read_text()) == body, "the file is left as it was"


@pytest.mark.parametrize("place", ["before", "after"])
def test_option_that_is_not_written_out_is_refused(
    place: str, kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--names=shop", "get"] if place == "before" else ["get", "--names=shop"]
    with pytest.raises(SystemExit) as ended:
        main([f"--kubeconfig={kubeconfig}", *words])
    assert ended.value.code == 2
    assert "unrecognized arguments: --names=shop" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--cluster=nothing", "--user=nothing"])
def test_name_that_the_kubeconfig_does_not_have_is_one_sentence(
    option: str, kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([f"--kubeconfig={kubeconfig}", option, "get"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert "object with name nothing" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("content", [None, "", "no certificate"])
@pytest.mark.parametrize("option", ["--client-certificate", "--certificate-authority"])
def test_certificate_that_cannot_be_used_is_one_sentence(
    option: str, content: str | None, kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = kubeconfig.with_name("some.crt")
    if content is not None:
        file.write_text(content)
    with pytest.raises(SystemExit) as ended:
        main(
            [f"--kubeconfig={kubeconfig}", "--server=https://127.0.0.1:9", "get", option, f"{file}"]
        )
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert f"cannot log in: {file} cannot be used as a certificate" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("text", ["0", "-1s", "soon", "nan", "inf"])
def test_timeout_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([f"--request-timeout={text}", "get"])
    assert ended.value.code == 2
    assert "invalid duration value" in capsys.readouterr().err
