"""What stands in the place of a number, a figure or a table that was not measured."""

from types import SimpleNamespace

import pytest

from qstudy.report import numbers
from qstudy.report.absent import NOT_MEASURED, Absent, AbsentFrame
from qstudy.report.sphinx_ext import leave_out_cards
from qstudy.spec import Number
from qstudy.study.collect import absent


@pytest.mark.parametrize("part", numbers.PARTS)
def test_what_was_not_measured_says_so_in_every_part(part):
    assert numbers.format_number(Number(NOT_MEASURED), part) == NOT_MEASURED
    with pytest.raises(ValueError, match="part 'mean' is not one of"):
        numbers.format_number(Number(NOT_MEASURED), "mean")


def test_the_words_stand_for_keys_of_chapters_without_records_alone():
    keys = {"static.net.drop", "lsq.net.drop", "lqs.net.drop"}
    found = absent(keys, ["static", "qat"])
    assert set(found) == {"static.net.drop"}
    assert {number.value for number in found.values()} == {NOT_MEASURED}
    with pytest.raises(ValueError, match=r"'lqs\.net\.drop' is not in numbers.json"):
        numbers.look_up(found, "lqs.net.drop")


def test_a_chapter_is_measured_where_one_of_its_numbers_is():
    known = numbers.Quoted({"lsq.net.drop": Number(NOT_MEASURED)})
    known["qat.net.drop"] = Number(0.5, "pp")
    known.unquoted = ("speed.net.ratio",)
    told = [numbers.measured(known, name) for name in ("lsq", "qat", "speed", "static")]
    assert told == [False, True, True, False]


@pytest.mark.parametrize("label", ["fig-lsq-core", "tab-lsq"])
def test_its_place_keeps_the_label_and_names_the_chapter(label):
    bundle, told = Absent(label, "lsq")._repr_mimebundle_()
    assert NOT_MEASURED in bundle["text/markdown"]
    assert ("|" in bundle["text/markdown"]) == label.startswith("tab-")
    assert told["text/markdown"]["name"] == label
    assert "no records of the chapter lsq" in told["text/markdown"]["caption"]
    assert "no records of the chapter lsq" in bundle["text/plain"]


def test_whatever_a_cell_makes_of_a_missing_table_is_missing():
    frame = AbsentFrame()
    chosen = frame[(frame.bits == 4) & ~frame.form.str.startswith("a")]
    wide = chosen.sort_values("drop").iloc[0].pivot_table(values="ratio")
    assert isinstance(wide, AbsentFrame)
    wide["shape"] = wide.width.map("W{0}".format) + ", " + (1 - wide.height)
    wide.columns = ["form", "drop"]
    assert f"{wide.drop_pp.max():.2f} of {len(wide)}, {int((wide > 0).sum())}" == (
        "– of 0, 0"
    )
    assert dict.fromkeys(wide, 2) == {} and str(wide.lo) == "–"
    with pytest.raises(AttributeError):
        wide._repr_html_()


def test_a_card_that_was_not_written_is_left_out_of_its_page(tmp_path):
    for name in ("chapters", "results/cards"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "results/cards/there.md").write_text("## there\n")
    page = "# Networks\n\n```{include} ../results/cards/%s.md\n```\n\nEnd.\n"
    environment = SimpleNamespace(doc2path=lambda name: tmp_path / f"{name}.md")
    for name, left in (("there", page % "there"), ("gone", "# Networks\n\nEnd.\n")):
        source = [page % name]
        leave_out_cards(SimpleNamespace(env=environment), "chapters/networks", source)
        assert source == [left]
