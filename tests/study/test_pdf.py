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


@pytest.fixture
def printed(tmp_path):
    """Prints a body in the book's style; the text of each page, and the file."""

    def print_it(body):
        page = tmp_path / "page.html"
        style = (books.ROOT / "chapters" / "_static" / "qstudy.css").read_text()
        page.write_text(
            f'<!doctype html><meta charset="utf-8"><style>{style}</style>{body}'
        )
        target = tmp_path / "page.pdf"
        pdf.print_page(pdf.browser(), page, target)
        if not shutil.which("pdftotext"):
            pytest.skip("no pdftotext here: apt-get install poppler-utils")
        command = ["pdftotext", "-layout", target, "-"]
        done = subprocess.run(command, capture_output=True, check=True)
        pages = done.stdout.decode().split("\f")[:-1]
        return pages, target.read_bytes()

    return print_it


@browser.needed
def test_a_chapter_begins_a_page_and_what_only_a_screen_needs_is_not_printed(printed):
    chapter = (
        '<span id="document-{0}"></span><section><h1>Chapter {0}</h1>'
        '<p>It is <button class="q-number">0.05</button><span popover '
        'class="q-behind">behind it</span>.<a class="headerlink">PERMALINK</a></p>'
        '<details class="hide"><summary>Show code</summary>FOLDED</details></section>'
    )
    pages, content = printed("".join(chapter.format(name) for name in "ABC"))
    for name, page in zip("ABC", pages, strict=True):
        assert f"Chapter {name}" in page
    for number, page in enumerate(pages, start=1):
        assert "0.05" in page and page.split()[-1] == str(number)
        for hidden in ("behind", "PERMALINK", "FOLDED", "Show code"):
            assert hidden not in page
    assert b"/Outlines" in content  # the chapters, in the reader's side bar


@browser.needed
def test_no_page_ends_in_the_head_of_a_table(printed):
    rows = "".join(f"<tr><td>ROW{n}</td></tr>" for n in range(9))
    body = ""
    for place in range(24):  # 4 mm further down each
        body += (
            f'<span id="document-{place}"></span><section>'
            f'<div style="height:{195 + 4 * place}mm"></div><table class="table">'
            f"<caption>CAPTION</caption><thead><tr><th>HEAD</th></tr></thead>"
            f"<tbody>{rows}</tbody></table></section>"
        )
    pages, _ = printed(body)
    assert any("ROW8" in page and "ROW0" not in page for page in pages), (
        "none is parted"
    )
    for page in pages:
        begun = "CAPTION" in page
        assert ("ROW0" in page) == ("ROW1" in page) == begun, page
        assert ("HEAD" in page) == ("ROW" in page)


def test_a_browser_that_prints_nothing_is_told(tmp_path):
    with pytest.raises(StudyError, match="printed no PDF"):
        pdf.print_page(shutil.which("false"), tmp_path / "p.html", tmp_path / "p.pdf")
    assert not list(tmp_path.glob("*.pdf"))
