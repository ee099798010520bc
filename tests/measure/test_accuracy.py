"""Accuracy against plain counting."""

import numpy as np
import pytest
import torch

from qstudy.measure import accuracy
from qstudy.measure.statistics import paired_drop, wilson


def test_classes_are_the_first_largest_in_the_smallest_dtype():
    logits = np.array([[0.0, 2.0, 2.0], [-3.0, -2.0, -1.0]], np.float32)
    found = accuracy.classes(logits)
    assert found.tolist() == [1, 2] and found.dtype == np.uint8
    assert accuracy.classes(torch.from_numpy(logits)).tolist() == [1, 2]
    wide = np.zeros((1, 257))
    wide[0, 256] = 1
    assert accuracy.classes(wide).dtype == np.uint16
    assert accuracy.classes(wide).tolist() == [256]
    last = np.zeros((1, 256))
    last[0, 255] = 1
    assert accuracy.classes(last).dtype == np.uint8
    assert accuracy.classes(last).tolist() == [255]


def test_top1_and_correct_count():
    labels = np.array([1, 2, 3, 4], np.uint8)
    predictions = torch.tensor([1, 2, 0, 4])
    assert accuracy.correct(predictions, labels).tolist() == [True, True, False, True]
    assert accuracy.top1(predictions, labels) == wilson(3, 4)


def test_drop_is_paired_on_images():
    rng = np.random.default_rng(0)
    labels, one, other = rng.integers(3, size=(3, 200)).astype(np.uint8)
    assert accuracy.drop(one, other, labels, seed=4) == paired_drop(
        one == labels, other == labels, seed=4
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: accuracy.classes([[0.0, float("nan")]]),
        lambda: accuracy.classes([0.0, 1.0]),
        lambda: accuracy.correct([1, 2], [1]),
        lambda: accuracy.correct([], []),
        lambda: accuracy.correct([[0.1, 0.9]], [1]),
        lambda: accuracy.correct([1.0], [1]),
        lambda: accuracy.top1(np.zeros(0, np.uint8), np.zeros(0, np.uint8)),
    ],
)
def test_bad_input_is_one_line(call):
    with pytest.raises(ValueError) as caught:
        call()
    assert "\n" not in str(caught.value)
