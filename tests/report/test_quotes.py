"""Which numbers are quoted, and what a key is told that is not."""

import json

import pytest

from qstudy.report import numbers, quotes
from qstudy.spec import Number
from qstudy.study.tree import repository


def test_every_way_to_quote_is_found(tmp_path):
    chapters = tmp_path / "chapters"
    chapters.mkdir()
    (tmp_path / "README.md").write_text("<!-- q:a.b:value -->1<!-- /q --> a.not")
    (chapters / "page.md").write_text("say {q}`c.d` and {q}`c.e:n`, but `c.not`")
    cells = [
        {"source": ["study.number('e.f')\n", 'x = study.number("e.g", "n")']},
        {"source": ['caption="falls by {q}`g.h:value`"']},
    ]
    (chapters / "book.ipynb").write_text(json.dumps({"cells": cells}))
    (chapters / "notes.txt").write_text("{q}`no.page`")
    found = quotes.quoted_keys(tmp_path)
    assert found == {"a.b", "c.d", "c.e", "e.f", "e.g", "g.h"}
    assert quotes.quoted_keys(chapters) == set()


def test_the_published_numbers_are_those_that_the_book_quotes():
    published = numbers.load(repository() / "results")
    wanted = quotes.quoted_keys(repository())
    assert set(published) == wanted
    assert published.unquoted and not set(published.unquoted) & wanted


def test_a_key_that_no_page_quotes_is_told_the_way_out(tmp_path):
    quoted = {"toy.net.drop": Number(0.05, "pp")}
    (tmp_path / "numbers.json").write_text(numbers.as_json(quoted))
    (tmp_path / numbers.UNQUOTED).write_text("toy.net.top1\ntoy.net.ratio\n")
    known = numbers.load(tmp_path)
    assert numbers.look_up(known, "toy.net.drop").value == 0.05
    with pytest.raises(ValueError, match=r"is known but .* then run 'qstudy collect'"):
        numbers.look_up(known, "toy.net.top1")
    with pytest.raises(ValueError, match=r"all known keys \(3\): toy\.net\.top1, "):
        numbers.look_up(known, "toy.net.top5")


def test_numbers_are_written_with_ten_significant_digits():
    text = numbers.as_json({"k": Number(1 / 3, "pp", 2, 2e5 / 3, 1e-7 / 3, 3)})
    stored = json.loads(text)["k"]
    assert (stored["value"], stored["low"]) == (0.3333333333, 66666.66667)
    assert stored["high"] == 3.333333333e-08 and stored["n"] == 3
    assert numbers.as_json({"k": Number(0.1 + 0.2)}) == numbers.as_json(
        {"k": Number(0.3)}
    )
