"""Passages of equal length from texts, the units whose genre is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qstudy.data.brown import GENRES, Text
from qstudy.data.vocabulary import Vocabulary

_GENRES = tuple(GENRES.values())


@dataclass(frozen=True, eq=False)
class Passages:
    """`words[i]` are the words of passage i, `text[i]` the index of its text.

    `label[i]` is the number of its genre, 0 to 14 in the order of brown.GENRES;
    int64 arrays (n,).
    """

    words: tuple[tuple[str, ...], ...]
    text: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.words)


def passages(texts: Sequence[Text], *, per_text: int, words: int) -> Passages:
    """At most `per_text` passages of `words` words from each text, evenly spaced.

    None overlaps another; a text shorter than one passage gives itself. Raises
    ValueError for counts below 1 or no texts.
    """
    if min(per_text, words) < 1 or not texts:
        raise ValueError(
            f"{per_text} passages of {words} words from {len(texts)} texts: each must "
            "be at least 1"
        )
    found, owner, label = [], [], []
    for index, text in enumerate(texts):
        stream = [word for sentence in text.sentences for word in sentence]
        count = max(1, min(per_text, len(stream) // words))
        for start in np.linspace(0, max(0, len(stream) - words), count).astype(int):
            found.append(tuple(stream[start : start + words]))
            owner.append(index)
            label.append(_GENRES.index(text.genre))
    return Passages(tuple(found), np.array(owner), np.array(label))


def bag_of_words(chosen: Passages, vocabulary: Vocabulary) -> np.ndarray:
    """float32 (n, words): log(1 + count) of each vocabulary word, rows of length 1."""
    features = np.zeros((len(chosen), len(vocabulary.words)), np.float32)
    for row, words in zip(features, chosen.words, strict=True):
        ids = [vocabulary.ids.get(word.lower(), 0) for word in words]
        np.add.at(row, ids, 1.0)
    features = np.log1p(features)
    return features / np.linalg.norm(features, axis=1, keepdims=True)
