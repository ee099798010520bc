"""Words to integers: the vocabulary that the language models share.

Words are lower-cased; a word that is not in the vocabulary counts as <unk>; a sentence
ends with </s>. The LSTM and the n-gram model read the very same integers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qstudy.data.brown import Text

UNKNOWN, END = "<unk>", "</s>"


@dataclass(frozen=True)
class Vocabulary:
    """`words[i]` is the word of id i; id 0 is <unk>, id 1 is </s>."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[Text], *, size: int) -> Vocabulary:
        """The `size` - 2 most frequent words of `texts`, equal counts by alphabet.

        Fewer where the texts have fewer. Raises ValueError for a size below 3.
        """
        if size < 3:
            raise ValueError(f"a vocabulary of {size}: 3 is the smallest")
        counts = Counter(
            word.lower() for text in texts for s in text.sentences for word in s
        )
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls((UNKNOWN, END, *ranked[: size - 2]))

    @cached_property
    def ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    def encode(self, text: Text) -> np.ndarray:
        """The ids of a text, </s> after each sentence: int64 (tokens,)."""
        get = self.ids.get
        return np.array(
            [
                i
                for sentence in text.sentences
                for i in (*(get(word.lower(), 0) for word in sentence), 1)
            ],
            dtype=np.int64,
        )
