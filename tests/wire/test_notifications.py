"""Notifications over a real connection: signed, retried, bounded, and nobody waits for them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import secrets
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from examples.receiver import Receiver, verified
from immutable_operator.admission.certificates import Pair, issue
from immutable_operator.domain.model import Backoff, Fact, FactType, Phase, Revision, Verdict
from immutable_operator.runtime.main import _notify_options, _parser
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.notifications import Notifications
from immutable_operator.runtime.receiver import NotifyOptions
from tests.wire.api import until
from tests.wire.scripted import SERVICE

NOW = 1_800_000_000.0
REVISION = Revision(
    "5f2ed9b0",
    7,
    "v4:" + "0" * 64,
    "web-im5f2ed9b0",
    "r7",
    verdict=Verdict(Phase.GOOD),
    author="ci",
)
GOOD = Fact(FactType.GOOD, "r7", "1800000000", REVISION, "Completed", "revision 7 is good", NOW)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def key() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def facts(count: int) -> list[Fact]:
    return [replace(GOOD, key=str(number)) for number in range(count)]


class Bed:
    """A receiver that answers as scripted, then with 204; and the sender under test."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "key"
        self.key = key()
        self.file.write_text(self.key)
        self.answers: list[Answer | int | tuple[int, str]] = []
        self.got: list[dict[str, Any]] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.at: list[float] = []
        self.metrics = Metrics()
        self.logs: list[Any] = []
        self.trust: Pair | None = None
        self.folder = folder
        self.most, self.give_up = 1000, 3600.0
        self.options: dict[str, Any] = {"allow_http": True}
        self.sender = Notifications(None, self.metrics)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.at.append(time.monotonic())
        self.requests.append((dict(request.headers), body))
        self.got.append(json.loads(body))
        said = self.answers.pop(0) if self.answers else 204
        if callable(said):
            return await said(request)
        status, after = said if isinstance(said, tuple) else (said, "")
        return web.Response(status=status, headers={"Retry-After": after} if after else {})

    def run(self, story: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            app = web.Application()
            app.router.add_post("/events", self._answer)
            server = TestServer(app, scheme="https" if self.trust else "http")
            await server.start_server(ssl=self._shown(self.trust) if self.trust else None)
            self.sender = self.new(str(server.make_url("/events")))
            task = asyncio.create_task(self.sender.run())
            try:
                with capture_logs() as self.logs:
                    await story()
            finally:
                task.cancel()
                await server.close()

        asyncio.run(run())

    def _shown(self, pair: Pair) -> ssl.SSLContext:
        """What the receiver shows to those who connect."""
        file = self.folder / "receiver.pem"
        file.write_text(pair.certificate + pair.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def new(self, url: str) -> Notifications:
        options = NotifyOptions(url=url, key_file=self.file, **self.options)
        quick = Backoff(0.01, 0.02)
        return Notifications(
            options, self.metrics, lambda: NOW, retry=quick, give_up=self.give_up, most=self.most
        )

    def count(self, result: str) -> float:
        value = self.metrics.registry.get_sample_value(
            "immutable_notifications_total", {"result": result}
        )
        assert value is not None
        return value

    def waiting(self) -> float:
        value = self.metrics.registry.get_sample_value("immutable_notifications_waiting")
        assert value is not None
        return value

    async def until(self, result: str, count: int = 1) -> None:
        await until(lambda: self.count(result) == count)


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def test_event_is_a_cloud_event_that_says_what_happened_to_which_revision(bed: Bed) -> None:
    async def story() -> None:
        bed.sender.note(SERVICE, [GOOD])
        await bed.until("sent")

    bed.run(story)
    [event] = bed.got
    assert event.pop("id").startswith("good-")
    assert event == {
        "specversion": "1.0",
        "source": "/immutable-operator",
        "type": "dev.immutable.revision.good",
        "subject": "shop/web/5f2ed9b0",
        "time": "2027-01-15T08:00:00.000000Z",
        "datacontenttype": "application/json",
        "data": {
            "kind": "ImmutableService",
            "namespace": "shop",
            "name": "web",
            "revision": {"number": 7, "id": "5f2ed9b0", "author": "ci"},
            "instance": "",
            "reason": "Completed",
            "message": "revision 7 is good",
            "by": "",
        },
    }
    [(headers, _)] = bed.requests
    assert headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert bed.waiting() == 0


def test_signature_is_what_a_receiver_computes_from_the_key(bed: Bed) -> None:
    """Computed here from the rule, and by the receiver in the examples."""

    async def story() -> None:
        bed.sender.note(SERVICE, [GOOD])
        await bed.until("sent")

    bed.run(story)
    [(headers, body)] = bed.requests
    assert headers["webhook-id"] == bed.got[0]["id"]
    assert headers["webhook-timestamp"] == str(int(NOW))
    raw = base64.b64decode(bed.key.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{int(NOW)}.".encode() + body
    digest = base64.b64encode(hmac.new(raw, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert verified(headers, body, bed.key, NOW)
    assert not verified(headers, body + b" ", bed.key, NOW)
    assert not verified(headers, body, key(), NOW)
    assert not verified(headers, body, bed.key, NOW + 301), "a recorded request is refused later"
    assert not verified({}, body, bed.key, NOW)


def test_fact_is_sent_once_and_by_the_next_leader_under_the_same_id(bed: Bed) -> None:
    async def story() -> None:
        for _ in range(3):
            bed.sender.note(SERVICE, [GOOD])
        await bed.until("sent")
        url = f"http://{bed.requests[0][0]['Host']}/events"
        successor = bed.new(url)
        task = asyncio.create_task(successor.run())
        long_ago = replace(GOOD, key="1", at=NOW - 3600)
        successor.note(SERVICE, [long_ago, GOOD])
        successor.note(SERVICE, [long_ago, GOOD])
        await bed.until("sent", 2)
        successor.note(SERVICE, [replace(GOOD, key="2")])
        await bed.until("sent", 3)
        task.cancel()

    bed.run(story)
    first, again, new = (event["id"] for event in bed.got)
    assert first == again != new
    assert bed.requests[0][1] == bed.requests[1][1], "the whole body is the same"


def test_only_chosen_events_are_sent(bed: Bed) -> None:
    bed.options["events"] = frozenset({FactType.FAILED})

    async def story() -> None:
        bed.sender.note(SERVICE, [GOOD, replace(GOOD, type=FactType.FAILED)])
        await bed.until("sent")

    bed.run(story)
    assert [event["type"] for event in bed.got] == ["dev.immutable.revision.failed"]


@pytest.mark.parametrize("status", [500, 503, 408, 429])
def test_failure_that_may_pass_is_retried_in_the_same_order(bed: Bed, status: int) -> None:
    bed.answers = [status, status]

    async def story() -> None:
        bed.sender.note(SERVICE, facts(2))
        await bed.until("sent", 2)

    bed.run(story)
    ids = [event["id"] for event in bed.got]
    assert ids == [ids[0]] * 3 + [ids[3]]
    assert len(set(ids)) == 2
    assert bed.count("failed") == 0


@pytest.mark.parametrize("status", [400, 401, 404, 410, 301])
def test_request_that_is_refused_is_not_repeated(bed: Bed, status: int) -> None:
    bed.answers = [status]

    async def story() -> None:
        bed.sender.note(SERVICE, facts(2))
        await bed.until("sent")

    bed.run(story)
    assert len({event["id"] for event in bed.got}) == len(bed.got) == 2
    assert bed.count("failed") == 1


@pytest.mark.parametrize(
    "after", ["1", format_datetime(datetime.fromtimestamp(NOW + 1, UTC), usegmt=True)]
)
def test_receiver_says_when_to_try_again(bed: Bed, after: str) -> None:
    bed.answers = [(503, after)]

    async def story() -> None:
        bed.sender.note(SERVICE, [GOOD])
        await bed.until("sent")

    bed.run(story)
    first, second = bed.at
    assert second - first >= 1.0


@pytest.mark.parametrize("after", ["-5", "soon", "9" * 400])
def test_nonsense_in_retry_after_does_no_harm(bed: Bed, after: str) -> None:
    bed.answers = [(503, after)]
    bed.give_up = 0.05

    async def story() -> None:
        bed.sender.note(SERVICE, facts(2))
        await until(lambda: bed.count("sent") + bed.count("failed") == 2)

    bed.run(story)


def test_event_is_given_up_and_the_next_one_sent(bed: Bed) -> None:
    bed.answers = [500] * 100
    bed.give_up = 0.1

    async def story() -> None:
        bed.sender.note(SERVICE, [GOOD])
        await bed.until("failed")
        bed.answers.clear()
        bed.sender.note(SERVICE, facts(1))
        await bed.until("sent")

    bed.run(story)
    [problem] = [entry for entry in bed.logs if entry["log_level"] == "warning"]
    assert problem["event"] == "notifications cannot be sent"
    assert problem["error"] == "the receiver answered 500"
    [recovery] = [entry for entry in bed.logs if entry["log_level"] == "info"]
    assert recovery["event"] == "notifications can be sent again"


def test_full_queue_drops_the_oldest_and_nobody_waits_for_a_slow_receiver(bed: Bed) -> None:
    free = asyncio.Event()
    bed.most = 3

    async def slow(request: web.Request) -> web.StreamResponse:
        await free.wait()
        return web.Response(status=204)

    bed.answers = [slow]

    async def story() -> None:
        sent = facts(6)
        bed.sender.note(SERVICE, sent[:1])
        await until(lambda: len(bed.got) == 1)
        bed.sender.note(SERVICE, sent[1:])  # returns although the receiver does not answer
        assert bed.count("dropped") == 2
        assert bed.waiting() >= 3
        free.set()
        await bed.until("sent", 4)
        assert bed.waiting() == 0

    bed.run(story)
    assert len({event["id"] for event in bed.got}) == 4


def test_receiver_without_an_answer_is_left_after_the_timeout(bed: Bed) -> None:
    bed.options["timeout"] = 0.2

    async def never(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    bed.answers = [never]

    async def story() -> None:
        bed.sender.note(SERVICE, [GOOD])
        await bed.until("sent")

    bed.run(story)
    assert bed.logs[0]["error"] == "no answer within 0.2 s"


def test_key_is_read_again_and_two_keys_sign_twice(bed: Bed) -> None:
    old, new = bed.key, key()

    async def story() -> None:
        bed.sender.note(SERVICE, facts(1))
        await bed.until("sent")
        bed.file.write_text(f"{old}\n{new}\n")
        bed.sender.note(SERVICE, facts(2))
        await bed.until("sent", 2)
        bed.file.write_text(new)
        bed.sender.note(SERVICE, facts(3))
        await bed.until("sent", 3)

    bed.run(story)
    accepted = [[verified(h, b, k, NOW) for k in (old, new)] for h, b in bed.requests]
    assert accepted == [[True, False], [True, True], [False, True]]


@pytest.mark.parametrize("text", ["", "swordfish", "whsec_c2hvcnQ=", "whsec_***", "ä\0"])
def test_event_waits_for_a_valid_key_which_no_log_shows(bed: Bed, text: str) -> None:
    bed.file.write_bytes(text.encode("latin-1"))

    async def story() -> None:
        bed.sender.note(SERVICE, [GOOD])
        await until(lambda: bool(bed.logs))
        assert bed.got == []
        bed.file.write_text(bed.key)
        await bed.until("sent")

    bed.run(story)
    assert not text or text not in str(bed.logs)


def test_missing_key_is_told_and_waited_for(bed: Bed) -> None:
    bed.file.unlink()

    async def story() -> None:
        bed.sender.note(SERVICE, [GOOD])
        await until(lambda: bool(bed.logs))
        bed.file.write_text(bed.key)
        await bed.until("sent")

    bed.run(story)
    assert "FileNotFoundError" in bed.logs[0]["error"]


@pytest.mark.parametrize(
    ("url", "allow", "problem"),
    [
        ("http://receiver.example/", False, "not encrypted"),
        ("ftp://receiver.example/", True, "is not a URL"),
        ("receiver.example", True, "is not a URL"),
        ("https://", True, "is not a URL"),
    ],
)
def test_address_that_cannot_work_is_refused_at_the_start(
    tmp_path: Path, url: str, allow: bool, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        NotifyOptions(url, tmp_path / "key", allow_http=allow)


def pair() -> Pair:
    return issue(["127.0.0.1", "localhost"], datetime.now(UTC), timedelta(hours=1))


def test_receiver_is_trusted_by_a_ca_file_which_is_read_again(bed: Bed) -> None:
    bed.trust = pair()
    file = bed.folder / "ca.pem"
    file.write_text(pair().authority)
    bed.options = {"ca_file": file}

    async def story() -> None:
        bed.sender.note(SERVICE, [GOOD])
        await until(lambda: bool(bed.logs))
        assert bed.got == []
        assert bed.trust is not None
        file.write_text(bed.trust.authority)
        os.utime(file, (NOW, NOW))
        await bed.until("sent")

    bed.run(story)
    assert "CERTIFICATE_VERIFY_FAILED" in bed.logs[0]["error"]


def test_receiver_of_an_unknown_ca_gets_nothing(bed: Bed) -> None:
    bed.trust = pair()
    bed.options, bed.give_up = {}, 0.05

    async def story() -> None:
        bed.sender.note(SERVICE, [GOOD])
        await bed.until("failed")

    bed.run(story)
    assert bed.got == []


def test_log_has_the_host_of_the_address_and_not_its_path(bed: Bed) -> None:
    bed.answers = [500]

    async def story() -> None:
        bed.sender.note(SERVICE, [GOOD])
        await bed.until("sent")

    bed.run(story)
    assert bed.logs[0]["receiver"] == "127.0.0.1"
    assert "/events" not in str(bed.logs)


def test_example_prints_each_event_of_the_operator_once(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECEIVER_KEY", bed.key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    fact = replace(GOOD, at=time.time())

    async def run() -> None:
        for number in (1, 2):  # the second one is the next leader
            options = NotifyOptions(url, bed.file, allow_http=True)
            sender = Notifications(options, bed.metrics)
            task = asyncio.create_task(sender.run())
            sender.note(SERVICE, [fact])
            await bed.until("sent", number)
            task.cancel()

    try:
        asyncio.run(run())
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    said = "dev.immutable.revision.good shop/web/5f2ed9b0 revision 7 is good\n"
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--notify-url=https://receiver.example/"], "needs --notify-key-file"),
        (
            [
                "--notify-url=https://x.example/",
                "--notify-key-file=k",
                "--notify-timeout-seconds=0",
            ],
            "must be more than 0",
        ),
    ],
)
def test_flags_that_cannot_work_are_refused_at_the_start(flags: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        _notify_options(_parser().parse_args(["run", *flags]))


def test_without_an_address_nothing_is_sent_and_without_events_all_are() -> None:
    assert _notify_options(_parser().parse_args(["run"])) is None
    flags = ["--notify-url=https://receiver.example/", "--notify-key-file=k"]
    options = _notify_options(_parser().parse_args(["run", *flags]))
    assert options is not None
    assert options.events == frozenset(FactType)
