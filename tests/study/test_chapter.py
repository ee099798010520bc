"""A chapter's parameters: names, types, modes; read mode computes nothing."""

import subprocess
import sys

import pytest

import qstudy
from qstudy.study.tree import StudyError


@pytest.fixture
def trees(tmp_path, monkeypatch, toys):
    (tmp_path / "results").mkdir()
    monkeypatch.setenv("QSTUDY_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("QSTUDY_RESULTS", str(tmp_path / "results"))
    return tmp_path


def test_unknown_mode_names_the_modes(trees):
    with pytest.raises(ValueError, match=r"mode 'fast' is not one of .*'quick'"):
        qstudy.chapter("toy", {"mode": "fast"})


def test_unknown_chapter_names_the_chapters(trees):
    with pytest.raises(ValueError, match=r"experiment 'nope' is not one of"):
        qstudy.chapter("nope", {})


def test_unknown_parameter_is_refused(trees):
    with pytest.raises(ValueError, match=r"parameter 'sed' is not one of"):
        qstudy.chapter("toy", {"mode": "read", "sed": 1})


@pytest.mark.parametrize("given", [{"seed": "1"}, {"mode": 3}, {"seed": True}])
def test_wrong_type_is_refused(trees, given):
    with pytest.raises(TypeError, match=r"is needed"):
        qstudy.chapter("toy", given)


def test_read_mode_refuses_to_change_what_is_computed(trees):
    with pytest.raises(ValueError, match=r"pass -p mode quick"):
        qstudy.chapter("toy", {"seed": 1})


PARAMETERS_CELL = 'mode = "read"\nseed = 0\nresults = ""'
CALL = "import qstudy\n\nstudy = qstudy.chapter('toy', globals())"


def notebook(*cells, **names):
    """The globals of a notebook that has executed `cells` and executes CALL."""
    return {"In": ["", *cells, CALL], "qstudy": qstudy, "get_ipython": 1, **names}


@pytest.mark.parametrize(
    "cells",
    [
        [PARAMETERS_CELL],
        [PARAMETERS_CELL, "# Parameters\nseed = 0\n"],
        [PARAMETERS_CELL, CALL, "study = 3", PARAMETERS_CELL],  # all cells twice
        [PARAMETERS_CELL, CALL, "study = 3"],  # this cell alone once more
        ["frame = 1", PARAMETERS_CELL],
        [],
        ["%matplotlib inline"],
    ],
)
def test_what_else_stands_in_a_notebook_is_no_parameter(trees, cells):
    names = {"study": 3, "frame": 1, "np": 2, "helper": print, "mode": "read"}
    assert qstudy.chapter("toy", notebook(*cells, **names)).mode == "read"


@pytest.mark.parametrize(
    "cells",
    [
        [PARAMETERS_CELL, "# Parameters\nsed = 1\n"],
        [f"{PARAMETERS_CELL}\nsed = 1"],
        [PARAMETERS_CELL, CALL, PARAMETERS_CELL, "# Parameters\nsed = 1\n"],
    ],
)
def test_an_unknown_name_in_a_parameters_cell_is_refused(trees, cells):
    with pytest.raises(ValueError, match=r"parameter 'sed' is not one of"):
        qstudy.chapter("toy", notebook(*cells, mode="read", sed=1))


def test_papermill_marks_its_cell_as_the_chapter_expects():
    from nbformat import v4
    from papermill.parameterize import parameterize_notebook

    made = v4.new_notebook(cells=[v4.new_code_cell("mode = 1")])
    made.cells[0].metadata["tags"] = ["parameters"]
    made.metadata["kernelspec"] = {"name": "python3", "language": "python"}
    made.metadata["papermill"] = {}
    assert (
        parameterize_notebook(made, {"sed": 1})
        .cells[1]
        .source.startswith("# Parameters\n")
    )


def test_smoke_computes_once_and_shows(trees, toys, capsys):
    first = qstudy.chapter("toy", {"mode": "smoke"})
    assert len(first.frame("toy.csv")) == 8
    assert "run 8 of 8" in capsys.readouterr().err
    qstudy.chapter("toy", {"mode": "smoke"})
    assert "all 8 runs are there" in capsys.readouterr().err
    assert first.tree == trees / "work" / "smoke"


def test_own_parameters_do_not_mix_with_the_study(trees):
    own = qstudy.chapter("toy", {"mode": "quick", "seed": 5})
    assert own.tree.parent == trees / "work" / "custom"
    frame = own.frame("toy.csv")
    assert len(frame[frame.seed == 5]) == 8  # and the parent of one, seed as it was
    assert not (trees / "work" / "runs").exists()


def test_what_a_changed_chapter_lacks_is_named_and_stops_nothing(trees):
    own = qstudy.chapter("toy", {"mode": "quick", "seed": 5})
    none = own.frame("toy.csv").iloc[:0]
    assert "tab-x needs runs that mode" in own.table(none, name="tab-x")
    assert "toy_none needs runs that mode 'quick' leaves out" in own.figure("toy_none")
    rest = own.frame("toy_sweeps.csv")
    best = rest[rest.bits == 4].sort_values("drop").iloc[0]
    said = own.table(rest, name="tab-y", caption=f"The best costs {best.drop:.2f} pp.")
    assert "tab-y needs runs that mode 'quick' leaves out" in said
    with pytest.raises(FileNotFoundError, match="toy_none"):
        qstudy.chapter("toy", {"mode": "smoke"}).figure("toy_none")


def test_a_changed_parameter_of_a_mode_that_computes_nothing(trees, toys, monkeypatch):
    monkeypatch.setattr(toys, "grid", lambda mode: [])
    with pytest.raises(StudyError, match=r"'quick' computes nothing .* -p mode full"):
        qstudy.chapter("toy", {"mode": "quick", "seed": 5})
    assert not (trees / "work").exists()


def test_runs_that_a_parameter_does_not_touch_are_not_repeated(trees, capsys):
    qstudy.chapter("toy", {"mode": "quick"})
    capsys.readouterr()
    own = qstudy.chapter("toy", {"mode": "quick", "extra": 1})
    assert "run 2 of 2" in capsys.readouterr().err
    assert len(own.frame("toy.csv")) == 8


def test_unknown_number_is_named(trees):
    shown = qstudy.chapter("toy", {"mode": "smoke"})
    assert "%" in shown.number("toy.first.top1")
    with pytest.raises(StudyError, match=r"number 'toy.none'"):
        shown.number("toy.none")


def test_a_results_tree_that_is_not_there(trees):
    with pytest.raises(StudyError, match=r"is not a folder"):
        qstudy.chapter("toy", {"results": str(trees / "nowhere")})


def test_reading_imports_no_torch():
    script = "import sys, qstudy; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
