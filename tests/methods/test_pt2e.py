"""The export route: quantized nodes are there, int8 kernels run, answers agree."""

import shutil
import sys

import pytest
import torch

from qstudy.methods import pt2e


@pytest.fixture
def torchao():
    return pytest.importorskip("torchao", reason="the extra `engines` is not installed")


def test_without_torchao_the_way_out_is_named(resnet8, images, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "torchao"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(ImportError, match="this package's extra `engines`"):
        pt2e.quantize_pt2e(resnet8, [images])


def test_what_is_not_allowed_is_refused_before_anything_is_exported(resnet8, images):
    with pytest.raises(ValueError, match=r"activation_bits 4 is not one of \(7, 8\)"):
        pt2e.quantize_pt2e(resnet8, [images], activation_bits=4)
    with pytest.raises(ValueError, match="there are no calibration batches"):
        pt2e.quantize_pt2e(resnet8, [])


@pytest.mark.parametrize("bits", [7, 8])
def test_the_graph_is_quantized_as_asked(torchao, resnet8, images, bits):
    quantized = pt2e.quantize_pt2e(
        resnet8, [images[:1], images[1:]], activation_bits=bits
    )
    nodes = pt2e.count_nodes(quantized)
    assert nodes.compute == 9 + 3 + 1
    assert nodes.quantize > 0
    assert nodes.dequantize >= nodes.quantize + 10  # a weight each and the activations
    ranges = {
        node.args[3:5]
        for node in quantized.graph.nodes
        if str(node.target).startswith("quantized_decomposed.quantize_per_tensor")
    }
    assert ranges == {(0, 2**bits - 1)}
    with torch.inference_mode():
        both = torch.stack([resnet8(images).flatten(), quantized(images).flatten()])
        assert quantized(images[:1]).shape == (1, 10)
    assert torch.corrcoef(both)[0, 1].item() > 0.99


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")
def test_lowering_runs_int8_kernels(torchao, resnet8, images):
    quantized = pt2e.quantize_pt2e(resnet8, [images])
    forward = pt2e.compiled(quantized)
    with torch.inference_mode():
        both = torch.stack([forward(images).flatten(), quantized(images).flatten()])
        with torch.profiler.profile() as profile:
            forward(images)
    assert torch.corrcoef(both)[0, 1].item() > 0.999
    calls = {event.key: event.count for event in profile.key_averages()}
    int8 = sum(n for key, n in calls.items() if key.startswith("onednn::q"))
    assert int8 == 10  # nine convolutions, the additions inside them, and the linear
    assert not {"aten::convolution", "aten::addmm"} & calls.keys()
