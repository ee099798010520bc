"""Graphs on a narrow page: where boxes stand, what the lines say, what words tell."""

import pandas as pd
import pytest

from qstudy.report import graphs, style
from qstudy.report.graph_layout import lay_out

KINDS = {"x": "input", "w": "parameter", "b": "parameter", "output": "output"}
TOLD = {"x": "previous layers", "w": "weight", "b": "bias", "fq": "fake quantize"}


def frame(*edges):
    """Rows of (source, target, dtype, bits, grid), in the order in which they run."""
    return pd.DataFrame(
        [
            {
                "source": source,
                "source_kind": KINDS.get(source, "operation"),
                "source_operation": TOLD.get(source, source),
                "target": target,
                "target_kind": KINDS.get(target, "operation"),
                "target_operation": TOLD.get(target, target),
                "dtype": dtype,
                "bits": bits,
                "grid": grid,
            }
            for source, target, dtype, bits, grid in edges
        ]
    )


BLOCK = frame(
    ("w", "fq", "float32", 32, 0),
    ("x", "conv", "float32", 32, 8),
    ("fq", "conv", "float32", 32, 4),
    ("b", "conv", "int32", 32, 0),
    ("conv", "add", "uint8", 8, 0),
    ("x", "add", "float32", 32, 8),
    ("add", "output", "float32", 32, 0),
)


def places(edges):
    return {
        box.name: (box.row, box.rows, box.beside)
        for box in lay_out(edges.itertuples(index=False)).boxes
    }


def test_one_column_runs_down_and_weights_stand_beside_their_reader():
    assert places(BLOCK) == {
        "x": (0, 1, False),
        "w": (0, 1, True),
        "fq": (1, 1, True),
        "b": (2, 1, True),
        "conv": (1, 2, False),
        "add": (3, 1, False),
        "output": (4, 1, False),
    }


def test_only_what_passes_over_others_takes_a_lane():
    lines = lay_out(BLOCK.itertuples(index=False)).lines
    lanes = {(li.source.name, li.target.name): li.lane for li in lines}
    assert lanes.pop(("x", "add")) == 1
    assert set(lanes.values()) == {0}


def test_lanes_that_meet_are_two():
    plain = ("float32", 32, 0)
    both = frame(
        ("x", "a", *plain), ("a", "b", *plain), ("b", "c", *plain), ("x", "c", *plain),
        ("a", "d", *plain), ("c", "d", *plain), ("d", "output", *plain),
    )  # fmt: skip
    layout = lay_out(both.itertuples(index=False))
    assert sorted(line.lane for line in layout.lines if line.lane) == [1, 2]
    figure = graphs.draw(both)
    assert figure.get_figwidth() > graphs.WIDTH
    check_texts(figure)


def texts(figure):
    return [t for axis in figure.axes for t in axis.texts if t.get_text()]


def check_texts(figure):
    """No text leaves the figure, is small, touches another or the rim of a box."""
    with style.context():
        figure.canvas.draw()
    boxes = {}
    for text in texts(figure):
        assert text.get_fontsize() >= 9
        box = text.get_window_extent()
        inside = figure.bbox
        assert inside.x0 <= box.x0 and box.x1 <= inside.x1, text.get_text()
        assert inside.y0 <= box.y0 and box.y1 <= inside.y1, text.get_text()
        for other, taken in boxes.items():
            assert not box.overlaps(taken), (text.get_text(), other.get_text())
        boxes[text] = box
        for axis in figure.axes:
            for rim in (patch.get_window_extent() for patch in axis.patches):
                within = rim.x0 < box.x0 and box.x1 < rim.x1
                within &= rim.y0 < box.y0 and box.y1 < rim.y1
                assert within or not box.overlaps(rim), text.get_text()


def said(figure):
    return [text.get_text() for text in texts(figure)]


@pytest.mark.parametrize("bits", [False, True])
def test_every_line_says_its_type_and_no_text_covers_another(bits):
    figure = graphs.draw(BLOCK, bits=bits)
    check_texts(figure)
    words = said(figure)
    assert words.count("float32, 8-bit grid") == 2 and "4-bit grid" in words
    # One line a figure has text on both sides of its arrow where widths are asked for.
    assert ("uint8, 8 bit" if bits else "uint8") in words
    assert words.count("int32") == 1 and ("32 bit" in words) == bits
    assert figure.get_figwidth() == graphs.WIDTH


def test_a_layer_left_in_float_changes_text_and_line():
    left = BLOCK.copy()
    left.loc[4, ["dtype", "bits"]] = ["float32", 32]

    def widths(edges):
        arrows = graphs.draw(edges).axes[0].texts
        return [a.arrow_patch.get_linewidth() for a in arrows
                if getattr(a, "arrow_patch", None)]  # fmt: skip

    assert "uint8" in said(graphs.draw(BLOCK))
    assert "uint8" not in said(graphs.draw(left))
    pairs = zip(widths(BLOCK), widths(left), strict=True)
    differing = [pair for pair in pairs if len({*pair}) > 1]
    assert len(differing) == 1
    assert graphs.sentence(left) != graphs.sentence(BLOCK)


def test_the_sentence_names_each_step_what_it_reads_and_what_it_gives():
    assert graphs.sentence(BLOCK, bits=True) == (
        "previous layers: float32 8-bit grid; "
        "conv with fake quantize of weight (float32 4-bit grid) and bias (int32 32 "
        "bit): uint8 8 bit; "
        "add with what previous layers gave above (float32 8-bit grid): float32 32 "
        "bit; output"
    )


def test_a_graph_without_input_is_refused():
    with pytest.raises(ValueError, match="none of 1 edges comes from an input"):
        graphs.draw(frame(("w", "fq", "float32", 32, 0)))


def test_a_parameter_made_of_two_is_refused():
    plain = ("float32", 32, 0)
    made = frame(("x", "c", *plain), ("w", "fq", *plain), ("b", "fq", *plain),
                 ("fq", "c", *plain), ("c", "output", *plain))  # fmt: skip
    with pytest.raises(ValueError, match="parameter 'fq' is made of"):
        graphs.draw(made)
