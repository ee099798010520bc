"""The images on which activation ranges are observed, checked before they count."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# torch's histogram observer cubes the width of a bin in float32: from 1e14 on that is
# infinite, and the range it then chooses is wrong without a word.
LARGEST = 1e12


def checked_batches(
    batches: Iterable[Tensor | Sequence[Any]],
    *,
    channels: int | None = None,
    images: bool = True,
) -> list[Tensor]:
    """`batches` as a list: float32 (B, C, H, W) each, at least one image, all finite.

    A batch is a tensor, or a tuple or list whose first element is one, such as (images,
    labels) of a torch DataLoader. C is `channels` where that is given, else whatever
    the first batch has. Without `images` any (B, C, ...) passes, and int64 ids (B, T).
    Raises ValueError, one line that names the batch (from 1), where that is not so, and
    TypeError for what is no iterable of batches.
    """
    if isinstance(batches, Tensor) or not isinstance(batches, Iterable):
        raise TypeError(
            f"calibration batches are a {type(batches).__name__}: a loader or list of "
            "tensors (B, C, H, W) is needed, such as [images]"
        )
    kept: list[Tensor] = []
    for number, batch in enumerate(batches, start=1):
        found = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
        known = channels or (kept[0].shape[1] if kept else None)
        _check(number, found, known, dims=(4,) if images else range(2, 6))
        kept.append(found)
    if not kept:
        raise ValueError("there are no calibration batches: give at least one image")
    return kept


def _check(
    number: int, images: Any, channels: int | None, *, dims: Collection[int]
) -> None:
    if not isinstance(images, Tensor):
        kind = f"{type(images).__module__}.{type(images).__name__}"
        way = ": torch.from_numpy(images)" if kind == "numpy.ndarray" else ""
        raise ValueError(
            f"calibration batch {number} is a {kind.removeprefix('builtins.')}: a "
            f"tensor (B, C, H, W), or one with labels behind it, is needed{way}"
        )
    wanted = "C" if channels is None else str(channels)
    ids = 2 in dims and images.dim() == 2 and images.dtype == torch.int64
    fits = images.dim() in dims and images.numel() > 0
    fits = fits and (images.dtype == torch.float32 or ids)
    if not fits or channels not in (None, images.shape[1]):
        raise ValueError(
            f"calibration batch {number} is {images.dtype} of shape "
            f"{tuple(images.shape)}: torch.float32 (B, {wanted}, H, W) with B at least "
            "1 is needed"
        )
    # An observer keeps a NaN for good, and the network would answer at random.
    if not bool(torch.isfinite(images).all()):
        raise ValueError(
            f"calibration batch {number} holds NaN or infinity: leave those images out"
        )
    largest = images.abs().max().item()
    if largest > LARGEST:
        raise ValueError(
            f"calibration batch {number} holds {largest:.3g}: at most {LARGEST:.0e} "
            "has a range, normalize the images"
        )


def observe(network: nn.Module, batches: list[Tensor]) -> None:
    """Show `batches` to a network whose observers are in place, without gradients.

    Finite images can still overflow inside a network, and an observer would make a
    scale of it. Raises ValueError that names the batch (from 1) and the observer.
    """
    seen = {
        path: module
        for path, module in network.named_modules()
        if "Observer" in type(module).__name__
    }
    number = 0

    def watch(path: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def check(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            low, high = (end.item() for end in torch.aminmax(inputs[0].detach()))
            if not max(-low, high) <= LARGEST:
                raise ValueError(
                    f"calibration batch {number} becomes {low:.3g} to {high:.3g} at "
                    f"{path!r}: at most {LARGEST:.0e} has a range, look at the weights "
                    "and normalize the images"
                )

        return check

    hooks = [m.register_forward_pre_hook(watch(path)) for path, m in seen.items()]
    try:
        with torch.no_grad():
            for number, batch in enumerate(batches, start=1):  # noqa: B007
                network(batch)
    finally:
        for hook in hooks:
            hook.remove()
