"""The routes that take networks of text, and what they compute in."""

import pytest
import torch

from qstudy.experiments.speed.recipe import TEXT_CANDIDATES
from qstudy.methods import routes
from qstudy.methods.routes import examine, route
from qstudy.models import served, text
from tests.methods.routes import networks
from tests.methods.routes.test_routes import LEAST, skip_unless_here

LENGTH = 12
NETWORKS = {
    "lstm": (lambda: served.NextWord(text.build("tiny_lstm")).eval(), 200),
    "encoder": (
        lambda: served.Sentence(text.build("tiny_encoder"), length=LENGTH).eval(),
        300,
    ),
}
# Kernels that multiply in int8 and in floats: LSTM layers, linear layers, attention.
INT8 = {
    "int8:dynamic": {"lstm": (2, 0), "encoder": (12, 2)},
    "int8:pt2e": {"encoder": (12, 2)},
    "int8:ort_dynamic": {"lstm": (3, 0)},
}
REFUSED = {
    ("lstm", "fp32:traced"): "chooses by a tensor",
    ("lstm", "fp32:compiled"): "LSTM",
    ("lstm", "bf16:compiled"): "LSTM",
    ("lstm", "int8:ort_qdq"): "QuantizeLinear",
}


def source_of(name, folder):
    make, words = NETWORKS[name]
    how = {"generator": torch.Generator().manual_seed(0), "vocabulary": words}
    calibration = tuple(route.inputs((4, LENGTH), **how) for _ in range(2))
    example = route.inputs((1, LENGTH), **how)
    return routes.Source(make(), example, calibration, folder, words)


@pytest.mark.parametrize("name", TEXT_CANDIDATES)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_route_takes_ids_or_says_why_not(name, network, tmp_path):
    skip_unless_here(name)
    found = examine.examine(source_of(network, tmp_path), [name])[name]
    if (network, name) in REFUSED:
        assert REFUSED[network, name] in found.refused
        return
    assert found.refused == ""
    assert found.sqnr is None or found.sqnr > LEAST[name[:4].rstrip(":")]
    kernels = (found.kernels.total("int8"), found.kernels.total("float"))
    if not name.startswith("int8"):
        assert kernels[0] == 0 and kernels[1] > 0
    elif network in INT8.get(name, {}):
        assert kernels == INT8[name][network]
    else:
        assert kernels[0] > 0


@pytest.mark.parametrize("name", ["int8:dynamic", "int8:ort_dynamic"])
def test_dynamic_routes_leave_convolutions_to_the_static_ones(name, tmp_path):
    skip_unless_here(name)
    make, shape = networks.ALL["plain_cnn"]
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    source = routes.Source(make(), images, (images,), tmp_path)
    found = examine.examine(source, [name])[name]
    assert "has no dynamic form: the static int8 routes take convolutions" in (
        found.refused
    )


def test_inputs_are_ids_where_there_is_a_vocabulary():
    generator = torch.Generator().manual_seed(0)
    ids = route.inputs((50, 20), generator=generator, vocabulary=7)
    assert ids.dtype == torch.int64 and set(ids.flatten().tolist()) == set(range(7))
    assert route.inputs((2, 3), generator=generator).dtype == torch.float32
