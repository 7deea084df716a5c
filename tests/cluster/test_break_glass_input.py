"""What people and machines may send to the break-glass webhook: refused or cleaned, never an error.

Every line of the operator's log is read as JSON here: a line break that somebody smuggled in
would make two of one.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.cluster.operator_process import OperatorProcess, Operators
from tests.cluster.services import Service
from tests.cluster.webhook import (
    GROUP,
    LET_IN,
    ask,
    behind_glass,
    bundle,
    mark_of,
    member,
    review,
    unmarked,
)
from tests.controlplane import ControlPlane
from tests.controlplane.certificates import ACTOR_GROUPS, ACTOR_USERS

MIB = 1 << 20


@pytest.fixture(autouse=True)
def clean_log(operator: OperatorProcess) -> Iterator[None]:
    """Whatever was sent, the operator met no error of its own and its log is whole."""
    yield
    assert not [r for r in operator.records() if r["level"] in ("error", "critical")]
    assert "Traceback" not in operator.text()
    assert all({"event", "level", "timestamp"} <= set(record) for record in operator.records())
    assert operator.exit_code is None


@pytest.fixture(scope="module")
def glass(
    control_plane: ControlPlane, running_operators: Operators, module_namespace: str
) -> Service:
    """One service for all; each test begins with an instance that is not marked yet."""
    running_operators.main.until_leading()
    return behind_glass(Service(control_plane, module_namespace), 2 + len(USERS))


BODIES = {
    "nothing": (b"", 400),
    "no JSON": (b"{", 400),
    "deep": (b"[" * 100_000, 400),
    "no UTF-8": (b"\xff\xfe" * 100, 400),
    "another kind": (b'{"apiVersion":"v1","kind":"Pod","request":{}}', 400),
    "lines in the wrong place": (b'{"apiVersion":"v1\\n{}","kind":5}', 400),
    "a megabyte of nothing": (b" " * MIB, 400),
    "more than a MiB of nothing": (b" " * (MIB + 1), 413),
    "eight MiB": (b" " * (8 * MIB), 413),
    "more than is read": (b" " * (9 * MIB), 413),
}


@pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=BODIES)
def test_invalid_review_is_refused(operator: OperatorProcess, body: bytes, status: int) -> None:
    reply = ask(operator.webhook_port, bundle(operator.plane), body)
    assert reply.status == status
    assert reply.text.count("\n") == 1
    assert '"kind":"Status"' in reply.text


def test_webhook_refuses_other_requests(operator: OperatorProcess) -> None:
    port, trusted = operator.webhook_port, bundle(operator.plane)
    fine = review("default", "web")
    assert ask(port, trusted, b"", method="GET").status == 405
    assert ask(port, trusted, fine, path="/").status == 404
    packed = ask(port, trusted, gzip.compress(fine), headers={"Content-Encoding": "gzip"})
    assert packed.status == 400, "nothing is unpacked"
    chunked = {"Transfer-Encoding": "chunked"}
    assert ask(port, trusted, b"2\r\n{}\r\n0\r\n\r\n", headers=chunked).status == 411


def test_incomplete_requests_do_not_harm_webhook(operator: OperatorProcess) -> None:
    address = ("127.0.0.1", operator.webhook_port)
    trusted = bundle(operator.plane)
    context = ssl.create_default_context(cadata=trusted)
    with socket.create_connection(address) as plain:
        plain.sendall(b"POST /break-glass HTTP/1.1\r\n\r\n")
    for noise in (
        b"\x00\xff\r\n{}\r\n\r\n",
        b"POST /break-glass HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /break-glass HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
        b"POST /break-glass HTTP/1.1\r\nHost: " + b"x" * 100_000,
    ):
        with socket.create_connection(address) as raw:
            secure = context.wrap_socket(raw, server_hostname="localhost")
            with contextlib.suppress(OSError):  # it may hang up before it has heard all
                secure.sendall(noise)
            secure.close()
    assert ask(operator.webhook_port, trusted, review("default", "web")).response["allowed"] is True


def test_slow_review_times_out(operator: OperatorProcess) -> None:
    trusted = bundle(operator.plane)
    with socket.create_connection(("127.0.0.1", operator.webhook_port), timeout=60) as raw:
        context = ssl.create_default_context(cadata=trusted)
        secure = context.wrap_socket(raw, server_hostname="localhost")
        head = b"POST /break-glass HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
        secure.sendall(head)
        assert b" 408 " in secure.recv(100)


def test_large_review_is_denied_without_error(glass: Service, operator: OperatorProcess) -> None:
    pod, *_ = unmarked(glass)
    body = review(glass.namespace, pod, object={"command": ["x" * MIB]})
    reply = ask(operator.webhook_port, bundle(glass.plane), body)
    assert reply.status == 200
    assert reply.response["allowed"] is False
    assert reply.response["status"]["code"] == 413
    assert mark_of(glass.plane, glass.namespace, pod) is None


def test_command_too_large_to_review_is_refused(glass: Service) -> None:
    """An error would: failurePolicy is Ignore. Each < is six bytes of a review."""
    pod, *_ = unmarked(glass)
    said = glass.kubectl("exec", pod, *member(), "--", "<" * 100_000, "<" * 100_000, check=False)
    assert "the request is larger than 1048576 bytes; use a shorter command" in said
    assert LET_IN not in said
    assert mark_of(glass.plane, glass.namespace, pod) is None


USERS = {
    "quotes": '"},"by":"root"',
    "unicode": "żółć 日本 😀",
    "right to left": "jane\u202egpj.exe",
    "10 kB": "x" * 10_000,
    "a line separator": "jane\u2028{}",
    "markup": "<script>%s%n$(id)",
}


@pytest.mark.parametrize("user", USERS.values(), ids=USERS)
def test_user_name_in_mark_is_cleaned(glass: Service, user: str) -> None:
    pod, *_ = unmarked(glass)
    said = glass.kubectl("exec", pod, *member(user), "--", "true", check=False)
    assert LET_IN in said
    assert_clean(glass, pod, user)


def test_user_name_with_line_breaks_is_cleaned(
    glass: Service, operator: OperatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kubectl and HTTP headers carry no line breaks; a client certificate does."""
    user = 'eve\n{"event": "root let in"}\r\n\x1b[31m'
    monkeypatch.setitem(ACTOR_USERS, "eve", user)
    monkeypatch.setitem(ACTOR_GROUPS, "eve", (GROUP,))
    pod, *_ = unmarked(glass)
    said = glass.plane.kubectl(
        "exec", pod, "--", "true", actor="eve", namespace=glass.namespace, check=False
    )
    assert LET_IN in said.stderr
    assert_clean(glass, pod, user)
    assert not operator.records("root let in")


def assert_clean(web: Service, pod: str, user: str) -> None:
    mark = mark_of(web.plane, web.namespace, pod)
    assert mark
    by = mark["by"]
    assert by.isprintable()
    assert len(by) <= 201
    expected = "".join(c if c.isprintable() else "\ufffd" for c in user)
    assert by == (expected if len(user) <= 200 else f"{expected[:200]}…")
