"""A pretrained network on ImageNet's images, in fp32 and quantized, on the same ones.

The study has no labelled photographs; whoever has them evaluates here what the book can
only time. Calibration draws images that are then not scored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qstudy.data import imagefolder, weights
from qstudy.data.imagefolder import Labelled
from qstudy.measure import accuracy
from qstudy.measure.statistics import Interval
from qstudy.models.efficientnet_lite import PIXEL_DEVIATION, PIXEL_MEAN
from qstudy.spec import canonical_json
from qstudy.study.tree import write_atomically

BATCH = 32
CALIBRATION_IMAGES = 256
_TORCHVISION = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
# Mean and deviation of a pixel from 0 to 255 that each network was trained with.
PIXELS = {
    "efficientnet_lite0": ((PIXEL_MEAN,) * 3, (PIXEL_DEVIATION,) * 3),
    "resnet18": _TORCHVISION,
    "mobilenet_v2": _TORCHVISION,
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """Top-1 in percent and drop in percentage points, each with its 95 % interval.

    `form` is what ran: "int8" on an engine, or "simulated". `agree_pct`: the images
    that both class alike.
    """

    network: str
    images: int
    calibration_images: int
    form: str
    fp32: Interval
    quantized: Interval
    drop: Interval
    agree_pct: float

    def as_json(self) -> str:
        """For programs."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Report:
        """What `as_json` wrote; TypeError or ValueError for anything else."""
        told = json.loads(text)
        for name in ("fp32", "quantized", "drop"):
            told[name] = Interval(**told[name])
        return cls(**told)

    def _repr_markdown_(self) -> str:
        """A table, for notebooks."""

        def told(found: Interval) -> str:
            return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"

        return "\n".join(
            [
                f"{self.network} on {self.images:,} photographs, calibrated on "
                f"{self.calibration_images:,} others; intervals of 95 %. "
                f"{self.agree_pct:.2f} % are classed alike.",
                "",
                "| Network | Top-1 [%] | Drop [pp] |",
                "|:---|---:|---:|",
                f"| fp32 | {told(self.fp32)} | |",
                f"| {self.form} | {told(self.quantized)} | {told(self.drop)} |",
            ]
        )

    def __str__(self) -> str:
        def told(name: str, found: Interval, unit: str) -> str:
            return (
                f"  {name:12} {found.value:6.2f} {unit:2} "
                f"[{found.low:.2f}, {found.high:.2f}]"
            )

        return "\n".join(
            [
                f"{self.network} on {self.images:,} images, {self.calibration_images} "
                "others for calibration",
                told("fp32", self.fp32, "%"),
                told(self.form, self.quantized, "%"),
                told("drop", self.drop, "pp"),
                f"  {self.agree_pct:.2f} % of the images are classed alike",
            ]
        )


def evaluate(
    folder: Path | str,
    *,
    network: str = "efficientnet_lite0",
    config: Any = None,
    calibration_images: int = CALIBRATION_IMAGES,
    first: int | None = None,
    progress: Any = None,
) -> Report:
    """Score `network` on the images of `folder` as it is and quantized by `config`.

    `config` is a qstudy.methods.static.QuantizeConfig, its defaults where None; with
    `first` only so many images, drawn by a fixed seed, are scored. `progress` wraps the
    batches and is told their total, as tqdm does. Raises ValueError for an unknown
    network, and as qstudy.data.imagefolder.find; DataError where the weights cannot be
    had.
    """
    from qstudy.methods import static
    from qstudy.models import zoo

    if network not in PIXELS:
        raise ValueError(f"network {network!r} is not one of {tuple(PIXELS)}")
    found = imagefolder.find(folder)
    if not 1 <= calibration_images < len(found):
        raise ValueError(
            f"calibration_images {calibration_images} is outside 1 to "
            f"{len(found) - 1}: {folder} holds {len(found)} images, and one at least "
            "has to be scored"
        )
    order = np.random.default_rng(2022).permutation(len(found))
    shuffled = [found[place] for place in order]
    held, scored = shuffled[:calibration_images], shuffled[calibration_images:]
    scored = scored[:first] if first else scored
    side = zoo.input_shape(network)[-1]
    model = _pretrained(network)
    some = [x for x, _ in _prepared(held, network, side)]
    quantized = static.quantize(model, some, config or static.QuantizeConfig())
    labels, classes = [], {"fp32": [], "quantized": []}
    batches = _prepared(scored, network, side)
    if progress:
        batches = progress(batches, total=-(-len(scored) // BATCH))
    for x, y in batches:
        labels.append(y)
        classes["fp32"].append(_classes(model, x))
        classes["quantized"].append(_classes(quantized, x))
    wanted = np.concatenate(labels)
    base, other = (np.concatenate(parts) for parts in classes.values())
    return Report(
        network=network,
        images=len(wanted),
        calibration_images=calibration_images,
        form=quantized.form,
        fp32=accuracy.top1(base, wanted),
        quantized=accuracy.top1(other, wanted),
        drop=accuracy.drop(base, other, wanted),
        agree_pct=100 * float(np.mean(base == other)),
    )


def kept(folder: Path | str, store: Path, **options: Any) -> Report:
    """`evaluate`, or its answer from `store` where the same was asked before.

    A folder too small for as many gives half of its images to calibration. What is
    kept names images by class, name, size and time, as a checksum, and no folder.
    """
    from qstudy.measure import system

    found = imagefolder.find(folder)
    count = min(CALIBRATION_IMAGES, len(found) // 2)
    images = [
        (image.label, image.path.name, stat.st_size, stat.st_mtime_ns)
        for image in found
        for stat in [image.path.stat()]
    ]
    about = {"images": images, "versions": system.versions(), "count": count}
    key = hashlib.sha256(canonical_json(about).encode()).hexdigest()
    path = store / f"{key}.json"
    if path.exists():
        return Report.from_json(path.read_text(encoding="utf-8"))
    report = evaluate(folder, calibration_images=count, **options)
    write_atomically(path, report.as_json())
    return report


def _prepared(
    images: Sequence[Labelled], network: str, side: int
) -> Iterator[tuple[Any, Any]]:
    import torch

    mean, deviation = (torch.tensor(told) for told in PIXELS[network])
    for pixels, labels in imagefolder.batches(images, side=side, batch=BATCH):
        x = (torch.from_numpy(pixels).float() - mean) / deviation
        yield x.permute(0, 3, 1, 2).contiguous(), labels


def _classes(network: Any, x: Any) -> Any:
    import torch

    with torch.inference_mode():
        return accuracy.classes(network(x))


def _pretrained(network: str) -> Any:
    from qstudy.models import efficientnet_lite, zoo

    path = weights.path(network)
    model = zoo.build(network)
    if network == "efficientnet_lite0":
        efficientnet_lite.fill(model, zoo.read_checkpoint(path))
    else:
        zoo.load_checkpoint(model, path)
    return model.eval()
