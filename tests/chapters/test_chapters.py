"""Every chapter through papermill in smoke mode, and with parameters that are wrong."""

import time

import nbformat
import pytest

from qstudy import experiments
from qstudy.study import notebooks
from qstudy.study.tree import StudyError


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """One work tree for all chapters, so that the network is trained once."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("work")
        patch.setenv("QSTUDY_WORK", str(root))
        yield root


@pytest.mark.parametrize("name", notebooks.chapters())
def test_chapter_in_smoke_mode(name, work):
    output = work / f"{name}.ipynb"
    notebooks.regenerate(name, output, parameters={"mode": "smoke"})
    executed = nbformat.read(output, as_version=4)
    outputs = [o for c in executed.cells for o in c.get("outputs", [])]
    kinds = {kind for o in outputs for kind in o.get("data", {})}
    assert "text/markdown" in kinds
    # The introduction has tables only.
    assert "image/svg+xml" in kinds or name not in experiments.NAMES
    started = time.monotonic()
    notebooks.regenerate(name, output, parameters={"mode": "smoke"})
    again = nbformat.read(output, as_version=4)
    told = str([o for c in again.cells for o in c.get("outputs", [])])
    assert "runs are there" in told, "a second execution must compute nothing"
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"mode": "fast"}, "mode 'fast' is not one of"),
        ({"sed": 1}, "parameter 'sed' is not one of"),
        ({"seed": "one"}, "parameter seed is 'one', a str: int is needed"),
        ({"imagenet": "nowhere", "mode": "smoke"}, "'nowhere', which is not a folder"),
        ({"calibration_images": 0, "mode": "smoke"}, "calibration_images 0 is outside"),
    ],
)
def test_a_wrong_parameter_fails_in_one_line(parameters, words, work):
    with pytest.raises(StudyError, match="chapter static failed") as error:
        notebooks.regenerate("static", work / "wrong.ipynb", parameters=parameters)
    assert words in str(error.value) and "\n" not in str(error.value)
