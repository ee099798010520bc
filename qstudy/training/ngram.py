"""An interpolated Kneser-Ney 3-gram, by NLTK, as the LSTM's yardstick.

It reads the very integers that the LSTM reads. NLTK counts continuations anew for each
word it scores, a walk through all n-grams; here they are counted once. Nothing else of
NLTK's model is changed, and a test compares the two on a small corpus.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from nltk.lm import NgramCounter
from nltk.lm import Vocabulary as NltkVocabulary
from nltk.lm.smoothing import KneserNey

ORDER = 3
START, END = -1, 1  # what stands before a sentence; the id of </s>


def sentences(text: np.ndarray) -> Iterator[list[int]]:
    """The sentences of an encoded text, each with its </s>."""
    ends = np.flatnonzero(text == END) + 1
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        yield text[start:end].tolist()


def ngrams(sentence: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every 1-, 2- and 3-gram that ends in a word or </s> of the sentence.

    Before the first word stand two START symbols; START itself is never predicted.
    """
    padded = [START] * (ORDER - 1) + list(sentence)
    for end in range(ORDER, len(padded) + 1):
        for order in range(1, ORDER + 1):
            yield tuple(padded[end - order : end])


class IndexedKneserNey(KneserNey):
    """NLTK's smoothing with its continuation counts looked up, not counted again."""

    def __init__(self, vocabulary, counter, *, order: int, discount: float) -> None:
        super().__init__(vocabulary, counter, order=order, discount=discount)
        self._with_word: Counter = Counter()
        self._with_context: dict[tuple, int] = defaultdict(int)
        for length in range(2, order + 1):
            for prefix, words in counter[length].items():
                for word, count in words.items():
                    if count > 0:
                        self._with_word[(*prefix[1:], word)] += 1
                        self._with_context[prefix[1:]] += 1

    def _continuation_counts(self, word, context=()):
        context = tuple(context)
        return self._with_word[(*context, word)], self._with_context[context]


class KneserNeyTrigram:
    """p(w | u, v) with one absolute discount, interpolated down to continuations."""

    def __init__(self, texts: Iterable[np.ndarray], *, discount: float) -> None:
        """`texts` are encoded; raises ValueError for a discount outside 0 to 1."""
        if not 0 < discount < 1:
            raise ValueError(f"discount {discount!r} is not between 0 and 1")
        counter = NgramCounter(ngrams(s) for text in texts for s in sentences(text))
        self.counter = counter
        self.smoothing = IndexedKneserNey(
            NltkVocabulary(), counter, order=ORDER, discount=discount
        )
        self._known: dict[tuple[int, ...], float] = {}

    def probability(self, word: int, context: tuple[int, ...]) -> float:
        """p(word | context) for a context of up to two ids (NLTK's recursion)."""
        key = (*context, word)
        if key not in self._known:
            self._known[key] = self._score(word, context)
        return self._known[key]

    def _score(self, word: int, context: tuple[int, ...]) -> float:
        if not context:
            return self.smoothing.unigram_score(word)
        shorter = self.probability(word, context[1:])
        if not self.counter[context]:
            return shorter
        alpha, gamma = self.smoothing.alpha_gamma(word, context)
        return alpha + gamma * shorter

    def losses(self, text: np.ndarray) -> np.ndarray:
        """-ln p of each token of an encoded text: float64 (tokens,)."""
        found = []
        for sentence in sentences(text):
            padded = [START] * (ORDER - 1) + sentence
            for end in range(ORDER, len(padded) + 1):
                *context, word = padded[end - ORDER : end]
                found.append(self.probability(word, tuple(context)))
        return -np.log(found)
