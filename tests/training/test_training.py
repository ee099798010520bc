"""The loop learns, resumes bit for bit, and its batches are what they claim."""

import errno
import itertools
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from qstudy.models.resnet import resnet
from qstudy.training.batches import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    augmented_batches,
    normalise,
)
from qstudy.training.loop import predict, train
from qstudy.training.recipe import Recipe
from qstudy.training.resume import STATE_FILE

pytestmark = pytest.mark.usefixtures("one_thread")


def images(count, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 256, (count, 32, 32, 3)).astype(np.uint8),
        rng.integers(0, 10, count).astype(np.uint8),
    )


SMALL = Recipe(epochs=3, batch=16, peak_lr=0.05, precision="fp32", compiled=False)


def weights(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "fp32"},
        {"precision": "bf16"},
        {"ema_decay": 0.9, "alternate_flip": True},
        {"muon_lr": 0.02, "muon_weight_decay": 0.1},
    ],
    ids=str,
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, change):
    x, y = images(64)
    recipe = replace(SMALL, **change)
    whole = resnet(8, seed=1)
    log = train(whole, x, y, recipe=recipe, seed=1)
    for stop in (1, 2, None):
        parts = resnet(8, seed=1)
        resumed = train(
            parts, x, y, recipe=recipe, seed=1, resume=tmp_path, stop_after=stop
        )
    assert [e["loss"] for e in resumed] == [e["loss"] for e in log]
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(parts)[name]), name


def test_another_seed_gives_another_network():
    x, y = images(32)
    ends = []
    for seed in (0, 1):
        model = resnet(8, seed=0)
        train(model, x, y, recipe=SMALL, seed=seed, stop_after=1)
        ends.append(weights(model))
    assert any(not torch.equal(ends[0][k], ends[1][k]) for k in ends[0])


def test_it_learns_what_is_learnable():
    x, y = images(64)
    y = y % 2
    x = (x // 4 + 160 * y[:, None, None, None]).astype(np.uint8)
    model = resnet(8, seed=0)
    recipe = Recipe(epochs=8, batch=16, peak_lr=0.05, precision="fp32", compiled=False)
    train(model, x, y, recipe=recipe, seed=0)
    assert (predict(model, x).argmax(1).numpy() == y).mean() > 0.95


def test_the_state_stays_small_enough_to_commit(tmp_path):
    x, y = images(16)
    train(resnet(20), x, y, recipe=SMALL, seed=0, resume=tmp_path, stop_after=1)
    assert (tmp_path / STATE_FILE).stat().st_size < 5 * 2**20
    assert [p.name for p in tmp_path.iterdir()] == [STATE_FILE]


def test_a_damaged_state_is_named(tmp_path):
    (tmp_path / STATE_FILE).write_bytes(b"half a file")
    x, y = images(16)
    with pytest.raises(ValueError, match=r"damaged.*delete it") as error:
        train(resnet(8), x, y, recipe=SMALL, seed=0, resume=tmp_path)
    assert "\n" not in str(error.value)


def test_a_full_disk_keeps_the_last_state_and_says_what_to_do(tmp_path, monkeypatch):
    x, y = images(16)
    train(resnet(8), x, y, recipe=SMALL, seed=0, resume=tmp_path, stop_after=1)
    before = (tmp_path / STATE_FILE).read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*free space") as error:
        train(resnet(8), x, y, recipe=SMALL, seed=0, resume=tmp_path, stop_after=2)
    assert "\n" not in str(error.value)
    assert (tmp_path / STATE_FILE).read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [STATE_FILE]


def test_a_diverging_run_stops():
    class Broken(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1)) * float("nan")

    x, y = images(16)
    told = r"the loss is nan at step 1 of \d+, at learning rate .*: lower it"
    with pytest.raises(FloatingPointError, match=told):
        train(Broken(3072, 10), x, y, recipe=SMALL, seed=0)


@settings(max_examples=20, deadline=None)
@given(
    padding=st.integers(0, 8), flip=st.booleans(), epoch=st.integers(0, 5),
    batch=st.integers(1, 12),
)  # fmt: skip
def test_batches_are_crops_and_flips_of_each_image_once(padding, flip, epoch, batch):
    x, y = images(12)
    y = np.arange(12, dtype=np.uint8)
    mean = np.round(np.array(CIFAR10_MEAN) * 255).astype(np.uint8)
    border = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
    padded = np.stack(
        [np.pad(x[..., c], border[:3], constant_values=int(mean[c])) for c in range(3)],
        axis=-1,
    )
    seen = []
    for crops, labels in augmented_batches(
        x, y, batch=batch, crop_padding=padding, flip=flip, seed=3, epoch=epoch
    ):
        assert crops.shape == (batch, 3, 32, 32)
        assert crops.is_contiguous(memory_format=torch.channels_last)
        for crop, label in zip(crops, labels, strict=True):
            seen.append(int(label))
            windows = np.lib.stride_tricks.sliding_window_view(
                padded[label], (32, 32), axis=(0, 1)
            ).reshape(-1, 3, 32, 32)
            pixels = crop.numpy().transpose(1, 2, 0)
            pixels = pixels * np.array(CIFAR10_STD) * 255
            found = np.round(pixels + np.array(CIFAR10_MEAN) * 255).transpose(2, 0, 1)
            candidates = [windows, windows[..., ::-1]] if flip else [windows]
            assert any((c == found).all((1, 2, 3)).any() for c in candidates)
    assert len(set(seen)) == len(seen) == 12 // batch * batch


@pytest.mark.parametrize("flip", [False, True])
def test_half_of_the_images_are_flipped_where_asked(flip):
    x, _ = images(200)
    batches = augmented_batches(
        x,
        np.arange(200, dtype=np.uint8),
        batch=100,
        crop_padding=0,
        flip=flip,
        seed=0,
        epoch=0,
    )
    plain = normalise(x)
    flipped = sum(
        not torch.equal(crop, plain[label])
        for crops, labels in batches
        for crop, label in zip(crops, labels, strict=True)
    )
    assert 70 < flipped < 130 if flip else flipped == 0


def test_alternate_flips_turn_every_image_over_once_an_epoch():
    x, _ = images(40)
    labels = np.arange(40, dtype=np.uint8)
    flips = []
    for epoch in range(3):
        batches = augmented_batches(
            x, labels, batch=40, crop_padding=0, flip=True, alternate_flip=True,
            seed=0, epoch=epoch,
        )  # fmt: skip
        (crops, order), plain = next(iter(batches)), normalise(x)
        by_image = dict(zip(order.tolist(), crops, strict=True))
        flips.append([not torch.equal(by_image[i], plain[i]) for i in range(40)])
    assert flips[1] == [not f for f in flips[0]] and flips[2] == flips[0]
    assert 8 < sum(flips[0]) < 32


def test_the_moving_average_is_the_recursion_over_updates():
    x, y = images(32)
    recipe = replace(SMALL, epochs=2, ema_decay=0.75)
    averaged = resnet(8, seed=0)
    train(averaged, x, y, recipe=recipe, seed=0)
    weights_seen = []
    plain = resnet(8, seed=0)
    step = torch.optim.SGD.step

    def watched(self, *args, **kwargs):
        done = step(self, *args, **kwargs)
        weights_seen.append(plain.fc.weight.detach().clone())
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", watched)
        train(plain, x, y, recipe=replace(recipe, ema_decay=0.0), seed=0)
    expected = weights_seen[0]
    for weight in weights_seen[1:]:
        expected = 0.75 * expected + 0.25 * weight
    torch.testing.assert_close(averaged.fc.weight.detach(), expected)
    assert not torch.allclose(averaged.fc.weight, plain.fc.weight)


def test_normalise_is_the_textbook_formula():
    x, _ = images(4)
    expected = (x / 255.0 - np.array(CIFAR10_MEAN)) / np.array(CIFAR10_STD)
    np.testing.assert_allclose(
        normalise(x).numpy(), expected.transpose(0, 3, 1, 2), atol=1e-5
    )


@pytest.mark.parametrize("bad", [np.zeros((2, 32, 32, 3)), np.zeros((2, 32), np.uint8)])
def test_normalise_refuses_other_arrays(bad):
    with pytest.raises(ValueError, match="uint8 of shape"):
        normalise(bad)


def test_too_few_images_for_a_batch():
    x, y = images(4)
    with pytest.raises(ValueError, match="4 images do not fill one batch of 8"):
        next(
            augmented_batches(
                x, y, batch=8, crop_padding=0, flip=False, seed=0, epoch=0
            )
        )


def test_nothing_to_predict():
    with pytest.raises(ValueError, match="no images"):
        predict(resnet(8), np.zeros((0, 32, 32, 3), np.uint8))


def test_predict_does_not_depend_on_the_batch():
    x, _ = images(10)
    model = resnet(8)
    torch.testing.assert_close(
        predict(model, x, batch=3), predict(model, x, batch=10), rtol=1e-5, atol=1e-6
    )


def test_learning_rate_warms_up_and_ends_near_zero():
    recipe = Recipe(epochs=10, peak_lr=0.4, warmup=0.2)
    rates = [recipe.share_of_peak(step, 100) for step in range(100)]
    assert max(rates) == pytest.approx(1.0) and rates.index(max(rates)) in (19, 20)
    assert rates[0] == pytest.approx(0.05) and rates[-1] < 0.0025
    assert all(a > b for a, b in itertools.pairwise(rates[20:]))


@pytest.mark.parametrize(
    "field",
    [{"epochs": 0}, {"precision": "fp64"}, {"batch": 0}, {"momentum": 1.5}],
)
def test_a_recipe_outside_its_range_is_refused(field):
    name, value = next(iter(field.items()))
    with pytest.raises(ValueError, match=f"{name} {value!r} is"):
        Recipe(**field)
