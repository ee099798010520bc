"""The book's own pages build strictly, whatever the numbers say."""

import ast
import json
import re
import shutil

import nbformat
import pandas as pd
import pytest
import yaml

from qstudy.report import lint, tables
from tests.book import books

STUBS = ("fusion", "formulas", "dynamic", "static", "qat", "lsq", "speed")
STUBS += ("networks", "data", "explorer")
STUBS += ("status", "api", "api-numerics", "api-methods", "api-experiments")
STUBS += ("api-rooms", "api-study", "cluster")
FRAME = (
    "index",
    "claims",
    "guide",
    "slow",
    "migration",
    "elsewhere",
    "introduction",
    "training",
    "rerun",
    "scope",
    "glossary",
    "references",
)
KEY = re.compile(r"\{q\}`([^`:]+)")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The built pages of the frame, over made-up numbers."""
    folder = tmp_path_factory.mktemp("frame")
    chapters = books.frame(folder, ["index"])
    shutil.copy(books.ROOT / "_toc.yml", folder)
    for name in STUBS:
        (chapters / f"{name}.md").write_text(books.stub(name))
    for name in FRAME:
        for source in (books.ROOT / "chapters").glob(f"{name}.*"):
            shutil.copy(source, chapters)
    keys = {key for p in chapters.glob("*.*") for key in KEY.findall(p.read_text())}
    assert "ledger.claim.deck.size" in keys
    tree = folder / "results"
    (tree / "tables").mkdir(parents=True)
    shutil.copy(books.ROOT / "results/tables/claims.csv", tree / "tables")
    row = {
        "model": "resnet20",
        "stage": "published",
        "epochs": 120,
        "parameters": 272474,
    }
    row |= {"top1": 91.23, "top1_lo": 90.7, "top1_hi": 91.8, "n": 10000}
    row |= {"seed": 0, "split": "test"}
    tables.write_csv(pd.DataFrame([row]), tree / "tables" / "baselines.csv")
    trial = {**row, "model": "resnet8", "condition": "muon", "threads": 1}
    trial |= {"train_loss": 0.4, "gain_pp": 0.78, "gain_lo": 0.1, "gain_hi": 1.5}
    tables.write_csv(pd.DataFrame([trial]), tree / "tables" / "recipe.csv")
    step = {"candidate": "fp32:contiguous", "threads": 1, "ratio": 1.0, "ms": 580.0}
    step |= {"images_per_second": 220.6}
    tables.write_csv(pd.DataFrame([step]), tree / "tables" / "training_cost.csv")
    (tree / "figures").mkdir()
    for drawn in (books.ROOT / "results" / "figures").glob("baselines_verdicts.*"):
        shutil.copy(drawn, tree / "figures")
    numbers = {key: {"value": "TOLD"} for key in keys}
    (tree / "numbers.json").write_text(json.dumps(numbers))
    well, log, built = books.build(folder, tree)
    assert well, log[-3000:]
    return built


def test_the_front_page_is_the_index_and_links_to_every_page(pages):
    front = (pages.parent / "index.html").read_text()
    assert "chapters/index.html" in front
    index = (pages / "index.html").read_text()
    for name in (*STUBS, *FRAME):
        assert f'href="{name}.html"' in index or name == "index"
    assert index.count("TOLD") >= 12


def test_the_introduction_shows_its_table_and_hides_its_parameters(pages):
    page = (pages / "introduction.html").read_text()
    assert "91.23 [90.70, 91.80]" in page and 'id="tab-baselines"' in page
    assert "q = 13, dequantized 0.1024, error +0.0024" in page
    assert "양자화" in page
    assert 'id="verdict-rules"' in page
    # The picture of the rules stands before the first section.
    assert page.index('id="fig-baselines-verdicts"') < page.index('id="the-claims"')
    assert not re.search(r'mode</span>\s*<span class="o">=', page)


def test_the_appendix_shows_the_trials_and_what_a_step_costs(pages):
    page = (pages / "training.html").read_text()
    assert "0.78 [0.10, 1.50]" in page and 'id="tab-recipe"' in page
    assert ">221<" in page and 'id="tab-training-cost"' in page


def test_at_most_three_numbers_stand_in_a_sentence():
    crowded = []
    for path in sorted((books.ROOT / "chapters").glob("*.*")):
        for sentence in sentences(path):
            if sentence.count("{q}`") > 3:
                crowded.append((path.name, sentence[:60]))
    assert crowded == [], "make a table or a picture of them"


def sentences(path):
    """The sentences of a page, its tables and code left out."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
    elif path.suffix != ".md":
        return []
    prose = [line for line in text.splitlines() if not line.startswith("|")]
    blocks = re.split(r"\n\s*\n", "\n".join(prose))
    return [s for b in blocks for s in re.split(r"(?<=[.?!])\s+(?=[A-Z*(`])", b)]


def test_cells_that_only_show_something_are_folded():
    for path in sorted((books.ROOT / "chapters").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            shows = re.search(r"study\.(table|figure)\(|qstudy\.chapter\(", cell.source)
            if cell.cell_type == "code" and shows:
                tags = set(cell.metadata.get("tags", []))
                assert tags & {"hide-input", "remove-input"}, cell.id


def table_calls():
    """Each call of study.table in the notebooks: the notebook, and its keywords."""
    for path in sorted((books.ROOT / "chapters").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type != "code" or "study.table(" not in cell.source:
                continue
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == (
                    "study.table"
                ):
                    yield path.name, {k.arg: k.value for k in node.keywords}


def test_the_caption_of_a_table_has_its_answer_from_the_table():
    found = list(table_calls())
    assert len(found) > 30
    silent = [
        (name, ast.literal_eval(given["name"]))
        for name, given in found
        if not any(
            isinstance(n, ast.FormattedValue) for n in ast.walk(given["caption"])
        )
    ]
    assert silent == []


def test_a_picture_is_the_first_thing_that_a_chapter_shows():
    for name in ("fusion", "formulas", "dynamic", "static", "qat", "lsq", "speed"):
        path = books.ROOT / "chapters" / f"{name}.ipynb"
        cells = nbformat.read(path, as_version=4).cells
        kinds = [c.cell_type for c in cells[:4]]
        assert kinds == ["markdown", "code", "code", "code"], name
        assert cells[3].source.startswith("study.figure("), name


def test_the_bibliography_holds_every_entry(pages):
    entries = re.findall(
        r"@\w+\{(\w+),", (books.ROOT / "chapters" / "references.bib").read_text()
    )
    page = (pages / "references.html").read_text()
    assert len(entries) == len(set(entries)) >= 14
    assert page.count('class="citation"') == len(entries)


def test_toc_names_the_pages_in_order():
    toc = yaml.safe_load((books.ROOT / "_toc.yml").read_text())
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    files = [toc["root"]]
    for chapter in chapters:
        files += [chapter["file"], *(s["file"] for s in chapter.get("sections", []))]
    chapters = "introduction fusion formulas dynamic static qat lsq speed claims"
    chapters += " guide slow migration elsewhere"
    order = (
        f"index {chapters} explorer rerun cluster networks training data scope glossary"
    )
    api = "api api-numerics api-methods api-experiments api-rooms api-study"
    order += f" status {api} references"
    assert files == [f"chapters/{name}" for name in order.split()]


def test_nothing_measured_is_typed_and_notebooks_are_tidy():
    assert lint.lint(books.ROOT) == []


def test_every_notebook_of_the_book_was_linted():
    chapters = books.ROOT / "chapters"
    for path in chapters.glob("*.ipynb"):
        ids = [cell.id for cell in nbformat.read(path, as_version=4).cells]
        assert len(ids) == len(set(ids)), path.name
