"""Chromium with a keyboard and a finger: real input, by its protocol over two pipes."""

import fcntl
import json
import os
import select
import subprocess
import time
from contextlib import contextmanager

from tests.book.browser import CHROMIUM, OPTIONS

SECONDS = 120  # a machine may be busy
HEIGHT = 844  # of the screen, in pixels
KEYS = {
    "Enter": {"code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
    "Space": {"key": " ", "code": "Space", "windowsVirtualKeyCode": 32, "text": " "},
    "Escape": {"code": "Escape", "windowsVirtualKeyCode": 27},
    "Tab": {"code": "Tab", "windowsVirtualKeyCode": 9},
    "ArrowRight": {"code": "ArrowRight", "windowsVirtualKeyCode": 39},
}


@contextmanager
def opened(page, profile, *, width=1200, dark=False):
    """A Page of the file `page`, shown on a screen so wide; below 600 it is touched."""
    ours, theirs = os.pipe(), os.pipe()  # to it, from it
    # Chromium listens at 3 and answers at 4; neither may be one of these already.
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (ours[0], theirs[1])]
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={os.fspath(profile)}"]
    command += ["--remote-debugging-pipe", "about:blank"]
    running = subprocess.Popen(
        ["bash", "-c", f'exec "$0" "$@" 3<&{ends[0]} 4>&{ends[1]}', *command],
        pass_fds=ends,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for end in (*ends, ours[0], theirs[1]):
        os.close(end)
    try:
        driven = Page(ours[1], theirs[0])
        driven.show(page, width=width, dark=dark)
        yield driven
    finally:
        running.kill()
        running.wait()
        os.close(ours[1])
        os.close(theirs[0])


class Page:
    """One open page: what it holds, and what a reader does to it."""

    def __init__(self, write, read):
        self._write, self._read = write, read
        self._left, self._number, self._session = b"", 0, None
        made = self.call("Target.createTarget", url="about:blank")
        attached = self.call(
            "Target.attachToTarget", targetId=made["targetId"], flatten=True
        )
        self._session = attached["sessionId"]

    def call(self, method, **params):
        """What the protocol's `method` answers."""
        self._number += 1
        sent = {"id": self._number, "method": method, "params": params}
        if self._session:
            sent["sessionId"] = self._session
        os.write(self._write, json.dumps(sent).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, (method, told["error"])
                return told["result"]

    def _next(self):
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._read], [], [], 1)
            assert ready or time.monotonic() < deadline, "Chromium says nothing"
            if ready:
                came = os.read(self._read, 2**16)
                assert came, "Chromium has ended"
                self._left += came
        first, _, self._left = self._left.partition(b"\0")
        return json.loads(first)

    def show(self, page, *, width, dark=False):
        touched = width < 600
        self.call("Page.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=HEIGHT,
            deviceScaleFactor=1,
            mobile=touched,
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=touched)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        self.until(
            "document.readyState === 'complete' && location.href !== 'about:blank'"
        )

    def run(self, script):
        """What the JavaScript expression `script` gives."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script):
        """Wait until `script` is true."""
        deadline = time.monotonic() + SECONDS
        while not self.run(script):
            assert time.monotonic() < deadline, f"never: {script}"
            time.sleep(0.1)

    def press(self, key, *, shift=False):
        """Press and release one of KEYS, or a letter."""
        told = {"key": key, "modifiers": 8 if shift else 0, **KEYS.get(key, {})}
        if key not in KEYS:
            told["text"] = key
        self.call("Input.dispatchKeyEvent", type="keyDown", **told)
        told.pop("text", None)
        self.call("Input.dispatchKeyEvent", type="keyUp", **told)

    def tap(self, selector, *, x=0.5, y=0.5):
        """Put a finger on an element, at shares of its width and height."""
        self.swipe(selector, (x, x), y)

    def swipe(self, selector, along, y=0.5, *, steps=4):
        """Draw a finger over an element, from one share of its width to another."""
        self.run(
            f"document.querySelector({selector!r}).scrollIntoView({{block:'center'}})"
        )
        box = self.run(
            f"(b => [b.x, b.y, b.width, b.height])"
            f"(document.querySelector({selector!r}).getBoundingClientRect())"
        )
        down = box[1] + box[3] * y
        points = [
            along[0] + (along[1] - along[0]) * i / steps for i in range(steps + 1)
        ]
        places = [(box[0] + box[2] * part, down) for part in points]
        self.touch(*(places if along[0] != along[1] else places[:1]))

    def touch(self, first, *others):
        """Put a finger on a place of the screen, (x, y), move it to others, lift it."""
        self._touch("touchStart", first)
        for place in others:
            self._touch("touchMove", place)
        self._touch("touchEnd")

    def _touch(self, kind, *places):
        points = [{"x": x, "y": y} for x, y in places]
        self.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
