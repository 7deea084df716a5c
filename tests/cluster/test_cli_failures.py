"""Each verb of the plug-in on a real API server: a wrong name and no rights are a sentence each.

The other failures, and the table of verbs, are in tests/wire.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.operator_process import Operators
from tests.cluster.plugin import Told
from tests.cluster.services import Service
from tests.controlplane import ControlPlane
from tests.wire.verbs import VERBS, arguments, exit_code

NAME = "nowhere"
# These read a file only, never the cluster.
OFFLINE = ("convert", "pin")
# These need no service, or report what they find out; they have tests of their own.
WITHOUT_NAME = ("freeze", "check", "version", "verify")


@pytest.fixture(scope="module")
def space(
    control_plane: ControlPlane, running_operators: Operators, module_namespace: str
) -> Service:
    """A namespace without any service."""
    running_operators.main.until_leading()
    return Service(control_plane, module_namespace, NAME)


@dataclass(frozen=True)
class Person:
    """Runs verbs in this process, which is much faster than starting one for each."""

    space: Service
    file: Path
    streams: pytest.CaptureFixture[str]

    def run(self, verb: str, actor: str = "admin") -> Told:
        self.file.write_text(json.dumps(self.space.wish.manifest(NAME, self.space.namespace)))
        self.streams.readouterr()
        login = f"--kubeconfig={self.space.plane.kubeconfig(actor)}"
        where = f"--namespace={self.space.namespace}"
        code = exit_code([login, where, *arguments(verb, self.file, NAME)])
        told = self.streams.readouterr()
        return Told(code, told.out, told.err)


@pytest.fixture
def person(
    space: Service,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Person:
    monkeypatch.setattr("sys.stdin", (tmp_path / "empty").open("w+"))
    return Person(space, tmp_path / "service.yaml", capsys)


def one_sentence(done: Told) -> None:
    assert "Traceback" not in done.err
    assert "has a bug" not in done.err
    lines = [line for line in done.err.splitlines() if not line.startswith("warning: ")]
    assert 1 <= len(lines) <= 2, done.err


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in (*WITHOUT_NAME, *OFFLINE)])
def test_verb_of_a_wrong_name_names_it(person: Person, verb: str) -> None:
    done = person.run(verb)
    if done.code == 0:  # it needs no cluster, or there are no events
        assert "Traceback" not in done.err
        return
    if done.code == 1 and not done.err:  # plan, of a service that would be created
        assert NAME in done.out
        return
    one_sentence(done)
    assert NAME in done.err


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in OFFLINE])
def test_verb_without_rights_says_what_is_missing(person: Person, verb: str) -> None:
    done = person.run(verb, actor="nobody-special")
    if verb in ("check", "version") or done.code == 0:
        assert "Traceback" not in done.err
        return
    assert done.code in (1, 2), done
    one_sentence(done)
    assert "permission denied" in done.err or "cannot" in done.err
