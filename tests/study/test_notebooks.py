"""A chapter that papermill regenerated stands in the book as one that was executed."""

import json

import nbformat
import pytest

from qstudy.study import notebooks
from qstudy.study.tree import StudyError
from tests.book import books

CELLS = (
    "%md\n# A chapter",
    'mode = "read"',
    "import sys\n# As qstudy.chapter() does, where runs are there.\n"
    'print("all 3 runs are there", file=sys.stderr)\nprint("opened")',
    "1 + 1",
)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout whose one chapter says on standard error what its runs do."""
    path = tmp_path / "chapters" / "short.ipynb"
    books.notebook(path, *CELLS)
    made = nbformat.read(path, as_version=4)
    made.cells[1].metadata["tags"] = ["parameters"]
    made.metadata["kernelspec"]["language"] = "python"
    nbformat.write(made, path)
    monkeypatch.setattr(notebooks, "repository", lambda: tmp_path)
    return tmp_path


def test_it_loses_the_traces_of_its_regeneration(checkout):
    source = checkout / "chapters" / "short.ipynb"
    left, page, read = (checkout / f"{n}.ipynb" for n in ("left", "page", "read"))
    with open(checkout / "log", "a") as log:
        notebooks.regenerate("short", left, parameters={"mode": "quick"}, stream=log)
    assert 'mode = \\"quick\\"' in left.read_text() and "runs are" in left.read_text()
    notebooks.as_page(left, page)
    notebooks.execute(source, read, tree=checkout, seconds=60)
    found, expected = (json.loads(path.read_text()) for path in (page, read))
    for notebook in (found, expected):
        for cell in notebook["cells"]:
            cell.pop("execution_count", None)
            cell["metadata"] = {k: v for k, v in cell["metadata"].items() if v}
            for output in cell.get("outputs", []):
                output.pop("execution_count", None)
    (told,) = [o for o in expected["cells"][2]["outputs"] if o["name"] == "stderr"]
    expected["cells"][2]["outputs"].remove(told)
    assert found == expected
    assert "opened" in page.read_text() and "papermill" not in page.read_text()


def test_what_another_cell_warns_of_stays(checkout):
    source = checkout / "chapters" / "short.ipynb"
    books.notebook(source, "import sys", 'print("odd", file=sys.stderr)')
    made = nbformat.read(source, as_version=4)
    made.cells[1].outputs = [nbformat.v4.new_output("stream", name="stderr", text="!")]
    nbformat.write(made, source)
    notebooks.as_page(source, checkout / "page.ipynb")
    assert "stderr" in (checkout / "page.ipynb").read_text()


def test_a_failing_cell_is_told_in_one_line(checkout):
    books.notebook(checkout / "chapters" / "short.ipynb", "1 / 0")
    with pytest.raises(StudyError, match=r"short failed in cell .*ZeroDivisionError"):
        notebooks.regenerate("short", checkout / "left.ipynb", parameters={})
