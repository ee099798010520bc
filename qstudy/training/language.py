"""Train a word-level language model on a stream of texts, resumable, and score it.

The stream is cut into `batch` parts of equal length that run side by side; the LSTM's
state is carried from one window to the next (truncated back-propagation through time)
and starts at zero in each epoch. All randomness is drawn from (seed, epoch), so a
resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from qstudy.training.loop import Progress, check_finite
from qstudy.training.resume import load_state, save_state

END = 1  # the id of </s>


@dataclass(frozen=True, kw_only=True)
class LanguageRecipe:
    """Adam, a short warm-up, then a cosine to zero; gradients clipped by norm.

    `batch` sequences side by side, `window` tokens each a step. "bf16" means bfloat16
    autocast with fp32 weights. Raises ValueError for a field outside its range.
    """

    epochs: int
    batch: int = 32
    window: int = 64
    peak_lr: float = 2e-3
    warmup: float = 0.05
    dropout: float = 0.4
    weight_decay: float = 0.0
    clip: float = 1.0
    precision: str = "bf16"

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"precision {self.precision!r} is not one of fp32, bf16")
        for name in ("epochs", "batch", "window"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)!r} is below 1")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout {self.dropout!r} is outside 0 to 1")

    def learning_rate(self, step: int, steps: int) -> float:
        """The learning rate of update `step` (from 0) out of `steps`."""
        warm = max(1, round(self.warmup * steps))
        if step < warm:
            return self.peak_lr * (step + 1) / warm
        return self.peak_lr * 0.5 * (1 + cos(pi * (step - warm) / max(1, steps - warm)))


def train_language(
    model: nn.Module,
    texts: Sequence[np.ndarray],
    *,
    recipe: LanguageRecipe,
    seed: int,
    resume: Path | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    stop_after: int | None = None,
) -> list[dict]:
    """Train a models.lstm.WordLSTM in place on encoded texts; returns as loop.train.

    Texts come in a new order each epoch. `resume` and `stop_after` as in loop.train.
    Raises ValueError where the texts do not fill one window of each part,
    FloatingPointError when the loss is no longer finite.
    """
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.peak_lr, weight_decay=recipe.weight_decay
    )
    epoch, log = 0, []
    if resume:
        epoch, log = load_state(resume, model=model, optimizer=optimizer)
    length = sum(map(len, texts)) // recipe.batch
    windows = (length - 1) // recipe.window
    if windows < 1:
        raise ValueError(
            f"{sum(map(len, texts))} tokens do not fill one window: batch x window is "
            f"{recipe.batch} x {recipe.window}"
        )
    steps = recipe.epochs * windows
    while epoch < min(recipe.epochs, stop_after or recipe.epochs):
        started, total, state = time.perf_counter(), torch.zeros(()), None
        order = np.random.default_rng((seed, epoch)).permutation(len(texts))
        stream = np.concatenate([texts[i] for i in order])[: length * recipe.batch]
        parts = torch.from_numpy(stream).view(recipe.batch, length)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * 10_007 + epoch)  # dropout's
            for index in range(windows):
                rate = recipe.learning_rate(epoch * windows + index, steps)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                start = index * recipe.window
                x = parts[:, start : start + recipe.window]
                y = parts[:, start + 1 : start + 1 + recipe.window]
                loss, state = _step(model, optimizer, x, y, state, recipe=recipe)
                total += loss
        loss = float(total) / windows
        check_finite(loss, epoch=epoch, peak_lr=recipe.peak_lr)
        seconds = time.perf_counter() - started
        seen = windows * recipe.window * recipe.batch
        log = [*log, {"loss": loss, "seconds": seconds, "images": seen}]
        epoch += 1
        if resume:
            save_state(
                resume, model=model, optimizer=optimizer, epochs_done=epoch, log=log
            )
        left = (recipe.epochs - epoch) * seconds
        report(Progress(epoch, recipe.epochs, loss, seen / seconds, left))
    model.eval()
    return log


def _step(model, optimizer, x, y, state, *, recipe):
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
        logits, state = model(x, state)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1).float(), y.flatten())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    optimizer.step()
    return loss.detach(), tuple(part.detach() for part in state)


@dataclass(frozen=True, eq=False)
class TokenScores:
    """Of each token of a text: -ln p, float32 (tokens,), and whether p was largest."""

    loss: np.ndarray
    hit: np.ndarray


def token_scores(
    forward: Callable, texts: Sequence[np.ndarray], *, batch: int = 32
) -> list[TokenScores]:
    """What a language model gives every token of each text, those before it known.

    A text is read alone, from a zero state and after a sentence end, `batch` texts side
    by side. `forward` takes ids (B, T) and a state and gives logits and a state.
    Raises ValueError for no texts or an empty one.
    """
    if not texts or min(map(len, texts)) == 0:
        raise ValueError(f"{len(texts)} texts, or an empty one, cannot be scored")
    found: list[TokenScores] = [None] * len(texts)  # type: ignore[list-item]
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            loss, hit = _padded_scores(forward, [texts[i] for i in chosen])
            for row, i in enumerate(chosen):
                length = len(texts[i])
                found[i] = TokenScores(
                    loss[row, :length].numpy(), hit[row, :length].numpy()
                )
    return found


def _padded_scores(
    forward: Callable, texts: Sequence[np.ndarray]
) -> tuple[Tensor, Tensor]:
    longest = max(map(len, texts))
    ids = torch.full((len(texts), longest + 1), END, dtype=torch.int64)
    for row, text in zip(ids, texts, strict=True):
        row[1 : 1 + len(text)] = torch.from_numpy(text)
    state, losses, hits = None, [], []
    for start in range(0, longest, 128):
        stop = min(start + 128, longest)
        logits, state = forward(ids[:, start:stop], state)
        y = ids[:, start + 1 : stop + 1]
        loss, hit = _row_scores(logits.flatten(0, 1), y.flatten())
        losses.append(loss.view(y.shape))
        hits.append(hit.view(y.shape))
    return torch.cat(losses, dim=1), torch.cat(hits, dim=1)


def _row_scores(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and the hit of each row of logits (N, V), y int64 (N,).

    A few rows at a time, which stay in the cache: each row's bits are its own.
    """
    losses, hits = [], []
    for some, wanted in zip(logits.split(64), y.split(64), strict=True):
        some = some.float()
        losses.append(nn.functional.cross_entropy(some, wanted, reduction="none"))
        hits.append(some.argmax(-1) == wanted)
    return torch.cat(losses), torch.cat(hits)
