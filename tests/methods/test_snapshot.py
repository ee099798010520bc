"""A buffer that is read and updated in one step gives the gradient of what was read."""

import pytest
import torch
from torch import nn

from qstudy.methods.snapshot import snapshot


class Averaging(nn.Module):
    """x sqrt(average) w, and the average moves: the pattern of every observer."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))
        self.register_buffer("average", torch.full((3,), 4.0))

    def forward(self, x):
        y = x * (self.w * snapshot(self.average).sqrt())
        with torch.no_grad():
            self.average.lerp_(x.detach().square().mean(0), 0.5)
        return y


def test_the_compiled_gradient_is_that_of_the_value_read():
    torch._dynamo.reset()
    module = Averaging()
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    compiled(torch.full((2, 3), 10.0)).sum().backward()
    assert module.average.tolist() == [52.0] * 3
    assert module.w.grad.tolist() == [2 * 10 * 2.0] * 3  # batch, x, sqrt(4)
    torch._dynamo.reset()


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32])
def test_it_is_a_copy_and_a_well_formed_operator(dtype):
    buffer = torch.arange(6).reshape(2, 3).to(dtype)
    copy = snapshot(buffer)
    assert torch.equal(copy, buffer) and copy.dtype == dtype
    buffer.zero_()
    assert copy.any()
    torch.library.opcheck(snapshot, (copy,), test_utils="test_schema")
    torch.library.opcheck(snapshot, (copy,), test_utils="test_faketensor")
