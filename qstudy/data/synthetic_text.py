"""Small generated texts of fifteen genres, for tests and smoke runs: no download.

Each genre prefers its own words, so that a small model learns something in seconds.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np

from qstudy.data.brown import GENRES, Text

TEXTS_A_GENRE = 6
WORDS = 150
SEED = 1961


@cache
def texts() -> tuple[Text, ...]:
    """90 texts, six a genre, of 40 sentences each; the same on every machine."""
    rng = np.random.default_rng(SEED)
    found = []
    for number, (letter, genre) in enumerate(GENRES.items()):
        # Zipf's law in whole numbers, and ten words that the genre likes.
        weights = 10_000 // (1 + np.arange(WORDS))
        weights[(number * 10 + np.arange(10)) % WORDS] += 4000
        ends = np.cumsum(weights)
        for index in range(TEXTS_A_GENRE):
            sentences = []
            for length in rng.integers(4, 12, size=40):
                drawn = rng.integers(0, ends[-1], size=length)
                words = np.searchsorted(ends, drawn, side="right")
                sentences.append(tuple(f"w{word}" for word in words))
            found.append(Text(f"c{letter}{index:02d}", genre, tuple(sentences)))
    return tuple(found)


@cache
def sha256() -> str:
    """SHA-256 of all sentences, 64 digits."""
    lines = [f"{t.name}\t{' '.join(s)}\n" for t in texts() for s in t.sentences]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
