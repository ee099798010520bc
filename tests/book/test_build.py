"""The book builds strictly, and each defect fails the build."""

import json
import re

import pytest

from tests.book import books, browser

SHOW = """
import os
from pathlib import Path
from qstudy.report import figures, tables
tree = Path(os.environ["QSTUDY_RESULTS"])
"""
TABLE = """
tables.show(
    tables.read_csv(tree / "tables" / "toy.csv"), columns=["method", "top1"],
    caption="A *toy* table.", name="tab-toy", csv="toy.csv", best={"top1": "max"},
)
"""


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The pages of a book that uses every part of the room, and its build log."""
    folder = tmp_path_factory.mktemp("good")
    chapters = books.frame(folder, ["home", "shown", "bib"])
    tree = books.results(folder / "elsewhere" / "results")
    for place, verdict in ((tree, "fails"), (folder / "results", "holds")):
        known = json.loads(books.NUMBERS) | {"toy.claim.size": {"value": verdict}}
        place.mkdir(parents=True, exist_ok=True)
        (place / "numbers.json").write_text(json.dumps(known))
    (chapters / "home.md").write_text(
        "# Home\n\nDrop: {q}`toy.net.drop`, {q}`toy.net.drop:value`, "
        "n = {q}`toy.net.drop:n`.\n\nSee [](shown), {numref}`fig-toy-line` and "
        "{numref}`tab-toy`, and {cite}`wu2020`. Math: $s = 1$.\n\n"
        "```{verdict-changes}\n```\n"
    )
    (chapters / "bib.md").write_text("# References\n\n```{bibliography}\n```\n")
    books.notebook(
        chapters / "shown.ipynb",
        "%md\n# Shown",
        SHOW.strip(),
        'figures.show(tree / "figures", "toy_line")',
        TABLE.strip(),
    )
    well, log, pages = books.build(folder, tree)
    assert well, log[-3000:]
    return pages


def test_numbers_open_to_what_stands_behind_them(good):
    page = (good / "home.html").read_text()
    opened = dict(re.findall(r'popovertarget="([^"]*)">([^<]*)</button>', page))
    assert list(opened.values()) == ["0.05 pp [-0.07, 0.17]", "0.05 pp", "10,000"]
    for popover in opened:
        (behind,) = re.findall(
            f'<span popover[^>]*id="{popover}">(.*?)</span></span>', page
        )
        for told in ("toy.net.drop", "[-0.07, 0.17] (95 %)", "10,000", "a" * 12):
            assert told in behind
        assert "qstudy run --only aaaaaaaaaaaa" in behind


@browser.needed
def test_a_number_opens_by_keyboard_and_by_touch_and_escape_closes_it(good, tmp_path):
    page = (good / "home.html").read_text()
    script = """<script>addEventListener("load", () => {
      const button = document.querySelector("button.q-number");
      const behind = document.getElementById(button.getAttribute("popovertarget"));
      const open = () => behind.matches(":popover-open");
      const notes = [open(), button.tabIndex];
      button.focus();
      notes.push(document.activeElement === button);
      button.click();  // what Enter, Space and a finger do to a button
      notes.push(open());
      behind.hidePopover();
      notes.push(open());
      document.title = JSON.stringify(notes);
    });</script></body>"""
    tried = good / "tried.html"
    tried.write_text(page.replace("</body>", script))
    document = browser.rendered(tried, tmp_path)
    tried.unlink()
    assert "<title>[false,0,true,true,false]</title>" in document


def test_each_page_ends_in_how_to_cite_it(good):
    page = (good / "shown.html").read_text()
    (cited,) = re.findall(
        r'<details class="cite-this">(.*?)</details>', page, re.DOTALL
    )
    assert "Shown. In: qstudy: a reproducible study" in cited
    assert "@misc{qstudy-" in cited and "<code>toy.net.drop</code>" in cited
    home = (good / "home.html").read_text()
    assert "Cite this page" in home and "Home. In:" not in home


def test_a_caption_names_the_module_that_made_it(good):
    page = (good / "shown.html").read_text()
    assert page.count(", made by ") == 0  # toy files are of no experiment


def test_a_verdict_that_moved_is_told_on_the_page(good):
    page = (good / "home.html").read_text()
    assert "0 of 1 verdicts are those of the published results" in page
    assert "toy.claim.size: now fails; published: holds." in page


def test_a_figure_has_its_alt_text_caption_label_and_data(good):
    page = (good / "shown.html").read_text()
    assert re.search(r'<img alt="Two points on a falling line."[^>]*\.svg"', page)
    assert "Fig. 1" in page and "The <em>toy</em> falls by" in page
    assert 'id="fig-toy-line"' in page
    link = re.search(r'href="(\.\./_downloads/[^"]*/toy_line\.csv)"', page)
    assert (good / link[1]).read_text().startswith("method,top1\n")
    assert "Fig. 1" in (good / "home.html").read_text()


def test_a_table_is_native_with_caption_and_csv(good):
    page = (good / "shown.html").read_text()
    assert '<table class="table" id="tab-toy">' in page
    assert "A <em>toy</em> table." in page and page.count("toy</em> table") == 1
    assert "<strong>91.20</strong>" in page and "static int8" in page
    link = re.search(r'href="(\.\./_downloads/[^"]*/toy\.csv)"', page)
    assert (good / link[1]).read_text() == (
        "method,top1\nfp32,91.2000\nstatic_int8,91.1000\n"
    )


def test_pages_load_nothing_from_other_hosts(good):
    for path in [*good.glob("*.html"), *(good.parent / "_static").glob("*.css")]:
        hosts = books.foreign(path.read_text())
        assert not hosts, f"{path.name} loads {hosts}"
    assert (good.parent / "_static" / "mathjax" / "tex-chtml.js").exists()
    assert "mathjax/tex-chtml.js" in (good / "home.html").read_text()


def test_pages_carry_no_date_and_no_path_of_this_machine(good):
    for path in good.glob("*.html"):
        text = path.read_text()
        assert "Last updated" not in text
        assert str(books.ROOT) not in text and str(good) not in text


def test_each_defect_is_named_and_fails_the_build(tmp_path):
    chapters = books.frame(tmp_path, ["home", "silent"])
    (chapters / "home.md").write_text(
        "# Home\n\n[](nowhere)\n\n{q}`toy.net.dorp`\n\n![](dot.png)\n\n"
        "{csv}`tables/none.csv`\n"
    )
    (chapters / "dot.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    books.notebook(
        chapters / "silent.ipynb",
        "%md\n# Silent",
        f"from IPython.display import SVG\nSVG('{svg}')",
    )
    well, log, _ = books.build(tmp_path, books.results(tmp_path / "results"))
    assert not well
    for expected in (
        r"home\.md:\d+: WARNING: .*nowhere",
        r"home\.md:\d+: WARNING: .*'toy\.net\.dorp' is not in numbers\.json; "
        r"the nearest of all known keys \(1\): toy\.net\.drop",
        r"WARNING: image chapters/dot\.png has no alt text",
        r"WARNING: image .*\.svg has no alt text",
        r"WARNING: download file not readable: .*none\.csv",
    ):
        assert re.search(expected, log), f"{expected} not in\n{log[-4000:]}"


def test_a_failing_cell_fails_the_build(tmp_path):
    chapters = books.frame(tmp_path, ["home"])
    books.notebook(chapters / "home.ipynb", "%md\n# Home", "1 / 0")
    well, log, _ = books.build(tmp_path, books.results(tmp_path / "results"))
    assert not well and "ZeroDivisionError" in log


def test_a_book_with_an_address_has_buttons_that_run_a_chapter(tmp_path):
    chapters = books.frame(tmp_path, ["home"])
    books.notebook(chapters / "home.ipynb", "%md\n# Home")
    config = tmp_path / "_config.yml"
    text = config.read_text().replace('url: ""', "url: https://github.com/a/b")
    config.write_text(re.sub(r"^# (launch_buttons:|  \w+: )", r"\1", text, flags=re.M))
    well, log, pages = books.build(tmp_path, books.results(tmp_path / "results"))
    assert well, log[-3000:]
    page = (pages / "home.html").read_text()
    assert "https://mybinder.org/v2/gh/a/b/" in page
    assert "https://colab.research.google.com/github/a/b/" in page
    assert "chapters/home.ipynb" in page
