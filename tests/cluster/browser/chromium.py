"""A headless Chromium, driven over its DevTools protocol: what a person with a browser does."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.waiting import wait_for

__all__ = ["Chromium", "find_chromium"]

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--force-color-profile=srgb", "--hide-scrollbars"),
    "--remote-debugging-port=0",
)
KEYS = {"Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
ANSWER_SECONDS = 30.0


def find_chromium() -> str:
    """Return the program. Raises `RuntimeError` with what to do if there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise RuntimeError(f"none of {', '.join(NAMES)} is installed (Debian: apt install chromium)")


class Chromium:
    """One browser with one page, as a context manager.

    ``problems`` are the errors of the page: exceptions, and what its security policy refused.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last = 0
        self.problems: list[str] = []

    def __enter__(self) -> Self:
        command = [find_chromium(), *ARGUMENTS, f"--user-data-dir={self._folder}", "about:blank"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        file = self._folder / "DevToolsActivePort"
        wait_for("Chromium listens", lambda: len(file.read_text().splitlines()) > 1)
        self._thread.start()
        self._await(self._connect(file.read_text().splitlines()[0]))
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        # Otherwise a page without a window gets no events of focus.
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._await(self._disconnect())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._process.terminate()
        self._process.wait(timeout=20)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def look(self, *, width: int, height: int = 1000, dark: bool = False) -> None:
        """Set the size of the page in CSS pixels, and the color scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def ask(self, expression: str) -> Any:
        """Return the JSON value of an expression in the page; True for an element."""
        value = f"((v) => v instanceof Element || v)({expression})"
        answer = self.call("Runtime.evaluate", expression=value, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, expression: str, timeout: float = 60.0) -> Any:
        """Return the value once it is true."""
        return wait_for(expression, lambda: self.ask(expression), timeout, self.text)

    def press(self, key: str) -> None:
        """Press a key by its name, one of `KEYS`."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                **{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]},
            )

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        result: dict[str, Any] = self._await(self._call(method, parameters))
        return result

    def text(self) -> str:
        """Return what the page says, and its errors."""
        return f"{self.ask('document.body.innerText')}\n{self.problems}"

    def _await(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_SECONDS)

    async def _connect(self, port: str) -> None:
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [p for p in await answer.json() if p["type"] == "page"]
        self._socket = await self._session.ws_connect(
            pages[0]["webSocketDebuggerUrl"], max_msg_size=0
        )
        self._reading = asyncio.create_task(self._read())

    async def _disconnect(self) -> None:
        self._reading.cancel()
        await self._session.close()

    async def _read(self) -> None:
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            elif said["method"] == "Runtime.exceptionThrown":
                self.problems.append(json.dumps(said["params"]["exceptionDetails"]))
            elif said["method"] == "Log.entryAdded":
                entry = said["params"]["entry"]
                # A connection that is refused is no fault of the page.
                if entry["level"] == "error" and entry["source"] != "network":
                    self.problems.append(entry["text"])

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._last += 1
        waiting = self._answers[self._last] = asyncio.get_running_loop().create_future()
        message = {"id": self._last, "method": method, "params": parameters}
        await self._socket.send_str(json.dumps(message))
        said = await waiting
        if "error" in said:
            raise AssertionError(f"{method}: {said['error']}")
        result: dict[str, Any] = said["result"]
        return result
