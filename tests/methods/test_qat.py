"""Training with rounding: the schedule, resuming, and what is refused."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qstudy.methods import convert, qat
from qstudy.methods.simulate import SimulateConfig, layers, quantizers, simulate
from qstudy.models import zoo
from qstudy.training import loop
from qstudy.training.recipe import Recipe

IMAGES = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
LABELS = np.random.default_rng(1).integers(0, 10, 64)
RECIPE = Recipe(
    epochs=2, batch=32, peak_lr=0.01, precision="fp32", compiled=False, warmup=0.0
)
MOVING = {"ranges": "moving_average", "bn_strategy": "one_pass"}


def network(**config):
    model = zoo.build("resnet8", seed=0)
    x = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    model(x)
    return simulate(model.eval(), SimulateConfig(**config), calibration=[x])


train = partial(
    qat.train,
    images=IMAGES,
    labels=LABELS,
    recipe=RECIPE,
    schedule=qat.Schedule(),
    seed=0,
)


@given(observe=st.floats(0, 1), more=st.floats(0, 1), step=st.integers(0, 99))
def test_what_holds_at_a_step_is_decided_by_its_number_alone(observe, more, step):
    statistics = observe + more * (1 - observe)
    schedule = qat.Schedule(observe=observe, statistics=min(1.0, statistics))
    made = NETWORK
    schedule.apply(made, step, 100)
    activations = [
        q for q in quantizers(made).values() if not q.name.endswith("weight")
    ]
    assert {bool(q.observing) for q in activations} == {step < observe * 100}
    if step >= schedule.statistics * 100:
        assert all(
            layer.frozen for layer in layers(made).values() if hasattr(layer, "bn")
        )


NETWORK = network(**MOVING)


def test_ranges_and_statistics_rest_when_the_schedule_says_so():
    made = network(**MOVING)
    seen = []

    def look(progress):
        first = next(iter(quantizers(made).values()))
        held = made.get_submodule("conv1").bn.running_mean
        seen.append((float(first.high), held.clone()))

    recipe = Recipe(**{**RECIPE.params(), "epochs": 3})
    schedule = qat.Schedule(observe=1 / 3, statistics=2 / 3)
    train(made, recipe=recipe, schedule=schedule, report=look)
    (low, first), (rested, second), (last, third) = seen
    assert rested == last == low  # from the second epoch on
    assert not torch.equal(first, second) and torch.equal(second, third)


def test_a_killed_training_ends_in_the_same_bits(tmp_path):
    whole, parts = network(**MOVING), network(**MOVING)
    schedule = qat.Schedule(observe=0.5, statistics=0.5)
    train(whole, schedule=schedule)
    train(parts, schedule=schedule, resume=tmp_path, stop_after=1)
    parts = network(**MOVING)
    train(parts, schedule=schedule, resume=tmp_path)
    expected, found = whole.state_dict(), parts.state_dict()
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name


def test_a_trained_network_converts_to_int8():
    made = network(**{"weight_ranges": "moving_average", "bn_strategy": "none"})
    before = made.get_submodule("conv1").conv.weight.clone()
    train(made)
    assert not torch.equal(before, made.get_submodule("conv1").conv.weight)
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        int8 = convert.convert(made, engine="fbgemm")(x)
        assert (int8 - made(x)).abs().max() < 0.2 * made(x).abs().max()


@pytest.mark.parametrize("name", ["observe", "statistics"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} .* is outside 0 to 1"):
        qat.Schedule(**{"observe": 0.0, name: value})


def test_statistics_that_rest_before_the_ranges_are_refused():
    with pytest.raises(ValueError, match="ranges must rest first"):
        qat.Schedule(observe=0.5, statistics=0.4)


def test_what_cannot_be_trained_is_one_line():
    still = Recipe(**{**RECIPE.params(), "peak_lr": 0.0})
    with pytest.raises(ValueError, match="peak_lr 0 trains nothing"):
        train(network(), recipe=still)
    with pytest.raises(ValueError, match="was not made by simulate"):
        train(zoo.build("resnet8"))
    bare = simulate(zoo.build("resnet8").eval(), SimulateConfig())
    with pytest.raises(ValueError, match="has no range: calibrate it"):
        train(bare)


def test_divergence_names_the_step_and_keeps_the_last_good_state(tmp_path, monkeypatch):
    train(network(), resume=tmp_path, stop_after=1)
    kept = (tmp_path / "state.safetensors").read_bytes()
    wild = Recipe(**{**RECIPE.params(), "peak_lr": 100.0, "momentum": 0.0})
    with (
        monkeypatch.context() as patch,
        pytest.raises(FloatingPointError, match=r"nan at step 3 of 4, .* rate 75:"),
    ):
        patch.setattr(loop, "train_step", lambda *a, **k: torch.tensor(float("nan")))
        train(network(), recipe=wild, resume=tmp_path)
    assert (tmp_path / "state.safetensors").read_bytes() == kept


def test_ranges_that_follow_weights_are_those_of_the_last_update():
    made = network(weight_ranges="moving_average", bn_strategy="none")
    train(made)
    for layer in layers(made).values():
        weight = getattr(layer, "conv", getattr(layer, "layer", None)).weight
        low, high = layer.weight_quantizer.range()
        rows = weight.detach().flatten(1)
        # A range holds zero, so that padding has a code.
        assert torch.equal(low, rows.amin(1).clamp(max=0.0))
        assert torch.equal(high, rows.amax(1).clamp(min=0.0))
