"""Docstrings written as Markdown come out of RST as they were meant."""

import re

import pytest
from docutils.core import publish_string

from qstudy.report.docstrings import to_rst

CASES = {
    "D = max|w| / 127.5, 2 * x * y, *.json and _hi": None,
    "`code` and `RunSpec`s, `a | b`": "code and RunSpecs, a | b",
    "| a | b |\n|---|---|\n| 1 | 2 |": None,
    "A formula:\n\n    q = clip(round(x / s))\n\nand so on.": None,
    "The role {q}`KEY`, (`x`)": "The role {q}KEY, (x)",
    "A `span\nover lines`.": "A span over lines.",
}


@pytest.mark.parametrize("text", CASES)
def test_the_words_survive_without_a_warning(text):
    rst = "\n".join(to_rst(text.split("\n")))
    settings = {"halt_level": 2, "report_level": 2, "output_encoding": "unicode"}
    made = publish_string(rst, writer_name="xml", settings_overrides=settings)
    made = made[made.index("<document") :]
    plain = " ".join(
        re.sub("</?(document|paragraph|literal_block)[^>]*>", " ", made).split()
    )
    plain = re.sub("<[^>]*>", "", plain)
    assert plain == " ".join((CASES[text] or text).split())
