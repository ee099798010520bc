"""The code that readers are told to copy runs as it stands."""

import re

import nbformat
import pytest
import torch
from torch import nn

from qstudy.models.resnet import resnet
from qstudy.study.tree import repository


def snippets(name):
    source = nbformat.read(repository() / "chapters" / f"{name}.ipynb", as_version=4)
    text = "\n".join(c.source for c in source.cells if c.cell_type == "markdown")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.relu1 = nn.ReLU()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 10)

    def forward(self, x):
        return self.fc(self.pool(self.relu1(self.bn1(self.conv1(x)))).flatten(1))


@pytest.fixture
def batches():
    return [torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))]


@pytest.fixture(autouse=True)
def engine():
    before = torch.backends.quantized.engine
    yield
    torch.backends.quantized.engine = before


# torch.ao's own default observers and quantized tensors announce their removal.
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_quantize_your_own_model(batches):
    eager, own = snippets("static")
    assert len([line for line in eager.splitlines() if line.strip()]) <= 11
    names = {"model": Small(), "calibration_batches": batches}
    exec(eager, names)
    kind = type(names["quantized"].module.conv1).__module__
    assert "quantized" in kind
    assert names["quantized"](batches[0]).shape == (4, 10)
    names = {"model": resnet(8), "calibration_batches": batches}
    exec(own, names)
    assert names["quantized"](batches[0]).shape == (4, 10)


def test_fold_a_network_of_your_own(batches):
    names = {"model": resnet(8)}
    (fold,) = snippets("fusion")
    exec(fold, names)
    expected = names["model"].eval()(batches[0])
    torch.testing.assert_close(names["fused"](batches[0]), expected)


def test_find_a_range_for_activations_of_your_own(batches):
    positive = [batch.relu() for batch in batches]
    names = {"batches": positive}
    exec(snippets("formulas")[-1], names)
    rounded = names["rounded"]
    assert rounded.shape == positive[0].shape
    values = rounded.unique()
    assert 8 < len(values) <= 16
    low, high = names["low"], names["high"]
    assert low == values.min() == 0 and values.max() == pytest.approx(high)
    # What clipping gives up for finer steps: the mean square beats that of no clipping.
    assert high < positive[0].max()
    step = positive[0].max() / 15
    plain = (positive[0] / step).round() * step
    errors = [((x - positive[0]) ** 2).mean() for x in (rounded, plain)]
    assert errors[0] < errors[1]
