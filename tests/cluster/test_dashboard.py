"""`kubectl immutable dashboard` against the real API server, without a browser.

`make browser` opens its page: see tests/cluster/browser.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.dashboards import Dashboard, Relay, dashboard
from tests.cluster.operator_process import Operators
from tests.cluster.plugin import ask, run
from tests.cluster.services import Service, names
from tests.controlplane import ControlPlane


@pytest.fixture(scope="module")
def shown(
    control_plane: ControlPlane, running_operators: Operators, module_namespace: str
) -> Iterator[tuple[Service, Dashboard]]:
    """A ready service of two pods, and a dashboard of its namespace."""
    running_operators.main.until_leading()
    web = Service(control_plane, module_namespace, "shown")
    web.apply(image="a", replicas=2)
    web.until_ready()
    with dashboard(control_plane, f"--namespace={web.namespace}") as opened:
        yield web, opened


def bars(event: Any) -> list[Any]:
    view = event["view"]
    return [bar for lane in view["lanes"] for bar in lane["bars"]] if view else []


def path(web: Service) -> str:
    return f"service/{web.namespace}/{web.name}"


def test_page_is_served_with_the_token_only(shown: tuple[Service, Dashboard]) -> None:
    _, opened = shown
    code, page, headers = opened.request()
    assert (code, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<title>Immutable dashboard</title>" in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    for url in (f"http://127.0.0.1:{opened.port}/", f"{opened.url[:-2]}x/"):
        other = Dashboard.__new__(Dashboard)
        other.url = url
        assert other.request()[0] == 403
    assert opened.request(method="POST")[0] == 405
    assert opened.request(host="evil.example")[0] == 403


def test_it_listens_on_the_loopback_address_only(shown: tuple[Service, Dashboard]) -> None:
    _, opened = shown
    wanted = f"{opened.port:04X}"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    rows += [row.split() for row in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{wanted}")]
    assert listening == [f"0100007F:{wanted}"]


def test_stream_lists_services_and_shows_one(shown: tuple[Service, Dashboard]) -> None:
    web, opened = shown
    with opened.stream(path(web)) as stream:
        [row] = stream.until("list", lambda rows: rows)
        assert (row["name"], row["namespace"], row["tone"]) == ("shown", web.namespace, "good")
        view = stream.until("one", lambda event: len(bars(event)) == 2)["view"]
        assert {bar["name"] for bar in bars({"view": view})} == names(web)
        assert [lane["slot"] for lane in view["lanes"]] == [0, 1]
        assert [(r["number"], r["phase"], r["runs"]) for r in view["revisions"]] == [
            (1, "Good", True)
        ]
        assert {c["type"] for c in view["conditions"]} == {"Guarded"}


def test_rollout_is_seen_live_with_the_reason_of_each_end(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    before = names(web)
    with (
        dashboard(web.plane, "web", f"--namespace={web.namespace}") as opened,
        opened.stream(path(web)) as stream,
    ):
        assert opened.address.endswith(f"#/{path(web)}")
        stream.until("one", lambda event: len(bars(event)) == 2)
        web.apply(image="b")
        stream.until("one", lambda e: any(b["lives"] and b["number"] == 2 for b in bars(e)))
        view = stream.until("one", lambda e: sum(not b["lives"] for b in bars(e)) == 2)["view"]
        ended = [bar for bar in bars({"view": view}) if not bar["lives"]]
        assert {bar["name"] for bar in ended} == before
        assert all(bar["endedBecause"].startswith("Outdated: ") for bar in ended)
        assert all(bar["end"] >= bar["born"] for bar in ended)
        assert {bar["endedBy"] for bar in ended} <= {"", "kubectl-client-side-apply"}
        web.until_recorded()
        stream.until("one", lambda e: all(b["endedBy"] for b in bars(e) if not b["lives"]))


def test_failed_revision_freeze_and_deletion_are_shown(web: Service) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    with (
        dashboard(web.plane, f"--namespace={web.namespace}") as opened,
        opened.stream(path(web)) as stream,
    ):
        web.apply(image="b", sim={"fault": "crash-loop"})
        stream.until("one", lambda e: e["view"]["revisions"][0]["phase"] == "Failed")
        stream.until("one", lambda e: e["view"]["tone"] == "bad")
        assert run(web, "freeze", "--for=1h", "--reason=closing").code == 0
        shades = stream.until("one", lambda e: e["view"]["shades"])["view"]["shades"]
        assert [(s["kind"], s["name"], s["reason"]) for s in shades] == [
            ("freeze", web.namespace, "closing")
        ]
        assert run(web, "unfreeze").code == 0
        stream.until("one", lambda e: not e["view"]["shades"])
        web.kubectl("delete", "imsvc", "web", "--wait=false")
        stream.until("one", lambda e: e["view"] is None)


def test_api_server_that_goes_away_is_told_and_news_come_when_it_is_back(
    web: Service, tmp_path: Path
) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    relay = Relay(web.plane)
    file = relay.kubeconfig(tmp_path)
    with (
        dashboard(web.plane, f"-n={web.namespace}", f"--kubeconfig={file}") as opened,
        opened.stream(path(web)) as stream,
    ):
        stream.until("one", lambda event: len(bars(event)) == 1)
        relay.close()
        told = stream.until("link", lambda link: link["trouble"])["trouble"]
        assert told["message"] == "The API server does not answer. The dashboard tries again."
        web.apply(replicas=2)
        relay.open()
        stream.until("link", lambda link: not link["trouble"])
        if len(bars(stream.last["one"])) != 2:
            stream.until("one", lambda event: len(bars(event)) == 2)
    relay.close()


def test_ctrl_c_ends_it_at_once_while_pages_are_open(shown: tuple[Service, Dashboard]) -> None:
    web, _ = shown
    with dashboard(web.plane, f"-n={web.namespace}") as opened, opened.stream() as stream:
        stream.until("list", lambda rows: rows)
        done = opened.interrupt()
        assert (done.code, done.err) == (130, "interrupted\n")


def test_role_view_suffices_and_what_is_refused_is_told(
    shown: tuple[Service, Dashboard],
) -> None:
    web, _ = shown
    stranger = run(web, "dashboard", "--no-browser", actor="dora")
    assert (stranger.code, stranger.out) == (2, "")
    assert stranger.err.startswith("error: permission denied: ")
    assert stranger.err.endswith("; ask for the role view in this namespace\n")
    web.plane.grant("dora", web.namespace, "view")
    with (
        dashboard(web.plane, f"-n={web.namespace}", actor="dora") as opened,
        opened.stream(path(web)) as stream,
    ):
        stream.until("one", lambda event: len(bars(event)) == 2)
        link = stream.last["link"]
        assert {"immutablefreezes", "nodes"} <= set(link["refused"])
        assert link["trouble"] is None


def test_cluster_that_does_not_answer_is_one_sentence(
    shown: tuple[Service, Dashboard], tmp_path: Path
) -> None:
    web, _ = shown
    relay = Relay(web.plane)
    relay.close()
    file = relay.kubeconfig(tmp_path)
    done = ask(web.plane, "dashboard", "--no-browser", f"--kubeconfig={file}")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: cannot reach the API server: ")
    assert len(done.err.splitlines()) == 1


def test_wrong_name_and_port_in_use_are_one_sentence(shown: tuple[Service, Dashboard]) -> None:
    web, _ = shown
    nothing = run(web, "dashboard", "nothing", "--no-browser")
    assert (nothing.code, nothing.out) == (2, "")
    assert nothing.err.startswith("error: there is no ImmutableService nothing in namespace ")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        busy = run(web, "dashboard", "--no-browser", f"--port={port}")
    assert (busy.code, busy.out) == (2, "")
    assert busy.err == (
        f"error: port {port} on 127.0.0.1 is in use; choose another one with --port, or leave it"
        " out for a free one\n"
    )
    wrong = ask(web.plane, "dashboard", "--no-browser", "--port=70000")
    assert wrong.code == 2
    assert "invalid port from 0 to 65535 value: '70000'" in wrong.err
