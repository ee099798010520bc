"""The book itself, built strictly from the committed results, and read in a browser."""

import json
import re
import shutil
import subprocess
from html import unescape

import pytest

from qstudy.study import book, notebooks
from qstudy.study.tree import repository
from tests.book import books

RESULTS = repository() / "results"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    with open(folder / "log", "w") as log:
        front = book.build(RESULTS, folder, log=log)
    return front.parent


@pytest.mark.parametrize("name", ["fusion", "formulas", "dynamic", "static"])
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
        assert "{q}" not in text, page.name
        assert not books.foreign(text), page.name


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
    ):
        words = json.loads((RESULTS / "figures" / f"{name}.json").read_text())
        machine = json.loads(next((RESULTS / "systems").glob("*.json")).read_text())
        assert machine["cpu"] in words["caption"], name


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here: apt-get install chromium")
@pytest.mark.parametrize(
    "name", ["index", "introduction", "fusion", "formulas", "dynamic", "static"]
)
def test_a_page_reads_with_the_network_off(html, name, tmp_path):
    page = html / "chapters" / f"{name}.html"
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu"),
            *("--no-first-run", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync", "--disable-quic"),
            f"--user-data-dir={tmp_path}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            *("--virtual-time-budget=15000", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    formulas = len(re.findall(r'class="math', page.read_text(encoding="utf-8")))
    assert done.stdout.count("<mjx-container") >= formulas > 0 or name == "index"
    # What MathJax puts on a formula that it refuses.
    assert "data-mjx-error=" not in done.stdout
