"""A traced network calls the same kernels from C++, and refuses what it cannot see."""

import warnings

import pytest
import torch
from torch import nn

from qstudy.methods import convert, legacy, torchscript
from qstudy.methods.simulate import SimulateConfig, simulate
from qstudy.methods.simulate.ranges import calibrate

ENGINES_HERE = torch.backends.quantized.supported_engines


def called(forward, x):
    """How often each operator was called, and how many modules were."""
    with torch.profiler.profile() as profile:
        forward(x)
    return {event.key: event.count for event in profile.key_averages()}


@pytest.mark.parametrize("engine", [e for e in ENGINES_HERE if e != "none"])
def test_int8_is_the_same_to_the_bit_in_the_same_kernels(resnet8, images, engine):
    simulated = simulate(resnet8, SimulateConfig())
    calibrate(simulated, [images], observer="minmax")
    network = convert.convert(simulated, engine=engine)
    program = torchscript.trace_frozen(network.network)
    with torch.inference_mode(), legacy.engine(engine):
        assert torch.equal(program(images), network(images))
        wanted, got = called(network, images), called(program, images)
    kernels = [key for key in wanted if key.startswith("quantized::")]
    assert len(kernels) >= 3
    assert {key: got[key] for key in kernels} == {key: wanted[key] for key in kernels}


@pytest.mark.skipif("x86" not in ENGINES_HERE, reason="no engine x86")
def test_what_is_to_follow_torchscript_takes_no_quantized_module(resnet8, images):
    simulated = simulate(resnet8, SimulateConfig())
    calibrate(simulated, [images], observer="minmax")
    network = convert.convert(simulated, engine="x86").network
    with pytest.raises(AttributeError, match="__obj_flatten__"):
        torch.export.export(network, (images,))
    with pytest.raises(torch._dynamo.exc.UserError, match="data-dependent"):
        torch.compile(network, fullgraph=True)(images)


def test_no_module_is_called_any_more(resnet8, images):
    calls = []
    for module in resnet8.modules():
        module.register_forward_hook(lambda *_: calls.append(1))
    program = torchscript.trace_frozen(resnet8)
    with torch.inference_mode():
        program(images)
        assert calls
        calls.clear()
        program(images)
        assert not calls
        resnet8(images)
        assert calls


def test_each_shape_has_a_trace_of_its_own():
    class Sized(nn.Module):
        def forward(self, x):
            return x * int(x.shape[0])

    program = torchscript.trace_frozen(Sized().eval())
    with torch.inference_mode():
        for count in (2, 5, 2):
            x = torch.ones(count, 3)
            assert torch.equal(program(x), count * x)


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: x if x.sum() > 0 else -x,
        lambda x: x[: 1 if x.shape[0] > 1 else None],
    ],
)
def test_a_network_that_chooses_by_values_is_refused(answer):
    class Choosing(nn.Module):
        def forward(self, x):
            return answer(x)

    program = torchscript.trace_frozen(Choosing().eval())
    for _ in range(2):  # what was refused once is not kept
        with (
            torch.inference_mode(),
            pytest.raises(ValueError, match=r"chooses by a tensor.*another route"),
        ):
            program(torch.ones(2, 3))


def test_a_warning_of_the_network_s_own_is_heard():
    class Speaking(nn.Module):
        def forward(self, x):
            warnings.warn("a reader's own", UserWarning, stacklevel=1)
            return x + 1

    program = torchscript.trace_frozen(Speaking().eval())
    with torch.inference_mode(), pytest.warns(UserWarning, match="a reader's own"):
        program(torch.ones(2, 3))
