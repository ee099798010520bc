"""All cells of a chapter, twice in one kernel, after a startup file of the user's."""

import nbformat
import pytest
from nbclient import NotebookClient

from qstudy.study import notebooks
from qstudy.study.kernels import OwnKernel
from qstudy.study.tree import repository
from tests.surroundings.places import STARTUP


@pytest.mark.parametrize("name", notebooks.chapters())
def test_a_chapter_runs_twice_in_one_kernel(name):
    path = repository() / "chapters" / f"{name}.ipynb"
    chapter = nbformat.read(path, as_version=4)
    again = nbformat.read(path, as_version=4)
    first = nbformat.v4.new_code_cell(STARTUP)
    unknown = nbformat.v4.new_code_cell("# Parameters\nsed = 1\n")
    (place,) = [
        i
        for i, cell in enumerate(again.cells)
        if "parameters" in cell.metadata.get("tags", [])
    ]
    refused = [*again.cells[: place + 1], unknown, again.cells[place + 1]]
    refused[-1].metadata["tags"] = ["raises-exception"]
    cells = [first, *chapter.cells, *nbformat.read(path, as_version=4).cells, *refused]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    chapter.cells = cells
    client = NotebookClient(
        chapter, kernel_name="python3", kernel_manager_class=OwnKernel, timeout=120
    )
    client.execute()
    (error,) = [o for o in cells[-1].outputs if o.output_type == "error"]
    assert "parameter 'sed' is not one of" in error.evalue
