"""The book, built once for the tests that read it."""

import pytest

from qstudy.study import book
from qstudy.study.tree import repository


@pytest.fixture(scope="session")
def html(tmp_path_factory):
    """The folder of the book's pages, built strictly from the committed results."""
    folder = tmp_path_factory.mktemp("book")
    with open(folder / "log", "w") as log:
        front = book.build(repository() / "results", folder, log=log)
    return front.parent
