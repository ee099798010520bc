"""Data sets and pretrained weights: where each comes from, checked by SHA-256.

    images, labels = data.load("cifar10", "train45k")

Images: cifar10 (Krizhevsky 2009) and synthetic (generated, for smoke runs). Splits:
train, its two parts train45k and validation (nine to one), and test.

    texts = data.texts("brown", "train")

Texts: brown (Francis and Kucera 1964) and synthetic_text. Splits: train, validation,
test, no text in two of them.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import numpy as np

from qstudy.data import (
    brown,
    cifar10,
    fetch,
    splits,
    synthetic,
    synthetic_text,
    weights,
)
from qstudy.data.fetch import DataError
from qstudy.data.splits import SPLITS

__all__ = [
    "DATASETS",
    "SPLITS",
    "TERMS",
    "TEXTS",
    "DataError",
    "DatasetState",
    "ensure",
    "load",
    "sha256",
    "state",
    "texts",
    "weights",
]

DATASETS = ("cifar10", "synthetic")
TEXTS = ("brown", "synthetic_text")
# What may be done with them, in the words that follow "trained on" in a model card.
TERMS = {
    "cifar10": "CIFAR-10, which names no licence",
    "brown": "the Brown corpus, whose README permits redistribution",
    "synthetic": "generated images, which are free",
    "synthetic_text": "generated text, which is free",
}


def load(
    dataset: str, split: str, *, data_dir: str | os.PathLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The images, uint8 (N, 32, 32, 3), and labels, uint8 (N,), of a split.

    `data_dir` (else the environment's QSTUDY_DATA) is a folder that is looked into
    first. Fetches CIFAR-10 where it is nowhere on this machine. Raises ValueError for
    an unknown name, DataError with one line where the data cannot be had.
    """
    _known(dataset, split)
    arrays = _arrays(dataset, data_dir)
    part = "test" if split == "test" else "train"
    images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
    if split in ("train", "test"):
        return images, labels
    chosen = splits.indices(len(labels), split)
    return images[chosen], labels[chosen]


def texts(
    dataset: str, split: str, *, data_dir: str | os.PathLike | None = None
) -> tuple[brown.Text, ...]:
    """The texts of a split of `brown` or `synthetic_text`, in the order of their names.

    `data_dir` as for `load`; fetches the Brown corpus where it is nowhere on this
    machine. Raises ValueError for an unknown name, DataError with one line where the
    corpus cannot be had.
    """
    _known_text(dataset, split)
    fetch.named_folder(data_dir)
    whole = brown.texts(data_dir) if dataset == "brown" else synthetic_text.texts()
    parts = brown.split_of((text.name, text.genre) for text in whole)
    return tuple(text for text in whole if parts[text.name] == split)


def sha256(dataset: str, split: str) -> str:
    """What identifies a split's bytes, 64 digits, for the records; needs no data.

    SHA-256 of the digests of its images, its labels and, for train45k and validation,
    its indices. `load` never gives arrays with other digests. Raises ValueError for an
    unknown name.
    """
    if dataset in TEXTS:
        _known_text(dataset, split)
        whole = brown.SHA256 if dataset == "brown" else synthetic_text.sha256()
        told = f"{whole} {brown.SPLIT_SEED} {split}"
        return hashlib.sha256(told.encode()).hexdigest()
    _known(dataset, split)
    part = "test" if split == "test" else "train"
    digests = cifar10.SHA256 if dataset == "cifar10" else synthetic.digests()
    parts = [digests[f"{part}_images"], digests[f"{part}_labels"]]
    if split in ("train45k", "validation"):
        counts = {"cifar10": cifar10.TRAIN_COUNT, "synthetic": synthetic.TRAIN_COUNT}
        parts.append(splits.indices_sha256(counts[dataset], split))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def ensure(dataset: str, *, data_dir: str | os.PathLike | None = None) -> None:
    """Have `dataset` on this machine, checked. Raises as `load` does."""
    if dataset in TEXTS:
        texts(dataset, "train", data_dir=data_dir)
        return
    _known(dataset, "train")
    _arrays(dataset, data_dir)


@dataclass(frozen=True)
class DatasetState:
    """One data set or file of weights: is it here, where, and how to get it.

    As text it is one line for a person.
    """

    name: str
    present: bool
    where: str
    how: str

    def __str__(self) -> str:
        if self.present:
            return f"{self.name}: there ({self.where})"
        return f"{self.name}: missing; {self.how}"


def state(data_dir: str | os.PathLike | None = None) -> list[DatasetState]:
    """CIFAR-10, Brown and each of the pretrained weights, looked at and not fetched.

    Raises DataError where the named folder is not one.
    """
    where = cifar10.place(data_dir)
    states = [DatasetState("CIFAR-10", bool(where), where, cifar10.WAYS)]
    where = brown.place(data_dir)
    states.append(DatasetState("Brown", bool(where), where, brown.WAYS))
    for entry in weights.REGISTRY.values():
        where = weights.place(entry.name, data_dir=data_dir)
        states.append(
            DatasetState(f"weights {entry.name}", bool(where), where, entry.ways)
        )
    return states


def _known(dataset: str, split: str) -> None:
    if dataset not in DATASETS:
        raise ValueError(f"dataset {dataset!r} is not one of {', '.join(DATASETS)}")
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")


def _known_text(dataset: str, split: str) -> None:
    if dataset not in TEXTS:
        raise ValueError(f"texts {dataset!r} are not one of {', '.join(TEXTS)}")
    if split not in brown.SPLITS:
        raise ValueError(f"split {split!r} is not one of {', '.join(brown.SPLITS)}")


def _arrays(dataset: str, data_dir: str | os.PathLike | None) -> dict[str, np.ndarray]:
    if dataset == "cifar10":
        return cifar10.arrays(data_dir)
    fetch.named_folder(data_dir)  # a wrong one is refused, also where none is read
    return synthetic.arrays()
