"""The one training loop: channels last, bf16 autocast where declared, resumable.

Covers supervised classification on images that fit in memory. Speed comes from four
things that leave the mathematics alone: channels-last tensors, bfloat16 convolutions
with fp32 weights and a compiled forward and backward pass (declared parameters both),
and memory that is kept from step to step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from qstudy.training.batches import augmented_batches, normalise
from qstudy.training.distillation import distilled
from qstudy.training.memory import keep_freed_memory
from qstudy.training.recipe import Recipe
from qstudy.training.resume import load_state, save_state
from qstudy.training.statistics import reestimate
from qstudy.training.updates import Updates, updates


@dataclass(frozen=True)
class Progress:
    """What a progress bar is told after each epoch."""

    epoch: int
    epochs: int
    loss: float
    images_per_second: float
    seconds_left: float

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch}/{self.epochs}  loss {self.loss:.3f}  "
            f"{self.images_per_second:.0f} images/s  "
            f"{self.seconds_left / 60:.1f} min left"
        )


def train(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    recipe: Recipe,
    seed: int,
    resume: Path | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    before_step: Callable[[int, int], None] = lambda step, steps: None,
    teacher: nn.Module | None = None,
    stop_after: int | None = None,
) -> list[dict]:
    """Train `model` in place; return one dict an epoch: loss, seconds, images.

    `images` are uint8 (N, 32, 32, 3), `labels` integers (N,). With `resume`, the state
    is saved there after each epoch and picked up again. `before_step` is called with
    the number of each update (from 0) and of all of them, for schedules that switch
    parts of `model`; after a resume it is called for what comes next only. `teacher` is
    the network whose answers a recipe with `distill` follows, in eval mode and never
    changed, computed as the recipe says. `stop_after`
    ends the call after that many epochs of the schedule, as a kill would, and is there
    for tests. Raises ValueError for a recipe that needs a teacher and has none, or has
    one and no use for it; FloatingPointError where the loss is no longer finite, with
    the update and its learning rate; the state of the epoch before it is kept.
    """
    if (teacher is None) != (recipe.distill == 0):
        said = "no" if teacher is None else "a"
        raise ValueError(
            f"distill {recipe.distill} with {said} teacher: a share above 0 and the "
            "network to follow belong together"
        )
    keep_freed_memory()
    model.to(memory_format=torch.channels_last).train()
    optimizer = updates(model, recipe)
    average = None
    if recipe.ema_decay > 0:
        average = AveragedModel(
            model,
            multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay),
            use_buffers=True,
        )
    epoch, log = 0, []
    if resume:
        epoch, log = load_state(
            resume, model=model, optimizer=optimizer, average=average
        )
    forward = torch.compile(model) if recipe.compiled else model
    if teacher is not None:
        teacher.to(memory_format=torch.channels_last).eval()
        teacher = torch.compile(teacher) if recipe.compiled else teacher
    steps_an_epoch = len(images) // recipe.batch
    steps = recipe.epochs * steps_an_epoch
    last = min(recipe.epochs, stop_after or recipe.epochs)

    while epoch < last:
        started = time.perf_counter()
        losses, each = torch.zeros(()), torch.zeros(steps_an_epoch)
        batches = augmented_batches(
            images, labels, seed=seed, epoch=epoch, **_drawing(recipe)
        )
        for index, (x, y) in enumerate(batches):
            step = epoch * steps_an_epoch + index
            before_step(step, steps)
            optimizer.set_rates(recipe.share_of_peak(step, steps))
            each[index] = train_step(
                forward, optimizer, x, y, recipe=recipe, teacher=teacher
            )
            losses += each[index]
            if average is not None:
                average.update_parameters(model)
        loss = float(losses) / steps_an_epoch
        _check_each(each, first=epoch * steps_an_epoch, steps=steps, recipe=recipe)
        seconds = time.perf_counter() - started
        seen = steps_an_epoch * recipe.batch
        log = [*log, {"loss": loss, "seconds": seconds, "images": seen}]
        epoch += 1
        if resume:
            save_state(
                resume,
                model=model,
                optimizer=optimizer,
                average=average,
                epochs_done=epoch,
                log=log,
            )
        left = (recipe.epochs - epoch) * seconds
        report(Progress(epoch, recipe.epochs, loss, seen / seconds, left))
    if average is not None and epoch == recipe.epochs:
        model.load_state_dict(average.module.state_dict())
    if recipe.bn_batches and epoch == recipe.epochs:
        batches = augmented_batches(
            images, labels, seed=seed, epoch=epoch, **_drawing(recipe)
        )
        reestimate(model, (x for x, _ in islice(batches, recipe.bn_batches)))
    model.eval()
    return log


def _drawing(recipe: Recipe) -> dict[str, Any]:
    """How the recipe draws its batches."""
    names = ("batch", "crop_padding", "flip", "alternate_flip")
    return {name: getattr(recipe, name) for name in names}


def _check_each(
    losses: torch.Tensor, *, first: int, steps: int, recipe: Recipe
) -> None:
    """FloatingPointError, with the way out, at the first loss that is not finite.

    `losses` are those of the updates from number `first` (from 0) of `steps`.
    """
    bad = torch.nonzero(~torch.isfinite(losses))
    if len(bad):
        step = first + int(bad[0])
        rate = recipe.peak_lr * recipe.share_of_peak(step, steps)
        raise FloatingPointError(
            f"the loss is {float(losses[bad[0]])} at step {step + 1} of {steps}, at "
            f"learning rate {rate:.3g}: lower it (it peaks at {recipe.peak_lr}); the "
            "state of the last whole epoch is kept"
        )


def check_finite(loss: float, *, epoch: int, peak_lr: float) -> None:
    """Raise FloatingPointError, with the way out, unless epoch's (from 0) loss is."""
    if not np.isfinite(loss):
        raise FloatingPointError(
            f"the loss is {loss} in epoch {epoch + 1}: lower the learning rate (it "
            f"peaks at {peak_lr})"
        )


def train_step(
    forward: nn.Module,
    optimizer: Updates,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    recipe: Recipe,
    teacher: nn.Module | None = None,
) -> torch.Tensor:
    """One update on float32 (B, 3, H, W) and int64 (B,); returns the loss, detached."""
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
        logits = forward(x)
        if teacher is not None:
            with torch.no_grad():
                taught = teacher(x)
    smoothing = {"label_smoothing": recipe.label_smoothing}
    if teacher is None:
        loss = nn.functional.cross_entropy(logits.float(), y, **smoothing)
    else:
        mixed = {"share": recipe.distill, "temperature": recipe.temperature}
        loss = distilled(logits, y, taught, **mixed, **smoothing)
    loss.backward()
    optimizer.step()
    return loss.detach()


def predict(model: nn.Module, images: np.ndarray, *, batch: int = 100) -> torch.Tensor:
    """Logits float32 (N, classes) of uint8 images (N, 32, 32, 3), in fp32.

    A batch of 100 leaves ResNet-20's activations in the cache, and gives the bits that
    a batch of 500 gives.
    """
    if len(images) == 0:
        raise ValueError("there are no images to predict")
    model.eval()
    with torch.inference_mode():
        parts = [
            model(normalise(images[start : start + batch]))
            for start in range(0, len(images), batch)
        ]
    return torch.cat(parts)
