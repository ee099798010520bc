"""One line for the person who waits: chapter, run, time left; the log has the rest."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TextIO

from tqdm import tqdm

from qstudy.study import runner
from qstudy.study.plan import spoken
from qstudy.study.tree import StudyError, work_root

_KEPT_LOGS = 20
_SECONDS_BETWEEN_LINES = 30


@contextmanager
def log_of(command: str) -> Iterator[TextIO]:
    """A new file work/logs/COMMAND-TIME.log; where the body fails, its end is told.

    The last 20 logs are kept. Raises StudyError where the work tree cannot be written,
    and passes the body's StudyError on with the path of the log.
    """
    folder = work_root() / "logs"
    path = folder / f"{command}-{datetime.now():%Y%m%d-%H%M%S-%f}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # To its end, as the processes do that compute the runs.
        log = open(path, "a", encoding="utf-8")  # noqa: SIM115, closed below
    except OSError as error:
        raise StudyError(
            f"cannot write {path}: {error.strerror}; set QSTUDY_WORK to a folder that "
            "can be written"
        ) from error
    for old in sorted(folder.glob(f"{command}-*.log"))[:-_KEPT_LOGS]:
        old.unlink(missing_ok=True)
    try:
        with log:
            yield log
    except StudyError as error:
        told = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in relevant(told):
            runner.say(f"  {line}")
        raise StudyError(f"{error}; the log is {path}") from error


def relevant(lines: Iterable[str], most: int = 10) -> list[str]:
    """The lines that tell of an error, or else the last ones; no progress bars."""
    plain = [line.rstrip() for line in lines if line.strip() and "it/s" not in line]
    plain = [line for line in plain if "\r" not in line and "s/it" not in line]
    telling = [line for line in plain if "WARNING" in line or "ERROR" in line]
    return telling[:most] or plain[-most:]


class Watch:
    """What goes on, as one line on the screen and a heading in the log.

    `seconds` are the expected seconds of the missing runs, by the first 12 digits of
    their keys. On a terminal a bar moves once a second; elsewhere a line is printed for
    each chapter and then at most every half minute.
    """

    def __init__(
        self, log: TextIO, seconds: Mapping[str, float], *, screen: TextIO | None = None
    ) -> None:
        self._log, self._screen = log, screen or sys.stderr
        self._waiting = dict(seconds)
        self._total = sum(seconds.values())
        self._chapter, self._told = "", ""
        self._started, self._expected = time.monotonic(), 0.0
        self._last_line = float("-inf")
        self._bar: tqdm | None = None
        self._stop = threading.Event()
        if self._screen.isatty():
            self._bar = tqdm(
                total=max(self._total, 1.0),
                file=self._screen,
                bar_format="{desc} |{bar:20}| {postfix}",
                dynamic_ncols=True,
                leave=False,
            )
            threading.Thread(target=self._tick, daemon=True).start()

    def chapter(self, words: str) -> None:
        """Name what goes on now; no run of it has begun."""
        self._chapter, self._told, self._expected = words, "", 0.0
        self._log.write(f"== {words}\n")
        self._log.flush()  # other processes write to the same file
        self._show(at_once=True)

    def begun(self, key: str, words: str) -> None:
        """The run whose key begins with `key` has begun, in another process."""
        self._expected = self._waiting.pop(key, 0.0)
        self._started = time.monotonic()
        self._told = words
        self._show()

    def finished(self, key: str, words: str) -> None:
        """The run whose key begins with `key` is done, and was one of several."""
        self._waiting.pop(key, None)
        self._told = words
        self._show()

    def close(self) -> None:
        self._stop.set()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def left(self) -> float:
        """Expected seconds of the runs still to come, and of the rest of this one."""
        gone = time.monotonic() - self._started
        return sum(self._waiting.values()) + max(self._expected - gone, 0.0)

    def line(self) -> str:
        """Chapter, run and time left, as text."""
        words = f"{self._chapter}, {self._told}" if self._told else self._chapter
        return f"{words} ({self._spoken_left()})" if self._spoken_left() else words

    def _spoken_left(self) -> str:
        """Nothing where all runs are done: how long the book takes is not recorded."""
        return f"{spoken(self.left())} left" if self.left() >= 1 else ""

    def _show(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if self._bar is not None:
            name = f"{self._chapter} {self._told.partition(':')[0]}".strip()
            self._bar.set_description_str(name, refresh=False)
            words = f"{self._spoken_left()} {self._told.partition(': ')[2]}".strip()
            self._bar.set_postfix_str(words, refresh=False)
            self._bar.n = min(max(self._total - self.left(), 0.0), self._bar.total)
            self._bar.refresh()
        elif at_once or now - self._last_line >= _SECONDS_BETWEEN_LINES:
            print(self.line(), file=self._screen, flush=True)
            self._last_line = now

    def _tick(self) -> None:
        while not self._stop.wait(1.0):
            self._show()
