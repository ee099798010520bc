"""The book in one PDF: built as one page, printed by Chromium, or refused in a line."""

import io
import shutil
import subprocess

import pytest

from qstudy.study import pdf
from qstudy.study.tree import StudyError
from tests.book import books, browser

PAGE = """<!doctype html><meta charset="utf-8"><p id="late">early</p><p>양자화</p>
<script>setTimeout(() => document.getElementById("late").textContent = "LATER", 3000)
</script>"""


def test_without_chromium_one_line_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(StudyError, match="apt-get install chromium") as caught:
        pdf.print_book(books.ROOT / "results", tmp_path / "book.pdf", log=io.StringIO())
    assert "\n" not in str(caught.value)


def test_the_api_is_left_out_and_nothing_else():
    toc = {"root": "r", "parts": [{"chapters": [{"file": "a"}, {"file": "c/api-x"}]}]}
    assert pdf.without_api(toc)["parts"] == [{"chapters": [{"file": "a"}]}]
    assert len(toc["parts"][0]["chapters"]) == 2


def test_the_single_page_is_moved_to_where_its_links_start(tmp_path):
    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters" / "index.html").write_text(
        '<img src="_images/a.svg"><a href="chapters/index.html#id2">1</a>'
    )
    moved = pdf.at_the_root(tmp_path)
    assert moved == tmp_path / "index.html"
    assert moved.read_text() == '<img src="_images/a.svg"><a href="#id2">1</a>'


@browser.needed
def test_printing_waits_for_scripts_and_keeps_korean(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(PAGE)
    target = tmp_path / "new" / "page.pdf"
    pdf.print_page(pdf.browser(), page, target)
    assert target.read_bytes().startswith(b"%PDF-")
    if not shutil.which("pdftotext"):
        pytest.skip("no pdftotext here: apt-get install poppler-utils")
    done = subprocess.run(["pdftotext", target, "-"], capture_output=True, check=True)
    assert "LATER" in done.stdout.decode() and "양자화" in done.stdout.decode()


def test_a_browser_that_prints_nothing_is_told(tmp_path):
    with pytest.raises(StudyError, match="printed no PDF"):
        pdf.print_page(shutil.which("false"), tmp_path / "p.html", tmp_path / "p.pdf")
    assert not list(tmp_path.glob("*.pdf"))
