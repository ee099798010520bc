"""A results tree that lacks chapters: it builds the book, and the pages say so."""

import json
import re
from html import unescape

import pytest

from qstudy.claims import entries
from qstudy.claims.ledger import NOT_MEASURED, NOT_TESTABLE
from qstudy.report import numbers
from qstudy.report.quotes import quoted_keys
from qstudy.study.collect import collect
from tests.book import books

RESULTS = books.ROOT / "results"
# The one chapter that is there, with as few records as any.
THERE = "fusion"
# Pages as they are; all others are stubs.
WHOLE = ("index", "claims", "guide", "slow", "elsewhere", THERE, "lsq", "references")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The published records of one chapter, collected."""
    tree = tmp_path_factory.mktemp("without") / "results"
    (tree / "runs").mkdir(parents=True)
    (tree / "runs" / THERE).symlink_to(RESULTS / "runs" / THERE)
    (tree / "systems").symlink_to(RESULTS / "systems")
    collect(tree, origin="published")
    return tree


@pytest.fixture(scope="module")
def pages(tree):
    """Those pages, built strictly from that tree: name to text."""
    folder = tree.parent
    chapters = books.frame(folder, ["index"])
    (folder / "_toc.yml").write_text((books.ROOT / "_toc.yml").read_text())
    for source in (books.ROOT / "chapters").glob("*.*"):
        if source.suffix not in (".md", ".ipynb"):
            continue
        target = chapters / source.name
        if source.stem in WHOLE:
            target.write_bytes(source.read_bytes())
        else:
            target.with_suffix(".md").write_text(books.stub(source.stem))
    well, log, built = books.build(folder, tree)
    assert well, log[:200] + log[-3000:]
    return {name: unescape((built / f"{name}.html").read_text()) for name in WHOLE}


def test_numbers_of_what_is_missing_are_the_words_and_of_nothing_else(tree):
    quoted = json.loads((tree / "numbers.json").read_text(encoding="utf-8"))
    published = numbers.load(RESULTS)
    assert set(quoted) == set(published) == quoted_keys(books.ROOT)
    for key, fields in quoted.items():
        beginning = key.partition(".")[0]
        if beginning == THERE:
            assert fields["value"] == published[key].value, key
        elif beginning != "ledger":
            assert fields["value"] == NOT_MEASURED, key


def test_the_ledger_says_that_the_others_were_not_measured(tree, pages):
    ledger = entries.read(tree)
    there = ledger.chapter == THERE
    assert set(ledger.verdict[~there]) == {NOT_MEASURED, NOT_TESTABLE}
    assert NOT_MEASURED not in set(ledger.verdict[there])
    missing = int((ledger.verdict == NOT_MEASURED).sum())
    assert pages["claims"].count(NOT_MEASURED) >= missing > 50


@pytest.mark.parametrize("name", ["index", "guide", "slow", "elsewhere"])
def test_a_page_says_so_in_the_place_of_each_number(pages, name):
    source = (books.ROOT / "chapters" / f"{name}.md").read_text()
    keys = re.findall(r"\{q\}`([^`]+)`", source)
    of_ledger = [key for key in keys if key.startswith("ledger.")]
    there = [key for key in keys if key.startswith(f"{THERE}.")]
    least = len(keys) - len(of_ledger) - len(there)
    assert pages[name].count(NOT_MEASURED) >= least > 0
    assert "{q}" not in pages[name]


def test_a_chapter_without_records_says_so_and_keeps_its_labels(pages):
    page = pages["lsq"]
    assert page.count("no records of the chapter lsq") >= 9
    assert 'id="fig-lsq-core"' in page and 'id="tab-lsq"' in page
    # What needs no records stands as it always does.
    assert "squared error" in page and "_LearnedStep.backward" in page


def test_a_chapter_with_records_is_as_it_is(pages):
    page = pages[THERE]
    assert "no records of the chapter" not in page
    assert 'id="tab-fusion-latency"' in page and "fusion_ranges.csv" in page
