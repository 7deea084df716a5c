"""Whatever is wrong, each verb of the plug-in says it in one sentence, and exits with a code.

The table of verbs is that of the plug-in's own parser.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from immutable_operator.cli import action
from tests.wire.cluster_of_answers import Answer, AnsweringServer, answering, status
from tests.wire.verbs import VERBS, arguments, exit_code, manifest

WORD = "immutableservices"
# They report what they find out, and that something is wrong is what they find.
REPORTS = ("check", "version")
# They print what they show as JSON and YAML, too.
SHOWING = (
    *("check", "diff", "events", "get", "history", "lineage", "plan", "status", "verify"),
    *("version", "why"),
)
INTERRUPTED = 130
NOWHERE = "http://127.0.0.1:9"
NAMED = re.compile(r"/(immutableservices|immutablenodepools|pods)/[^/?]+")


def silent(method: str, path: str) -> None:
    return None


def unauthorized(method: str, path: str) -> tuple[int, bytes]:
    return status(401, "Unauthorized", "Unauthorized")


def forbidden(method: str, path: str) -> tuple[int, bytes]:
    text = f'{WORD}.immutable.dev is forbidden: User "x" cannot get resource "{WORD}"'
    return status(403, "Forbidden", text)


def not_installed(method: str, path: str) -> tuple[int, bytes]:
    return status(404, "NotFound", "the server could not find the requested resource")


def wrong_name(method: str, path: str) -> tuple[int, bytes]:
    """Every list is empty, and nothing has the name."""
    if method == "GET" and not NAMED.search(path):
        return 200, json.dumps({"kind": "List", "metadata": {}, "items": []}).encode()
    return status(404, "NotFound", f'{WORD} "web" not found', name="web", kind=WORD)


def page_of_a_proxy(method: str, path: str) -> tuple[int, bytes]:
    return 200, b"<html><body>Sign in</body></html>"


def another_object(method: str, path: str) -> tuple[int, bytes]:
    return 200, b'{"kind": "Status", "status": "Success"}'


def trouble(method: str, path: str) -> tuple[int, bytes]:
    return status(500, "InternalError", "etcdserver: request timed out")


def old_operator(method: str, path: str) -> tuple[int, bytes]:
    """The kinds of the first release, as it wrote them; none of those that came later."""
    bare = path.partition("?")[0]
    if any(kind in bare for kind in ("immutablelineages", "immutableactions", "immutablefreezes")):
        return not_installed(method, path)
    meta = {"name": "web", "namespace": "shop", "uid": "s1", "resourceVersion": "5"}
    meta |= {"creationTimestamp": "2027-01-15T07:00:00Z"}
    service = {"metadata": meta, "spec": json.loads(manifest())["spec"]}
    if re.search(r"/immutableservices/[^/]+$", bare):
        return 200, json.dumps(service).encode()
    if bare.endswith("/immutableservices"):
        return 200, json.dumps({"items": [service]}).encode()
    return wrong_name(method, path)


@dataclass(frozen=True)
class Given:
    """A command line as a person gives it."""

    kubeconfig: Path
    file: Path

    def run(self, verb: str, server: str, *more: str, patience: str = "400ms") -> int:
        cluster = {"server": server}
        context = {"cluster": "c", "user": "u", "namespace": "shop"}
        body = {
            "current-context": "x",
            "contexts": [{"name": "x", "context": context}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        self.kubeconfig.write_text(json.dumps(body))
        options = [f"--kubeconfig={self.kubeconfig}", f"--request-timeout={patience}"]
        words = [*options, verb, *more, *arguments(verb, self.file)[1:]]
        return exit_code(words)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Given:
    monkeypatch.setattr(action, "ANSWER_SECONDS", 0.2)
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
    # Programs that a verb runs: the real ones are of no use here.
    kubectl = tmp_path / "bin" / "kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text("#!/bin/sh\n")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", str(kubectl.parent))
    monkeypatch.setattr("sys.stdin", (tmp_path / "empty").open("w+"))
    file = tmp_path / "service.yaml"
    file.write_text(manifest())
    return Given(tmp_path / "kubeconfig", file)


def checked(verb: str, code: int, told: str, server: AnsweringServer | None) -> None:
    """Assert that a failure is one sentence; a verb that asked nothing may have worked."""
    assert "Traceback" not in told, told
    assert "has a bug" not in told, told
    if server is not None and not server.asked:
        return
    if verb in REPORTS:
        assert code in (0, 1, 2), told
        return
    lines = [line for line in told.splitlines() if not line.startswith(("warning: ", "ignored: "))]
    assert code in (1, 2, 3), told
    assert len(lines) <= 2, told
    assert len(lines[-1]) < 600, told


@pytest.mark.parametrize(
    "answer",
    [silent, unauthorized, forbidden, not_installed, page_of_a_proxy, trouble],
)
@pytest.mark.parametrize("verb", VERBS)
def test_verb_says_in_a_sentence_what_is_wrong(
    verb: str, answer: Answer, given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    # What never answers is waited for in vain.
    patience = "100ms" if answer is silent else "400ms"
    with answering(answer) as server:
        code = given.run(verb, server.url, patience=patience)
    checked(verb, code, capsys.readouterr().err, server)


@pytest.mark.parametrize("verb", VERBS)
def test_verb_of_a_wrong_name_says_so(
    verb: str, given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(wrong_name) as server:
        code = given.run(verb, server.url)
    told = capsys.readouterr()
    assert "Traceback" not in told.err, told.err
    assert "has a bug" not in told.err, told.err
    if code == 0 and verb not in REPORTS and server.asked:
        said = told.out + told.err
        assert any(words in said for words in ("there is no", "there are no", "would be")), told


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("answer", [old_operator, another_object])
def test_verb_with_another_release_does_not_break(
    verb: str, answer: Answer, given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(answer) as server:
        code = given.run(verb, server.url)
    told = capsys.readouterr().err
    assert "Traceback" not in told, told
    assert "has a bug" not in told, told
    assert code in (0, 1, 2, 3, INTERRUPTED), told


@pytest.mark.parametrize("verb", VERBS)
def test_verb_without_a_cluster_says_that_it_cannot_be_reached(
    verb: str, given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(not_installed) as server:
        given.run(verb, server.url)
    capsys.readouterr()
    code = given.run(verb, NOWHERE)
    told = capsys.readouterr().err
    assert "Traceback" not in told, told
    if server.asked:
        assert code in (1, 2), told
        assert "reach" in told, told
        assert "no connection to 127.0.0.1:9: Connection refused" in told, told
        assert "Key(" not in told, told


@pytest.mark.parametrize("output", ["json", "yaml"])
@pytest.mark.parametrize("verb", SHOWING)
def test_verb_that_shows_data_fails_the_same_for_programs(
    verb: str, output: str, given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(forbidden) as server:
        code = given.run(verb, server.url, f"--output={output}")
    told = capsys.readouterr()
    assert "invalid choice" not in told.err, told.err
    checked(verb, code, told.err, server)


@pytest.mark.parametrize("verb", VERBS)
def test_verb_that_is_interrupted_ends_without_a_traceback(
    verb: str, given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = threading.Event()
    with answering(silent) as server:

        def interrupt() -> None:
            while not ended.is_set():
                if server.first.wait(0.05):
                    os.kill(os.getpid(), signal.SIGINT)
                    return

        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            code = given.run(verb, server.url, patience="20s")
        finally:
            ended.set()
            thread.join()
    told = capsys.readouterr().err
    assert "Traceback" not in told, told
    if server.asked:
        assert code == INTERRUPTED, told
        assert "interrupted" in told
