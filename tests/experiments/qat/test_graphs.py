"""The deck's five graphs and Jacob's two, from a run to the figures."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from qstudy.experiments import baselines, qat
from qstudy.experiments.qat import grid_graphs, tasks_graphs
from qstudy.experiments.qat.grid import ptq_spec
from qstudy.models import zoo
from qstudy.report import figures, graphs, style
from qstudy.spec import Value, Values
from tests.experiments.records import record
from tests.methods.networks import stir
from tests.report.test_graphs import check_texts

NAMES = (
    *("original", "dynamic", "static", "fake_quantized", "converted"),
    *("jacob_inference", "jacob_training"),
)
SPEC = grid_graphs.graphs()[0]


class Inputs:
    """Noise for images, in place of a context."""

    def images(self, dataset, split):
        shape = (64, 32, 32, 3)
        return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8), None


def run(model, seed=0):
    """The task's record of `model` with random weights."""
    with pytest.MonkeyPatch.context() as patch:
        network = stir(zoo.build(model), seed=seed)
        patch.setattr(tasks_graphs, "parent_network", lambda spec, ctx: network)
        return record(SPEC, qat.run(SPEC, Inputs()))


@pytest.fixture(scope="module")
def made():
    # As ResNet-20 it ends in a block whose shortcut is the identity.
    return run("resnet14")


@pytest.fixture(scope="module")
def table(made):
    return qat.tables([made])["qat_graphs.csv"]


@pytest.fixture(scope="module")
def drawn(table):
    with style.context():
        return {f.name: f for f in qat.figures({"qat_graphs.csv": table})}


def types(table, graph):
    """(reader's operation, its source's operation, dtype, grid), without "input"."""
    rows = table[table.graph == graph]
    return list(
        zip(rows.target_operation, rows.source_operation, rows.dtype, rows.grid,
            strict=True)
    )  # fmt: skip


def test_all_values_are_exact(made):
    assert {(v.kind, v.unit) for v in made.values.values()} == {("exact", "text")}


def test_other_weights_give_the_same_record(made):
    assert run("resnet14", seed=1).values == made.values


def test_graphs_stand_beside_the_other_tables(made):
    spec = ptq_spec(baselines.dev("resnet20"), "w8a8")
    correct = np.ones(5000, dtype=np.uint8)
    top1 = Value(100.0, "%", "isa", 99.0, 100.0)
    other = record(spec, Values({"top1": top1}, arrays={"correct": correct}))
    found = qat.tables([made, other])
    alone = qat.tables([made])
    assert found["qat_graphs.csv"].equals(alone["qat_graphs.csv"])
    assert {"qat_graphs.csv"} == set(alone) < set(found)


def test_the_original_is_all_float(table):
    assert {row[2:] for row in types(table, "original")} == {("float32", 0)}


def test_dynamic_quantization_reaches_the_weight_of_the_linear_layer_alone(table):
    original, dynamic = types(table, "original"), types(table, "dynamic")
    assert [row for row in dynamic if row[2] != "float32"] == [
        ("dynamic linear", "weight", "qint8", 0)
    ]
    assert len(original) == len(dynamic)


def test_the_converted_graph_is_the_statically_quantized_one(table):
    static = types(table, "static")
    assert static == types(table, "converted")
    floats = [row[:2] for row in static if row[2] == "float32"]
    assert floats == [
        *(("conv2d + relu", "bias"), ("conv2d", "bias"), ("linear", "bias")),
        ("output", "dequantize"),
    ]
    assert {row[2] for row in static} == {"quint8", "qint8", "float32"}


def test_in_training_every_layer_reads_floats_on_a_grid(table):
    rows = types(table, "fake_quantized")
    assert {row[2] for row in rows} == {"float32"}
    read = [row for row in rows if row[0] in ("conv2d", "linear", "add")]
    assert [row for row in read if row[3] != 8] == [("linear", "bias", "float32", 0)]


def test_the_bits_of_jacobs_pictures(table):
    inference = table[table.graph == "jacob_inference"]
    bits = {
        (row.source_operation, row.target_operation): (row.dtype, row.bits)
        for row in inference.itertuples()
    }
    clamp = "+ zero point, relu and clamp"
    assert bits == {
        ("input", "conv2d"): ("uint8", 8),
        ("weight", "conv2d"): ("int8", 8),
        ("conv2d", "+ bias"): ("int32", 32),
        ("bias", "+ bias"): ("int32", 32),
        ("+ bias", "× multiplier"): ("int32", 32),
        ("mantissa", "× multiplier"): ("int32", 32),
        ("shift", "× multiplier"): ("int8", 8),
        ("× multiplier", clamp): ("int32", 32),
        (clamp, "output"): ("uint8", 8),
    }
    assert types(table, "jacob_training") == [
        ("fake quantize", "weight", "float32", 0),
        ("conv2d", "previous layers", "float32", 8),
        ("conv2d", "fake quantize", "float32", 8),
        ("conv2d", "bias", "float32", 0),
        ("relu", "conv2d", "float32", 0),
        ("fake quantize", "relu", "float32", 0),
        ("next layers", "fake quantize", "float32", 8),
    ]


def test_each_graph_is_a_figure_whose_texts_stand_apart(drawn, tmp_path):
    assert list(drawn) == [f"qat_graph_{name}" for name in NAMES]
    for figure in drawn.values():
        check_texts(figure.figure)
        figures.publish(figure, tmp_path)


def test_its_letters_are_large_enough_on_a_phone(drawn):
    """A column of 360 pixels, 16 of them margin on either side, 96 to an inch."""
    for figure in drawn.values():
        shrunk = min(1.0, 328 / (96 * figure.figure.get_figwidth()))
        for axis in figure.figure.axes:
            assert all(text.get_fontsize() * shrunk >= 9 for text in axis.texts)


def test_the_svg_says_each_operation_and_type_and_the_words_do(drawn, table, tmp_path):
    for name, figure in drawn.items():
        figures.publish(figure, tmp_path)
        root = ET.fromstring((tmp_path / f"{name}.svg").read_text(encoding="utf-8"))
        svg = " ".join(" ".join(e.itertext()) for e in root.iter() if e.text)
        rows = table[table.graph == name.removeprefix("qat_graph_")]
        for word in {*rows.source_operation, *rows.target_operation, *rows.dtype}:
            assert all(part in svg for part in word.split()), (name, word)
        for word in {*rows.dtype, *rows.source_operation}:
            told = re.sub(r"^\+|(?<=\w )\+", "plus", word).replace("×", "times")
            assert told in figure.alt, (name, told)


def test_the_caption_counts_what_was_traced(table):
    (original,) = [
        f.caption
        for f in qat.figures({"qat_graphs.csv": table})
        if f.name == "qat_graph_original"
    ]
    assert "all 16 edges carry floats of 32 bits" in original
    planted = table.copy()
    row = planted[planted.graph == "original"].index[0]
    planted.loc[row, ["dtype", "bits"]] = ["int16", 16]
    (changed,) = [
        f.caption
        for f in qat.figures({"qat_graphs.csv": planted})
        if f.name == "qat_graph_original"
    ]
    source = planted.source_operation[row]
    assert f"of 16 edges 1 carries integers ({source})" in changed


def test_a_shortcut_with_a_convolution_takes_a_second_lane():
    """ResNet-8, the network of the smoke run."""
    found = qat.tables([run("resnet8")])["qat_graphs.csv"]
    rows = found[found.graph == "fake_quantized"]
    check_texts(graphs.draw(rows))
    assert graphs.draw(rows).get_figwidth() > graphs.WIDTH
