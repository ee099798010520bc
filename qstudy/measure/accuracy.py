"""Top-1 accuracy with its interval, and predictions small enough to keep.

Keeping one class a test image lets any two records be compared image by image later,
without running either network again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qstudy.measure.statistics import Interval, paired_drop, wilson


def classes(logits: ArrayLike) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The largest logit's class, shape (n,), of logits of shape (n, classes).

    Takes whatever NumPy reads, torch tensors on the CPU included. uint8 up to 256
    classes, else uint16. A tie goes to the lower class, so that int8 logits, which tie
    often, give one answer everywhere. ValueError for another shape, more than 65,536
    classes, or logits that are NaN.
    """
    table = np.asarray(logits)
    if table.ndim != 2 or not 1 <= table.shape[1] <= 65_536:
        raise ValueError(
            f"logits have shape {table.shape}; it must be (n, classes), 1 to 65,536"
        )
    # max carries NaN along without a second table of booleans.
    if np.isnan(table.max(axis=1)).any():
        raise ValueError("logits hold NaN; the network or its input is broken")
    return table.argmax(axis=1).astype(np.uint8 if table.shape[1] <= 256 else np.uint16)


def correct(predictions: ArrayLike, labels: ArrayLike) -> NDArray[np.bool_]:
    """True where the predicted class is the label, shape (n,).

    Both integer, shape (n,). ValueError where they are empty, differ in shape or are
    not integers (logits go through `classes` first).
    """
    given, wanted = np.asarray(predictions), np.asarray(labels)
    for name, array in (("predictions", given), ("labels", wanted)):
        if array.ndim != 1 or not len(array) or array.dtype.kind not in "iu":
            raise ValueError(
                f"{name} have shape {array.shape} and dtype {array.dtype}; they must "
                "be integers of shape (n,), n >= 1; logits go through classes() first"
            )
    if len(given) != len(wanted):
        raise ValueError(
            f"{len(given)} predictions do not fit {len(wanted)} labels; they must be "
            "of the same images"
        )
    return given == wanted


def top1(predictions: ArrayLike, labels: ArrayLike) -> Interval:
    """Top-1 accuracy in percent with Wilson's 95 % interval; errors as `correct`."""
    right = correct(predictions, labels)
    return wilson(int(right.sum()), len(right))


def drop(
    baseline: ArrayLike, candidate: ArrayLike, labels: ArrayLike, *, seed: int = 0
) -> Interval:
    """Top-1 drop, baseline minus candidate in points, paired bootstrap over images.

    Predictions of two networks and labels of the same images, each (n,); errors as
    `correct`.
    """
    return paired_drop(correct(baseline, labels), correct(candidate, labels), seed=seed)
