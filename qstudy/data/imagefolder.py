"""ImageNet's images, or some of them, from a folder with a folder a class.

    folder/00007/any_name.jpg           the class by its index, 0 to 999
    folder/n01514668/any_name.JPEG      the class by its WordNet id

WordNet ids are numbered in their order, as ImageNet's classes are; that needs all 1,000
of them. Some classes alone go by their index.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

CLASSES = 1000
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# A centre crop leaves these pixels out at a side of 224, and in proportion at others.
MARGIN = 32


@dataclass(frozen=True)
class Labelled:
    """An image file and the index of its class."""

    path: Path
    label: int


def find(folder: Path | str) -> list[Labelled]:
    """Every image of `folder`, in the order of classes, then of names.

    Raises ValueError, one line, where there is no such folder, it has no class folders,
    or theirs are not ImageNet's; and where a class folder holds no image.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder: name one with a folder a class")
    classes = sorted(p for p in root.iterdir() if p.is_dir() and p.name[0] != ".")
    if not classes:
        raise ValueError(f"{root} holds no folders: each class needs one of its own")
    found = []
    labels = _labels([p.name for p in classes], root)
    for path, label in sorted(
        zip(classes, labels, strict=True), key=lambda pair: pair[1]
    ):
        images = [p for p in path.iterdir() if p.suffix.lower() in SUFFIXES]
        if not images:
            raise ValueError(
                f"{path} holds no image ({', '.join(SUFFIXES)}): remove the folder, or "
                "fill it"
            )
        found += [Labelled(p, label) for p in sorted(images)]
    return found


def _labels(names: Sequence[str], root: Path) -> list[int]:
    if all(re.fullmatch(r"n\d{8}", name) for name in names):
        if len(names) != CLASSES:
            raise ValueError(
                f"{root} has {len(names)} of the {CLASSES} WordNet ids, so their "
                "numbers cannot be told: name the folders by the index of the class"
            )
        return list(range(CLASSES))  # they come sorted
    for name in names:
        if not (name.isascii() and name.isdecimal() and int(name) < CLASSES):
            raise ValueError(
                f"{name!r} in {root} is neither an index from 0 to {CLASSES - 1} nor, "
                "with all others, a WordNet id such as n01440764"
            )
    labels = [int(name) for name in names]
    if len(set(labels)) < len(labels):
        raise ValueError(f"{root} has two folders for one index: 7 and 007 are one")
    return labels


def read(path: Path, side: int) -> NDArray[np.uint8]:
    """An image as uint8 (side, side, 3): a centred square of it, scaled (bicubic).

    The square leaves MARGIN of every 224 + MARGIN pixels out, as EfficientNet's and
    torchvision's evaluation do. Raises ValueError where the file is no image.
    """
    try:
        with Image.open(path) as image:
            rgb = image.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(
            f"{path} is no image ({error}): restore or remove it"
        ) from None
    width, height = rgb.size
    edge = min(width, height) * 224 / (224 + MARGIN)
    left, top = (width - edge) / 2, (height - edge) / 2
    box = (left, top, left + edge, top + edge)
    square = rgb.resize((side, side), Image.Resampling.BICUBIC, box=box)
    return np.asarray(square)


def batches(
    images: Sequence[Labelled], *, side: int, batch: int = 32
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """(B, side, side, 3) uint8 and (B,) int64, in order; errors as `read`."""
    for start in range(0, len(images), batch):
        some = images[start : start + batch]
        pixels = np.stack([read(image.path, side) for image in some])
        yield pixels, np.array([image.label for image in some], dtype=np.int64)
