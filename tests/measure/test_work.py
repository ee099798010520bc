"""Work is counted exactly, and peaks are those of instructions that exist."""

import shutil

import pytest
import torch
from torch import nn

from qstudy.measure import peaks
from qstudy.measure.work import LayerWork, layer_work
from qstudy.models import zoo


@pytest.mark.parametrize(
    ("layer", "shape", "macs", "kind"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), (2, 3, 5, 7), 2 * 8 * 5 * 7 * 27, "conv"),
        (nn.Conv2d(8, 8, 3, groups=8), (1, 8, 6, 6), 8 * 4 * 4 * 9, "depthwise"),
        (nn.Conv2d(8, 4, 1, groups=2), (1, 8, 6, 6), 4 * 6 * 6 * 4, "conv"),
        (nn.Linear(16, 10), (3, 16), 3 * 16 * 10, "linear"),
    ],
)
def test_a_layer_s_multiply_adds_are_counted(layer, shape, macs, kind):
    x = torch.zeros(shape)
    (work,) = layer_work(layer, x)
    elements = x.numel() + layer.weight.numel() + layer(x).numel()
    assert (work.macs, work.kind, work.operations) == (macs, kind, 2 * macs)
    assert work.bytes("fp32") == 4 * elements and work.bytes("int8") == elements
    assert work.intensity("int8") == 4 * work.intensity("fp32")


def test_a_network_s_work_is_the_published_count():
    # He et al. 2015 give ResNet-20's size; its 40.8 million multiply-adds are the
    # count commonly published for it.
    network = zoo.build("resnet20").eval()
    layers = layer_work(network, torch.zeros(1, 3, 32, 32))
    assert len(layers) == 22 and sum(w.macs for w in layers) == 40_813_184
    again = layer_work(network, torch.zeros(2, 3, 32, 32))
    assert sum(w.macs for w in again) == 2 * 40_813_184


def test_an_unknown_precision_is_named():
    with pytest.raises(ValueError, match="precision 'fp8' is not one of"):
        LayerWork("fc", "linear", 1, 1, 1, 1).bytes("fp8")


def test_levels_are_read_from_the_system(tmp_path):
    for number, (level, kind, size) in enumerate(
        [(1, "Data", 48), (1, "Instruction", 99), (2, "Unified", 2048)]
    ):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", f"{size}K")):
            (folder / name).write_text(f"{text}\n")
    sizes = peaks.level_sizes(threads=2, caches=tmp_path)
    assert sizes["L1"] == 24 * 1024 and sizes["L2"] == 2**20
    assert sizes["L3"] == 8 * 2**20 and sizes["memory"] == 64 * 2**20


def test_no_compiler_is_said(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(RuntimeError, match="no C compiler 'no-such-compiler'"):
        peaks.measure(seconds=0.01)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="peaks need gcc")
def test_peaks_are_rates():
    found = peaks.measure(seconds=0.02)
    assert "fp32" in found.operations
    assert set(found.operations) <= set(peaks.PRECISIONS)
    assert list(found.bandwidth) == ["L1", "L2", "L3", "memory"]
    rates = [*found.operations.values(), *found.bandwidth.values()]
    assert all(0 < rate < 1e6 for rate in rates)


def test_fewer_than_one_thread_is_refused():
    with pytest.raises(ValueError, match="threads 0 is not at least 1"):
        peaks.measure(threads=0)
