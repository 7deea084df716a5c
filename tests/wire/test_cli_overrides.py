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


@pytest.mark.parametrize("text", ["0", "-1s", "soon", "nan", "inf"])
def test_timeout_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([f"--request-timeout={text}", "get"])
    assert ended.value.code == 2
    assert "invalid duration value" in capsys.readouterr().err
