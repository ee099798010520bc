"""Numbers in a page: the signs that touch one stay on its line."""

import pytest
from docutils import nodes
from docutils.utils import new_document

from qstudy.report.sphinx_nodes import keep_together, quoted


def kept_of(*pieces):
    """What stands in each span that does not wrap, and the text of the whole."""
    paragraph = nodes.paragraph()
    for piece in pieces:
        text = isinstance(piece, str)
        paragraph += nodes.Text(piece) if text else quoted("", *map(str, piece))
    document = new_document("page")
    document += paragraph
    keep_together(None, document)
    spans = [n for n in document.findall(nodes.inline) if "q-kept" in n["classes"]]
    assert len(list(document.findall(quoted))) == sum(map(len, map(_numbers, pieces)))
    return [span.astext() for span in spans], paragraph.astext()


def _numbers(piece):
    return () if isinstance(piece, str) else piece


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        (("It is ", [1], "."), ["1."]),
        (("It is (", [1], "), or ", [2], " of ", [3], "; "), ["(1),", "3;"]),
        (([1], "), twice"), ["1),"]),
        (("a word", [1], "more words"), []),
        (([1],), []),
        (("It is “", [1], "”"), ["“1”"]),
        (("(", [1], ")(", [2], ")"), ["(1)(", "2)"]),
    ],
)
def test_signs_that_touch_a_number_are_kept_with_it(pieces, kept):
    spans, whole = kept_of(*pieces)
    assert spans == kept
    # Not a sign is lost, and none is moved.
    assert whole == "".join(p if isinstance(p, str) else str(p[0]) for p in pieces)


def test_a_long_number_in_a_table_may_part_from_its_sign():
    for text, kept in (("1.14×", True), ("1.14× [1.10, 1.16]", False)):
        entry = nodes.entry("", nodes.paragraph("", "", quoted("", text)))
        entry[0] += nodes.Text(").")
        document = new_document("page")
        document += entry
        keep_together(None, document)
        assert bool(list(document.findall(nodes.inline))) is kept


def test_the_name_of_a_machine_may_part_from_its_full_stop():
    assert kept_of("on ", ["2.06 pp [1.57, 2.54]"], ".")[0] == ["2.06 pp [1.57, 2.54]."]
    assert kept_of("on ", ["processor of a family, 2 cores, 24 GiB"], ".")[0] == []
