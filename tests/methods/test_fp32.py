"""The unquantized forms: one network, one answer, each in the layout it names."""

import shutil

import pytest
import torch
from torch.nn.utils import prune

from qstudy.methods import fp32, frozen

UNCOMPILED = [form for form in fp32.FP32_CANDIDATES if form != "compiled"]
needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch.compile needs g++"
)


def convolutions(forward, x):
    with torch.profiler.profile() as profile:
        forward(x)
    return {event.key: event.count for event in profile.key_averages()}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("how", UNCOMPILED)
def test_every_form_gives_the_network_s_logits(resnet8, images, how, layout):
    x = images.contiguous(memory_format=layout)
    with torch.inference_mode():
        wanted = resnet8(images)
    got = fp32.candidate(resnet8, how)(x)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    narrow = fp32.candidate(resnet8, how, precision="bf16")(x)
    assert narrow.dtype == torch.float32
    # 8 bits of mantissa through nine layers: near, and not the fp32 arithmetic.
    assert 1e-5 < ((narrow - wanted).norm() / wanted.norm()).item() < 0.1


def test_folding_shows_and_the_network_stays_as_it_was(resnet8, images):
    resnet8.train()
    state = {k: t.clone() for k, t in resnet8.state_dict().items()}
    unfolded = convolutions(fp32.channels_last(resnet8), images)
    folded = convolutions(fp32.channels_last_fused(resnet8), images)
    assert unfolded["aten::batch_norm"] == 9
    assert "aten::batch_norm" not in folded
    assert resnet8.training
    assert next(resnet8.parameters()).dtype == torch.float32
    assert all(torch.equal(t, state[k]) for k, t in resnet8.state_dict().items())


@needs_compiler
def test_the_compiled_form_is_frozen_and_answers_the_same(resnet8, images):
    forward = fp32.compiled(resnet8)
    x = images[:2]
    with torch.inference_mode():
        torch.testing.assert_close(forward(x), resnet8(x), rtol=1e-4, atol=1e-5)
    # Only a frozen program packs weights for these kernels and fuses into them.
    calls = convolutions(forward, x)
    fused = sum(n for key, n in calls.items() if "_convolution_pointwise" in key)
    assert fused == 9
    assert "aten::convolution" not in calls


def test_a_missing_compiler_is_named(resnet8, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(RuntimeError, match=r"no C\+\+ compiler 'no-such-compiler'"):
        fp32.compiled(resnet8)


def test_what_is_unknown_is_refused(resnet8):
    with pytest.raises(ValueError, match=r"form 'jit' is not one of \('eager', "):
        fp32.candidate(resnet8, "jit")
    with pytest.raises(ValueError, match=r"'fp16' is not one of \('fp32', 'bf16'\)"):
        fp32.eager(resnet8, precision="fp16")


def test_the_names_are_those_of_the_functions():
    for name in fp32.FP32_CANDIDATES + fp32.BF16_CANDIDATES:
        assert callable(getattr(fp32, name))
    assert frozen.Forward is fp32.Forward


@pytest.mark.parametrize("how", UNCOMPILED)
def test_a_pruned_network_is_refused_with_the_way_out(resnet8, how):
    prune.l1_unstructured(resnet8.conv1, "weight", 0.5)
    with pytest.raises(ValueError, match=r"Conv2d 'conv1' .*prune\.remove"):
        fp32.candidate(resnet8, how)
