"""One line for the person who waits, everything in the log, its end on failure."""

import io
import re
from pathlib import Path

import pytest

from qstudy.study import plan, progress, runner, whole
from qstudy.study.tree import StudyError
from qstudy.study.verify import Comparison


@pytest.fixture
def home(monkeypatch, tmp_path):
    """The work tree, empty."""
    monkeypatch.setenv("QSTUDY_WORK", str(tmp_path))
    return tmp_path


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_chapter_run_and_time_left_are_told_and_the_log_has_the_chapters(toys):
    screen, log = io.StringIO(), io.StringIO()
    first, second = toys.spec(1), toys.spec(2)
    watch = progress.Watch(
        log, {first.key[:12]: 100.0, second.key[:12]: 30.0}, screen=screen
    )
    watch.chapter("what is timed")
    assert screen.getvalue() == "what is timed (2 min 10 s left)\n"
    watch.begun(first.key[:12], runner.announcement(1, 2, first))
    assert 129 < watch.left() <= 130  # this run's 100 s have just begun
    assert "what is timed, run 1 of 2: toy number=1" in watch.line()
    watch.begun(second.key[:12], runner.announcement(2, 2, second))
    assert 29 < watch.left() <= 30
    assert screen.getvalue().count("\n") == 1
    watch.chapter("the pages")
    watch.close()
    assert log.getvalue() == "== what is timed\n== the pages\n"


def test_of_runs_side_by_side_those_that_are_done_are_told(toys):
    first, second = (toys.spec(n).key[:12] for n in (1, 2))
    watch = progress.Watch(io.StringIO(), {first: 50.0, second: 15.0})
    watch.finished(first, "1 of 2 done: toy")
    assert watch.left() == 15
    watch.close()


def test_a_terminal_gets_a_bar_with_the_same_words(toys):
    screen, spec = Terminal(), toys.spec(1)
    watch = progress.Watch(io.StringIO(), {spec.key[:12]: 65.0}, screen=screen)
    watch.chapter("what is timed")
    watch.begun(spec.key[:12], runner.announcement(1, 1, spec))
    watch.close()
    assert "what is timed run 1 of 1 |" in screen.getvalue()
    assert re.search(r"1 min 0\d s left toy number=1", screen.getvalue())


def test_the_log_takes_what_other_processes_write_to_it(home):
    with progress.log_of("study") as log:
        watch = progress.Watch(log, {}, screen=io.StringIO())
        watch.chapter("the runs")
        with open(log.name, "a") as other:
            other.write("a run speaks\n")
        watch.chapter("the pages")
        watch.close()
    told = Path(log.name).read_text().splitlines()
    assert told == ["== the runs", "a run speaks", "== the pages"]


def test_a_failure_tells_what_matters_and_the_log(home, capsys):
    told = "reading\npage.md:3: WARNING: no such key\n 40%|## | 3.1s/it\n"
    with pytest.raises(
        StudyError, match=r"it broke; the log is .*/logs/book-"
    ) as error:
        fail("book", told, StudyError("it broke"))
    assert capsys.readouterr().err == "  page.md:3: WARNING: no such key\n"
    assert Path(str(error.value).rpartition(" ")[2]).read_text() == told


def fail(command, words, error):
    with progress.log_of(command) as log:
        log.write(words)
        raise error


def test_only_the_last_logs_are_kept(home):
    for _ in range(25):
        with progress.log_of("study"):
            pass
    assert len(list((home / "logs").iterdir())) == 20


def test_a_work_tree_that_cannot_be_made_is_one_line(home):
    (home / "logs").touch()
    with pytest.raises(StudyError, match=r"cannot write .*set QSTUDY_WORK"):
        fail("study", "", AssertionError("the body must not begin"))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.7, "1 min 00 s"), (250, "4 min 10 s"), (7500, "2 h 05 min")],
)
def test_seconds_as_a_person_says_them(seconds, words):
    assert plan.spoken(seconds) == words


def test_the_verdict_names_both_figures_and_the_rule_and_counts():
    def one(agrees):
        return Comparison(
            "toy", "k" * 64, "top1", "exact", 1, 2, "must be equal", agrees
        )

    *lines, last = whole.verdict([one(True), one(False), one(None)])
    assert last == "1 of 2 compared values agree; 1 differ, named above"
    (line,) = lines
    assert "published 1, found 2 (exact: must be equal)" in line
    assert whole.verdict([one(True)]) == ["1 of 1 compared values agree"]
