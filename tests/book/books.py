"""Small books with this book's own configuration, built as `qstudy book` builds it."""

import io
import re
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import yaml

from qstudy.report import figures, style, tables
from qstudy.study import book
from qstudy.study.tree import StudyError

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = """{"toy.net.drop": {"value": 0.05, "unit": "pp", "digits": 2, "low": -0.07,
 "high": 0.17, "n": 10000, "runs": ["%s"]}}""" % ("a" * 64)

LOADED = re.compile(
    r"""<(?:script|link|img|iframe)[^>]*?\s(?:src|href)=["']([^"']*)"""
    r"""|url\(["']?([^)"']*)|["'`](https?://[^"'`]*\.(?:js|css|woff2?))["'`]"""
)


def foreign(text):
    """What a page or style sheet loads from other hosts."""
    loaded = ["".join(groups) for groups in LOADED.findall(text)]
    return [url for url in loaded if re.match(r"(https?:)?//", url)]


def results(folder):
    """A results tree with one table, one figure, one number."""
    frame = pd.DataFrame({"method": ["fp32", "static_int8"], "top1": [91.2, 91.1]})
    tables.write_csv(frame, folder / "tables" / "toy.csv")
    figure, axis = style.new_figure()
    axis.plot([1, 2], frame.top1, **style.method_style("fp32"))
    figures.publish(
        figures.Figure(
            name="toy_line",
            figure=figure,
            data=frame,
            alt="Two points on a falling line.",
            caption="The *toy* falls by {q}`toy.net.drop`.",
        ),
        folder / "figures",
    )
    (folder / "numbers.json").write_text(NUMBERS)
    return folder


def notebook(path, *cells):
    """A notebook whose cells starting with "%md" are Markdown."""
    made = nbformat.v4.new_notebook()
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    for index, source in enumerate(cells):
        kind = "markdown" if source.startswith("%md") else "code"
        make = getattr(nbformat.v4, f"new_{kind}_cell")
        made.cells.append(make(source.removeprefix("%md\n"), id=f"cell-{index}"))
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, path)


def frame(folder, pages):
    """The book's configuration around `pages` of chapters/, the first its root."""
    chapters = folder / "chapters"
    chapters.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "_config.yml", folder)
    shutil.copy(ROOT / "CITATION.cff", folder)
    shutil.copy(ROOT / "chapters" / "references.bib", chapters)
    shutil.copytree(ROOT / "chapters" / "_static", chapters / "_static")
    toc = {"format": "jb-book", "root": f"chapters/{pages[0]}"}
    if pages[1:]:
        toc["chapters"] = [{"file": f"chapters/{page}"} for page in pages[1:]]
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc))
    return chapters


def stub(name):
    """A page that stands for `name` of the book: its labels, and nothing else of it."""
    (source,) = (ROOT / "chapters").glob(f"{name}.*")
    text = source.read_text(encoding="utf-8")
    labels = re.findall(r"^ *\"?(\([\w-]+\)=)", text, re.MULTILINE)
    return "\n".join([*labels, f"# The page {name}\n"])


def build(folder, tree):
    """Build strictly; return whether it worked, the log, and the pages' folder."""
    log = io.StringIO()
    error = ""
    try:
        book.build(tree, folder, log=log, source=folder)
    except StudyError as refused:
        error = str(refused)
    told = f"{log.getvalue()}\n{error}"
    return error == "", told, folder / "_build" / "html" / "chapters"
