"""The command: help with an example, one-line errors, exit codes."""

import json
import shutil
import subprocess
import sys

import pytest

from qstudy.claims import entries
from qstudy.report.absent import NOT_MEASURED
from qstudy.study import cli, runner
from qstudy.study.store import Store
from qstudy.study.tree import repository


@pytest.fixture
def command(monkeypatch, capsys, tmp_path, toys):
    """Run `qstudy ...` in this process; return (exit code, stdout, stderr)."""
    (tmp_path / "results").mkdir()
    monkeypatch.setenv("QSTUDY_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("QSTUDY_RESULTS", str(tmp_path / "results"))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["qstudy", *arguments])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return call


COMMANDS = [
    *("plan", "run", "collect", "verify", "publish"),
    *("data", "doctor", "study", "book", "pdf", "cite", "bench", "claims"),
]


NUMBER = {"value": 0.05, "unit": "pp", "low": -0.07, "high": 0.17, "n": 10000}


def test_a_number_is_cited_and_an_unknown_key_answered_with_the_nearest(
    command, tmp_path
):
    path = tmp_path / "results" / "numbers.json"
    path.write_text(json.dumps({"toy.net.drop": {**NUMBER, "runs": ["a" * 64]}}))
    code, out, _ = command("cite", "toy.net.drop")
    assert code == 0
    lines = out.splitlines()
    assert "interval  [-0.07, 0.17] (95 %)" in lines and "n         10,000" in lines
    assert f"repeat    qstudy run --only {'a' * 12}" in lines
    assert "Number toy.net.drop. In: qstudy: a reproducible study" in out
    assert "@misc{qstudy-" in out
    code, out, err = command("cite", "toy.net.dorp")
    assert code == 1 and out == "" and err.count("\n") == 1
    assert "the nearest of all known keys (1): toy.net.drop" in err


def test_a_number_that_was_not_measured_is_not_cited(command, tmp_path):
    path = tmp_path / "results" / "numbers.json"
    path.write_text(json.dumps({"toy.net.drop": {"value": NOT_MEASURED}}))
    code, out, err = command("cite", "toy.net.drop")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "number 'toy.net.drop' is not measured in this tree" in err


def test_a_claim_is_told_and_an_unknown_one_answered_with_the_nearest(
    command, tmp_path
):
    table = repository() / "results" / "tables" / entries.FILE
    (tmp_path / "results" / "tables").mkdir()
    shutil.copy(table, tmp_path / "results" / "tables")
    code, out, _ = command("claims", "deck.size")
    assert code == 0 and "claim            An int8 network needs a quarter" in out
    code, out, _ = command("claims")
    assert code == 0 and len(out.splitlines()) == len(entries.ALL)
    code, out, err = command("claims", "deck.sise")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "claim 'deck.sise' is not one of" in err and "nearest: deck.size" in err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example(command, name):
    code, out, _ = command(name, "--help")
    assert code == 0 and f"Example: qstudy {name}" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--mode", "fast"], "mode 'fast' is not one of"),
        (["run", "--experiment", "nope"], "experiment 'nope' is not one of ('toy',)"),
        (["run", "--only", "zzzz"], "matches 0 runs"),
        (["run", "--shard", "9/2"], "is not i/n"),
        (["verify", "/nowhere", "/nowhere"], "is no results tree"),
        (["collect", "--tree", "/nowhere"], "is not a folder"),
        (["study", "--mode", "smoke"], "mode 'smoke' is not one of"),
        (["bench", "nowhere:net", "--input", "1x4"], "model 'nowhere:net' cannot be"),
        (["bench", "a:b", "--input", "4"], "input '4' is not a shape like"),
        (["bench", "a:b", "--input", "1x4", "--threads", "0"], "threads 0 is not"),
    ],
)
def test_bad_input_is_one_line_and_fails(command, arguments, words):
    code, _, err = command(*arguments)
    assert code == 1
    assert err.startswith("qstudy: ") and words in err and err.count("\n") == 1


def test_a_wrong_call_exits_with_2(command):
    code, _, err = command("run", "--nope")
    assert code == 2 and "--nope" in err


def test_run_plan_and_verify(command, tmp_path):
    code, out, _ = command("plan", "--mode", "full")
    assert code == 0 and "8 of 8 runs are missing" in out
    assert command("run", "--mode", "full", "--shard", "1/2")[0] == 0
    assert "4 of 8 runs are missing" in command("plan", "--mode", "full")[1]
    assert command("run", "--mode", "full")[0] == 0
    work = str(tmp_path / "work")
    code, out, _ = command("verify", work, work)
    assert code == 0 and "compared    8, agreeing    8" in out


def test_verify_exits_with_1_and_names_what_differs(command, tmp_path, toys):
    command("run", "--mode", "full")
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "work", other)
    path = other / "runs" / "toy" / f"{toys.spec(3).key}.json"
    record = json.loads(path.read_text())
    record["values"]["count"]["value"] = 5000
    path.write_text(json.dumps(record))
    code, out, _ = command("verify", str(tmp_path / "work"), str(other))
    assert code == 1 and "differs: toy" in out and "found 5000" in out


def test_a_damaged_record_stops_the_run_in_one_line(command, tmp_path, toys):
    command("run", "--mode", "full")
    path = tmp_path / "work" / "runs" / "toy" / f"{toys.spec(3).key}.json"
    path.write_text("{")
    code, _, err = command("run", "--mode", "full")
    assert code == 1 and "is damaged" in err and err.count("\n") == 1


def test_ctrl_c_says_how_to_resume(command, monkeypatch, toys):
    def interrupted(spec, ctx):
        raise KeyboardInterrupt

    monkeypatch.setattr(toys, "run", interrupted)
    code, _, err = command("run", "--mode", "full")
    assert code == 130 and "the same command resumes" in err


def test_the_installed_command_runs():
    done = subprocess.run(
        [sys.executable, "-m", "qstudy", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "publish" in done.stdout


def test_a_data_folder_that_is_not_there_is_refused_even_where_no_data_is_read(command):
    code, _, err = command("run", "--data-dir", "/nope")
    assert code == 1 and "data folder /nope" in err and err.count("\n") == 1


def test_study_offers_the_modes_that_it_takes(command):
    _, out, _ = command("study", "--help")
    assert "quick, full" in out and "smoke" not in out


def test_the_plan_sums_each_chapter(command, tmp_path, toys):
    results = Store(tmp_path / "results")
    runner.run_missing(toys.grid("full"), work=results, results=results)
    _, out, _ = command("plan", "--mode", "quick")
    assert "toy:        8 of 8 runs are missing, about " in out
    # The published runs are full-sized: they say nothing of smoke runs.
    _, out, _ = command("plan", "--mode", "smoke")
    assert out.endswith("in all:     8 of 8 runs are missing, 8 of unknown length\n")


def test_collect_says_what_it_takes_over(command, tmp_path, toys, monkeypatch):
    published = tmp_path / "checkout" / "results"
    monkeypatch.setattr(cli, "repository", lambda: published.parent)
    runner.run_missing(
        toys.grid("full"), work=Store(published), results=Store(published)
    )
    tree = tmp_path / "empty"
    tree.mkdir()
    *_, err = command("collect", "--tree", str(tree))
    assert "toy: 8 records, 8 of them taken over from results/" in err
    assert "nothing in" in err and "it now shows published figures" in err
    runner.run_one(toys.spec(2), work=Store(tree), results=Store(published))
    *_, err = command("collect", "--tree", str(tree))
    assert "toy: 8 records, 7 of them taken over" in err and "nothing in" not in err


def test_collect_refuses_a_folder_of_something_else(command, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").touch()
    code, _, err = command("collect", "--tree", str(tmp_path / "letters"))
    assert code == 1 and "is no results tree" in err
    assert len(list((tmp_path / "letters").iterdir())) == 1


def test_verify_keeps_what_agreed(command, filled, tmp_path):
    published = tmp_path / "kept"
    shutil.copytree(filled["work"].root, published)
    arguments = ("verify", str(published), str(filled["work"].root))
    assert command(*arguments)[0] == 0 and not (published / "agreement").exists()
    code, _, err = command(*arguments, "--keep")
    assert code == 0 and "'qstudy collect' puts it into the numbers" in err
    assert len(list((published / "agreement").glob("*.json"))) == 1
