"""The book itself, built strictly from the committed results, and read in a browser."""

import json
import re
from html import unescape

import pytest

from qstudy.report import tables
from qstudy.study import notebooks
from qstudy.study.tree import repository
from tests.book import books, browser

RESULTS = repository() / "results"
MOST_ROWS = 36  # of a table on a page; the file behind it has them all
CHAPTERS = ("fusion", "formulas", "dynamic", "static", "qat", "lsq", "speed")


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_figure_of_a_chapter_is_there_with_its_words(html, name):
    page = unescape((html / "chapters" / f"{name}.html").read_text(encoding="utf-8"))
    described = sorted((RESULTS / "figures").glob(f"{name}_*.json"))
    assert described
    for path in described:
        words = json.loads(path.read_text(encoding="utf-8"))
        assert f'alt="{words["alt"]}"' in page, path.name
        assert words["caption"].split(".")[0] in page, path.name


def test_every_page_names_its_numbers_and_loads_nothing_from_elsewhere(html):
    for page in (html / "chapters").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        # The package's own pages tell of the role.
        assert "{q}" not in text or page.name.startswith("api"), page.name
        assert not books.foreign(text), page.name


def rows_of(page):
    """The cells of each row of each table of a chapter, as text, by the table's id."""
    for name, table in re.findall(r'<table[^>]*id="(tab-[^"]*)">(.*?)</table>', page):
        rows = re.findall(r"<tr[^>]*>(.*?)</tr>", table)
        yield (
            name,
            [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows if "<td" in row],
        )


@pytest.mark.parametrize("name", notebooks.chapters())
def test_no_table_is_long_or_repeats_a_setting_in_each_row(html, name):
    page = (html / "chapters" / f"{name}.html").read_text(encoding="utf-8")
    found = list(rows_of(page.replace("\n", " ")))
    assert found
    for table, rows in found:
        assert 0 < len(rows) <= MOST_ROWS, table
        if len(rows) >= tables.FEWEST_ROWS:
            for column in zip(*rows, strict=True):
                # A result that never differs is the answer: 0.
                told = {re.sub(r"<[^>]*>", "", cell).strip() for cell in column}
                assert len(told) > 1 or told <= {"0", ""}, (table, told)


def test_the_source_of_a_page_is_the_notebook_as_it_was_written(html):
    for name in notebooks.chapters():
        kept = html / "_sources" / "chapters" / f"{name}.ipynb"
        source = repository() / "chapters" / f"{name}.ipynb"
        assert kept.read_bytes() == source.read_bytes()


def test_the_networks_have_their_cards(html):
    page = (html / "chapters" / "networks.html").read_text(encoding="utf-8")
    for path in (RESULTS / "cards").glob("*.md"):
        assert path.stem in page
    assert page.count("SHA-256") > len(list((RESULTS / "cards").glob("*.md")))


def test_timing_figures_name_the_processor(html):
    for name in (
        "fusion_latency",
        "static_latency",
        "static_candidates",
        "dynamic_speed",
        "dynamic_speed_best",
        "dynamic_roofline",
        "speed_summary",
        "speed_routes",
        "speed_breakdown",
        "speed_roofline",
        "speed_crossover",
    ):
        words = json.loads((RESULTS / "figures" / f"{name}.json").read_text())
        machine = json.loads(next((RESULTS / "systems").glob("*.json")).read_text())
        assert machine["cpu"] in words["caption"], name


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_caption_leads_to_the_module_and_that_to_its_code(html, name):
    page = (html / "chapters" / f"{name}.html").read_text(encoding="utf-8")
    captioned = page.count('class="csv-link')
    makers = re.findall(
        r'made by <a[^>]*href="(api-[\w-]+\.html)#module-([\w.]+)"', page
    )
    assert len(makers) == captioned > 0
    for api, module in set(makers):
        assert f'id="module-{module}"' in (html / "chapters" / api).read_text()
        assert (html / "_modules" / f"{module.replace('.', '/')}.html").exists()


def test_the_status_page_has_every_table_and_figure_and_finds_none_stale(html):
    page = (html / "chapters" / "status.html").read_text(encoding="utf-8")
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.DOTALL)
    told = {}
    for row in rows:
        cells = [
            " ".join(re.sub(r"<[^>]*>", "", c).split())
            for c in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)
        ]
        if cells and cells[0].endswith(".csv"):
            told.setdefault(cells[0], []).append(cells[1:])
    files = [*(RESULTS / "tables").glob("*.csv"), *(RESULTS / "figures").glob("*.csv")]
    assert sum(map(len, told.values())) == len(files)
    assert set(told) == {path.name for path in files}
    stale = {n: row[-1] for n, r in told.items() for row in r if row[-1] != "no"}
    assert stale == {}


@pytest.mark.parametrize(
    ("words", "page"),
    [
        (["phone"], "scope"),
        (["arm"], "scope"),
        (["android"], "scope"),
        (["4", "bit"], "glossary"),
        (["4", "bit"], "explorer"),
        (["양자화"], "glossary"),
        (["양자화"], "static"),
    ],
)
def test_the_search_finds_what_readers_ask_for(html, words, page):
    script = (html / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(script.removeprefix("Search.setIndex(").removesuffix(")"))
    found = set(range(len(index["docnames"])))
    for word in words:
        places = index["terms"].get(word, [])
        found &= set(places if isinstance(places, list) else [places])
    assert f"chapters/{page}" in {index["docnames"][place] for place in found}


def test_the_notebook_for_download_is_the_source_and_not_the_executed_one(html):
    for path in (repository() / "chapters").glob("*.ipynb"):
        page = (html / "chapters" / f"{path.stem}.html").read_text(encoding="utf-8")
        (link,) = set(re.findall(r'href="\.\./(_sources/[^"]*\.ipynb)"', page))
        assert (html / link).read_bytes() == path.read_bytes(), path.name


@browser.needed
@pytest.mark.parametrize(
    "name",
    ["index", "introduction", *CHAPTERS],
)
def test_a_page_reads_with_the_network_off(html, name, tmp_path):
    page = html / "chapters" / f"{name}.html"
    document = browser.rendered(page, tmp_path)
    formulas = len(re.findall(r'class="math', page.read_text(encoding="utf-8")))
    assert document.count("<mjx-container") >= formulas > 0 or name == "index"
    # What MathJax puts on a formula that it refuses.
    assert "data-mjx-error=" not in document
