"""The page of `kubectl immutable dashboard` in a real browser: what a person sees and can do."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.browser.chromium import Chromium
from tests.cluster.dashboards import Dashboard, Relay, dashboard
from tests.cluster.operator_process import Operators
from tests.cluster.plugin import run
from tests.cluster.services import Service, names
from tests.cluster.webhook import grant, member
from tests.controlplane import ControlPlane

BARS = "[...document.querySelectorAll('.bar')]"
TITLES = f"{BARS}.map((g) => g.getAttribute('aria-label'))"
LIVE = "document.getElementById('live')?.textContent === 'live'"
MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"
WINDOW = {"schedule": "*/10 * * * *", "duration": "9m"}


@pytest.fixture(scope="module")
def ready(
    control_plane: ControlPlane, running_operators: Operators, module_namespace: str
) -> Iterator[tuple[Service, Dashboard]]:
    """A service that was rolled out once, and a dashboard of its namespace."""
    running_operators.main.until_leading()
    web = Service(control_plane, module_namespace, "ready")
    web.apply(image="a", replicas=3)
    web.until_ready()
    web.apply(image="b")
    web.until_ready()
    web.until_recorded()
    with dashboard(control_plane, f"--namespace={web.namespace}") as opened:
        yield web, opened


def show(page: Chromium, opened: Dashboard, web: Service) -> None:
    """Open the page of one service, and wait until it shows its bars."""
    page.open(f"{opened.url}#/service/{web.namespace}/{web.name}")
    page.until(LIVE)
    page.until(f"{BARS}.length > 0")


def said(element: str) -> str:
    return f"document.getElementById('{element}').textContent"


def test_rollout_is_watched_live(page: Chromium, web: Service) -> None:
    web.apply(image="a", replicas=3, sim={"ready-delay": "2s"})
    web.until_ready()
    before = names(web)
    with dashboard(web.plane, f"--namespace={web.namespace}") as opened:
        show(page, opened, web)
        page.until(f"{BARS}.length === 3")
        web.apply(image="b")
        page.until("document.querySelectorAll('.tie').length > 0")
        page.until(f"{said('state')}.includes('Replacing')")
        web.until_ready()
        page.until(f"{BARS}.length === 6 && document.querySelectorAll('.tick').length === 3")
        page.until(f"{said('state')}.includes('Ready')")
        ended = [text for text in page.ask(TITLES) if "; ended " in text]
        assert {text.partition(",")[0] for text in ended} == before
        assert all("Outdated: " in text.partition("; ended ")[2] for text in ended)
        fills = f"{BARS}.map((g) => g.querySelector('.box').getAttribute('fill'))"
        assert len(set(page.ask(fills))) == 2


def test_failed_revision_shows_its_verdict_and_what_to_do(page: Chromium, web: Service) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    with dashboard(web.plane, f"--namespace={web.namespace}") as opened:
        show(page, opened, web)
        web.apply(image="b", sim={"fault": "crash-loop"})
        page.until("document.querySelector('#state .bad')")
        page.until(f"{said('verdicts')}.includes('Failed')")
        assert "CrashLoop: " in page.ask(said("verdicts"))
        page.until(f"{said('waits')}.includes('kubectl immutable retry web')")
        page.until(f"{said('legend')}.includes('revision 2, failed')")


def test_freezes_and_windows_are_shaded(page: Chromium, web: Service) -> None:
    web.apply(image="a", replicas=1, spec={"regeneration": {"maxAge": "12h", "windows": [WINDOW]}})
    web.until_ready()
    with dashboard(web.plane, f"--namespace={web.namespace}") as opened:
        show(page, opened, web)
        page.until("document.querySelector('.band-window')")
        assert page.ask("document.querySelector('.band-freeze')") is None
        run(web, "freeze", "--for=1h", f"--reason={MARKUP}")
        page.until("document.querySelector('.band-freeze')")
        web.apply(image="b")
        page.until("document.querySelector('#state .held')")
        # The reason is text: no element came from it, and no script of it ran.
        page.until(f"{said('said')}.includes({MARKUP!r})")
        assert MARKUP in page.ask("document.querySelector('.cap-freeze').textContent")
        assert page.ask("document.querySelectorAll('img, script:not([nonce])').length") == 0
        run(web, "unfreeze")
        page.until("!document.querySelector('.band-freeze')")


def test_hostile_names_of_writers_are_text(page: Chromium, web: Service) -> None:
    manifest = json.dumps(web.wish.manifest(web.name, web.namespace))
    web.plane.kubectl(
        "apply", "--server-side", f"--field-manager={MARKUP}", "-f", "-", stdin=manifest
    )
    web.until_ready()
    with dashboard(web.plane, f"--namespace={web.namespace}") as opened:
        show(page, opened, web)
        page.until(f"{said('verdicts')}.includes({MARKUP!r})")
        assert page.ask("document.querySelectorAll('img, script:not([nonce])').length") == 0


def test_bars_are_read_with_the_keyboard(page: Chromium, ready: tuple[Service, Dashboard]) -> None:
    web, opened = ready
    show(page, opened, web)
    page.until(f"{BARS}.length === 6")
    page.ask("document.querySelector('#ranges button:last-child').focus()")
    page.press("Tab")
    first = page.until("document.activeElement.dataset.uid")
    page.until(f"{said('picked')}.includes('Created')")
    page.press("ArrowDown")
    second = page.ask("document.activeElement.dataset.uid")
    assert second
    assert second != first
    name = page.ask("document.activeElement.getAttribute('aria-label')").partition(",")[0]
    assert page.ask(said("picked")).startswith(name)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 768, 1280, 2000])
def test_page_fits_each_width(
    page: Chromium, ready: tuple[Service, Dashboard], width: int, dark: bool
) -> None:
    web, opened = ready
    page.look(width=width, dark=dark)
    show(page, opened, web)
    assert page.ask("document.documentElement.scrollWidth") <= width
    assert page.ask(f"{BARS}.every((g) => g.getBoundingClientRect().right <= innerWidth)")
    page.open(f"{opened.url}#/")
    page.until("document.querySelectorAll('#rows a').length === 1")
    assert page.ask("document.documentElement.scrollWidth") <= width
    faint = page.ask(FAINT_TEXTS)
    assert faint == [], "contrast below 4.5"


# The visible texts whose contrast with their background is below 4.5 (WCAG 2, AA).
FAINT_TEXTS = """(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")].filter((e) => !e.closest("svg, [hidden]"))
    .filter((e) => e.offsetParent)
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .filter((e) => {
      const both = [light(rgb(getComputedStyle(e).color)), light(behind(e))];
      return (Math.max(...both) + .05) / (Math.min(...both) + .05) < 4.5;
    }).map((e) => e.textContent);
})()"""


def test_page_says_that_the_command_has_ended(page: Chromium, web: Service) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    with dashboard(web.plane, f"--namespace={web.namespace}") as opened:
        show(page, opened, web)
        opened.interrupt()
        page.until(f"{said('banner')}.includes('has ended, or does not answer')")
        assert page.ask(said("live")) == "not live"


def test_page_says_that_the_api_server_is_away_and_goes_on_when_it_is_back(
    page: Chromium, web: Service, tmp_path: Path
) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    relay = Relay(web.plane)
    file = relay.kubeconfig(tmp_path)
    with dashboard(web.plane, f"-n={web.namespace}", f"--kubeconfig={file}") as opened:
        show(page, opened, web)
        relay.close()
        page.until(f"{said('banner')}.startsWith('The API server does not answer.')")
        web.apply(replicas=2)
        relay.open()
        page.until(f"{BARS}.length === 2")
        page.until("document.getElementById('banner').hidden")
        relay.close()


@pytest.mark.timeout(600)
def test_story_of_a_service_is_seen_at_a_glance(
    page: Chromium, web: Service, tmp_path: Path
) -> None:
    """``SCREENSHOT=docs/images/dashboard.png`` also writes the picture of the documentation."""
    web = Service(web.plane, web.namespace, "checkout")
    grant(web)
    slow = {"ready-delay": "3s", "terminate-delay": "1s"}
    windows = {"regeneration": {"maxAge": "12h", "windows": [WINDOW]}}
    web.apply(image="a", replicas=4, sim=slow, spec=windows)
    web.until_ready()
    with dashboard(web.plane, f"--namespace={web.namespace}") as opened:
        show(page, opened, web)
        web.apply(image="b")
        web.until_ready()
        broken, tired, *_ = sorted(names(web))
        web.kubectl(*member(), "exec", broken, "--", "true", check=False)
        page.until(f"{TITLES}.some((t) => /; ended .*Tainted/.test(t))")
        run(web, "regenerate", "checkout", f"--instance={tired}", "--reason=memory", "--wait")
        page.until(f"{TITLES}.some((t) => /; ended .*Requested/.test(t))")
        web.apply(image="c", sim={"fault": "crash-loop"})
        page.until(f"{said('verdicts')}.includes('CrashLoop')")
        web.until_stalled("RolledBack")
        run(web, "freeze", "--for=30s", "--reason=closing of the books")
        web.apply(image="d", sim=slow)
        page.until("document.querySelector('#state .held')")
        page.until(f"{TITLES}.some((t) => t.includes('revision 4'))")
        page.until("document.querySelectorAll('.tick').length > 8")
        web.until_ready()
        page.until(f"{said('state')}.includes('Ready')")
        tainted = r"/; ended .*Tainted/.test(g.getAttribute('aria-label'))"
        page.ask(f"{BARS}.find((g) => {tainted}).focus()")
        page.until(f"{said('picked')}.includes('Successor')")
        picture = tmp_path / "dashboard.png"
        page.screenshot(picture)
    assert picture.stat().st_size < 300_000
    if asked := os.environ.get("SCREENSHOT"):
        shutil.copyfile(picture, asked)
