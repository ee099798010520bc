"""Quoted numbers: how they print, and where they are put."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qstudy.report import numbers
from qstudy.spec import Number

DROP = Number(0.0512, "pp", 2, -0.07, 0.17, 10_000, ("a" * 64, "b" * 64))


@pytest.mark.parametrize(
    ("number", "part", "text"),
    [
        (DROP, "full", "0.05 pp [-0.07, 0.17]"),
        (DROP, "value", "0.05 pp"),
        (DROP, "n", "10,000"),
        (Number(2.3149, "×", 2, 2.2, 2.419), "full", "2.31× [2.20, 2.42]"),
        (Number(2.3149, "ratio", 2), "full", "2.31×"),
        (Number(2.3149, "x", 1), "value", "2.3×"),
        (Number(91.234, "%", 2), "full", "91.23 %"),
        (Number(272474), "full", "272,474"),
        (Number(20, "", 0), "value", "20"),
        (Number(-0.001, "pp", 2), "full", "0.00 pp"),
        (Number(1234.5, "ms", 1), "full", "1,234.5 ms"),
        (Number("holds"), "full", "holds"),
        (Number("undecided here", low=1.0, high=2.0), "value", "undecided here"),
    ],
)
def test_a_number_prints_compactly(number, part, text):
    assert numbers.format_number(number, part) == text


def test_a_wrong_part_is_named():
    with pytest.raises(ValueError, match="part 'mean' is not one of"):
        numbers.format_number(DROP, "mean")
    with pytest.raises(ValueError, match="has no n"):
        numbers.format_number(Number(1.0), "n")


def test_numbers_come_back_from_the_file_that_collect_writes(tmp_path):
    quoted = {"toy.net.drop": asdict(DROP), "toy.net.claim": asdict(Number("holds"))}
    (tmp_path / "numbers.json").write_text(json.dumps(quoted))
    assert numbers.load(tmp_path) == {
        "toy.net.drop": DROP,
        "toy.net.claim": Number("holds"),
    }


def test_a_tree_without_numbers_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="qstudy collect"):
        numbers.load(tmp_path)


def test_markers_are_filled_and_all_else_stays():
    text = "a <!-- q:k.v --><!-- /q --> b\n<!-- q:k.v:value -->old\n<!-- /q --> c 0.5"
    once = numbers.rewrite_markers(text, {"k.v": DROP})
    assert once == (
        "a <!-- q:k.v -->0.05 pp [-0.07, 0.17]<!-- /q --> b\n"
        "<!-- q:k.v:value -->0.05 pp<!-- /q --> c 0.5"
    )


@given(st.text(alphabet="ab ×<!->\n/"), st.floats(-1e4, 1e4), st.text("cd <>-"))
def test_rewriting_twice_changes_nothing_more(around, value, old):
    text = f"{around}<!-- q:k -->{old}<!-- /q -->{around}"
    quoted = {"k": Number(value, "ms", 3)}
    once = numbers.rewrite_markers(text, quoted)
    assert numbers.rewrite_markers(once, quoted) == once
    assert once.startswith(around) and once.endswith(around)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "<!-- q:k.w --><!-- /q -->",
            r"'k\.w' is not in numbers\.json; .*: k\.v, l\.v$",
        ),
        ("<!-- q:k.v -->", "marker is broken"),
        ("<!-- /q -->", "marker is broken"),
        ("<!-- q:k.v --><!-- q:k.v --><!-- /q --><!-- /q -->", "marker is broken"),
    ],
)
def test_a_bad_marker_is_an_error(text, message):
    with pytest.raises(ValueError, match=message):
        numbers.rewrite_markers(text, {"k.v": DROP, "l.v": DROP})


def test_an_unknown_key_is_answered_with_the_nearest_ones():
    keys = [f"toy.net{i}.top1" for i in range(40)] + ["toy.net7.drop", "other.net7"]
    with pytest.raises(ValueError, match=r"keys \(42\): toy\.net7\.drop, ") as error:
        numbers.look_up(dict.fromkeys(keys, Number(1.0)), "toy.net7.drops")
    assert str(error.value).count("toy.") == 6 and "\n" not in str(error.value)
    with pytest.raises(ValueError, match="there are no numbers in it"):
        numbers.look_up({}, "toy.net7.drop")
