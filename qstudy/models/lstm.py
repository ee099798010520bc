"""A word-level LSTM language model whose input and output share one matrix."""

from __future__ import annotations

from torch import Tensor, nn

State = tuple[Tensor, Tensor]


class WordLSTM(nn.Module):
    """Embedding, LSTM layers of the same width, and a linear layer to the vocabulary.

    The output layer's weight is the embedding's (Press and Wolf 2017), so most of the
    parameters are stored once; `dropout` acts on what enters and leaves the LSTM and
    between its layers (Zaremba et al. 2014), in training only.
    """

    def __init__(
        self, *, vocabulary: int, width: int, layers: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.drop = nn.Dropout(dropout)
        self.lstm = nn.LSTM(
            width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0
        )
        self.output = nn.Linear(width, vocabulary)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        nn.init.zeros_(self.output.bias)
        self.output.weight = self.embedding.weight

    def hidden(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """What the output layer reads, (B, T, width), and the LSTM's new state."""
        check_ids(ids, vocabulary=self.embedding.num_embeddings)
        # contiguous, as the kernel of an 8-bit table needs its indices
        features = self.drop(self.embedding(ids.contiguous()))
        features, state = self.lstm(features, state)
        return self.drop(features), state

    def forward(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Logits (B, T, vocabulary) of the next word, and the state to carry on with.

        `ids` is int64 (B, T). Raises ValueError for an empty sequence or an id outside
        the vocabulary.
        """
        features, state = self.hidden(ids, state)
        return self.output(features), state


def check_ids(ids: Tensor, *, vocabulary: int, longest: int | None = None) -> None:
    """Raise ValueError, one line, unless `ids` is int (B, T) that a model can read.

    `longest` is the largest T, where the model has one.
    """
    if ids.dim() != 2 or ids.is_floating_point():
        raise ValueError(
            f"ids of dtype {ids.dtype} and shape {tuple(ids.shape)}: int64 (batch, "
            "sequence) is needed"
        )
    if ids.numel() == 0:
        raise ValueError(f"ids of shape {tuple(ids.shape)}: the sequence is empty")
    if longest is not None and ids.shape[1] > longest:
        raise ValueError(
            f"a sequence of {ids.shape[1]} tokens: {longest} is the longest that this "
            "model has positions for; cut the text into passages"
        )
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocabulary:
        raise ValueError(
            f"token ids from {low} to {high}: they must lie in 0 to {vocabulary - 1}"
        )
