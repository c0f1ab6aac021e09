"""A real Chromium without a window, driven through its DevTools protocol."""

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest
import websocket

from tests.processes import started

__all__ = ["Browser", "find_chromium"]

_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --remote-debugging-port=0 --remote-allow-origins=*"
).split()


def find_chromium():
    """Returns the path of the browser; skips the test where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no chromium to look at the page; on Debian: apt-get install chromium")
    return found


class Browser:
    """One tab; use it in a `with` block.

    Attributes:
        requests: addresses of everything that the page has asked for.
        errors: what the page wrote to its console as an error, and its exceptions.
    """

    def __init__(self, width=1200, height=900):
        self.requests, self.errors = [], []
        self._numbers = itertools.count(1)
        self._ends = contextlib.ExitStack()
        self._size = width, height

    def __enter__(self):
        folder = self._ends.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        command = [find_chromium(), *_FLAGS, f"--user-data-dir={folder}", "about:blank"]
        self._ends.enter_context(started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        port_file = Path(folder) / "DevToolsActivePort"
        _until(lambda: port_file.is_file() and port_file.read_text().count("\n") >= 1, "the browser to start")
        port = port_file.read_text().split()[0]
        # Loopback never goes through a proxy.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
            tab = next(tab for tab in json.load(answer) if tab["type"] == "page")
        self._socket = websocket.create_connection(tab["webSocketDebuggerUrl"], timeout=60, http_no_proxy=["127.0.0.1"])
        self._ends.callback(self._socket.close)
        for domain in ("Page", "Network", "Runtime", "DOM", "Log"):
            self.send(f"{domain}.enable")
        self.resize(*self._size)
        return self

    def __exit__(self, *_):
        self._ends.close()

    def send(self, method, **parameters):
        """Sends a command of the protocol; returns its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._note(message)

    def open(self, url):
        """Goes to a page."""
        self.send("Page.navigate", url=url)

    def resize(self, width, height):
        """Sets the size of the window's inside in CSS pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def evaluate(self, expression):
        """Returns the value of a JavaScript expression, a promise's when it is there."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, expression, timeout=60):
        """Waits until a JavaScript expression is true; returns its value."""
        return _until(lambda: self.evaluate(expression), expression, timeout)

    def upload(self, selector, path):
        """Gives a file to an `<input type=file>`."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def type(self, text):
        """Types into what has the focus."""
        self.send("Input.insertText", text=text)

    def press(self, key, code, modifiers=0):
        """Presses a key: its name and its number, for example `"Enter", 13`; modifiers 8 is Shift."""
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        # With a text, the browser sends the page a `keypress` too, as a keyboard would.
        self.send("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": "\r"} if key == "Enter" else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self, path):
        """Writes a PNG picture of the whole page."""
        found = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(found["data"]))

    def _note(self, message):
        kind, values = message.get("method"), message.get("params", {})
        if kind == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif kind == "Runtime.exceptionThrown":
            self.errors.append(values["exceptionDetails"].get("text", "") + str(values["exceptionDetails"]))
        elif kind == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.errors.append(f"{values['entry']['text']} {values['entry'].get('url', '')}")
        elif kind == "Runtime.consoleAPICalled" and values["type"] == "error":
            self.errors.append(str([argument.get("value") for argument in values["args"]]))


def _until(check, what, timeout=60):
    end = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < end, f"waited {timeout} s for {what}"
        time.sleep(0.05)
