"""A headless Chromium that does what a person does, spoken to through a pipe: no port is opened."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--remote-debugging-pipe",
)  # fmt: skip


class Page:
    """A page of the browser. Errors of its scripts, and what it asked of other hosts, are kept."""

    def __init__(self, wire: _Wire, session: str) -> None:
        self._wire, self._session = wire, session

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._wire.ask(method, parameters, self._session)

    @property
    def complaints(self) -> list[str]:
        return [text for method, item in self._wire.events if (text := _complaint(method, item))]

    @property
    def requested(self) -> list[str]:
        return [item["request"]["url"] for method, item in self._wire.events if method == "Network.requestWillBeSent"]

    def forget(self) -> None:
        """What was complained of and requested so far."""
        self._wire.events.clear()

    def open(self, address: str) -> None:
        self.ask("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        done = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in done:
            raise AssertionError(done["exceptionDetails"])
        return done["result"].get("value")

    def wait(self, condition: str, seconds: float = 60) -> Any:
        """Until an expression is true."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if value := self.run(condition):
                return value
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s: {condition}; {self.complaints}")

    def size(self, width_px: int, height_px: int, dark: bool = False) -> None:
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width_px, height=height_px, deviceScaleFactor=1, mobile=False
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.ask("Emulation.setEmulatedMedia", features=scheme)

    def mouse(self, kind: str, x: float, y: float, buttons: int = 0) -> None:
        pressed = {"button": "left", "clickCount": 1} if kind != "mouseMoved" else {}
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, buttons=buttons, **pressed)

    def click(self, selector: str) -> None:
        """In the middle of an element, as a person would."""
        x, y = self.middle(selector)
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y, 1)
        self.mouse("mouseReleased", x, y)

    def middle(self, selector: str) -> tuple[float, float]:
        box = self.run(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)}); "
            "one.scrollIntoView({block: 'center'}); const box = one.getBoundingClientRect(); "
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        return box[0], box[1]

    def key(self, name: str) -> None:
        text = {"text": "\r"} if name == "Enter" else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=name, code=name, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=name, code=name)

    def type(self, text: str) -> None:
        self.ask("Input.insertText", text=text)

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))


class _Wire:
    def __init__(self, read: int, write: int) -> None:
        self._in, self._out = os.fdopen(read, "rb"), os.fdopen(write, "wb")
        self._next, self._rest = 0, b""
        self.events: list[tuple[str, dict[str, Any]]] = []

    def ask(self, method: str, parameters: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        self._next += 1
        message = {"id": self._next, "method": method, "params": parameters}
        self._out.write(json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        self._out.flush()
        while (answer := self._receive()).get("id") != self._next:
            if "method" in answer:
                self.events.append((answer["method"], answer.get("params", {})))
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return dict(answer["result"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._in.fileno(), 1 << 20)
            assert more, "the browser has ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))


def _complaint(method: str, item: dict[str, Any]) -> str:
    if method == "Runtime.exceptionThrown":
        return str(item["exceptionDetails"].get("exception", {}).get("description", item["exceptionDetails"]["text"]))
    if method == "Log.entryAdded" and item["entry"]["level"] == "error":
        return f"{item['entry']['text']} {item['entry'].get('url', '')}"
    return ""


@contextmanager
def browsing(profile: Path) -> Iterator[Page]:
    """A page of a browser with a profile of its own, ended at the end."""
    to_read, to_write = os.pipe(), os.pipe()

    def wired() -> None:
        os.dup2(os.dup(to_read[0]), 3)
        os.dup2(os.dup(to_write[1]), 4)

    # The pipe's ends are 3 and 4 in the browser, whatever they are here.
    command = [CHROMIUM or "", *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False,
        preexec_fn=wired, env=os.environ | {"HOME": str(profile)},
    )  # fmt: skip
    os.close(to_read[0])
    os.close(to_write[1])
    try:
        wire = _Wire(to_write[0], to_read[1])
        target = wire.ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = wire.ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = Page(wire, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.ask(f"{domain}.enable")
        yield page
    finally:
        process.terminate()
        process.wait(30)
