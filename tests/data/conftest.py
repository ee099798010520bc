"""A tiny CIFAR-10 in every form it comes in, a local web server, an empty cache."""

import hashlib
import io
import json
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from qstudy.data import cifar10, fetch


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The study's cache folder, empty."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(fetch, "cache_folder", lambda: folder)
    return folder


@pytest.fixture
def server(tmp_path):
    """A folder that is served over HTTP, and its address."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=web.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{web.server_port}"
    web.shutdown()
    thread.join()
    web.server_close()


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No host answers and no package manager is installed."""
    monkeypatch.setattr(cifar10, "OFFICIAL_URL", "http://127.0.0.1:9/nothing.tar.gz")
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))


@pytest.fixture
def small(monkeypatch):
    """Five batches of four training images and four test images, as the authority."""
    rng = np.random.default_rng(0)
    arrays = {
        "train_images": rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8),
        "train_labels": rng.integers(0, 10, 20, dtype=np.uint8),
        "test_images": rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8),
        "test_labels": rng.integers(0, 10, 4, dtype=np.uint8),
    }
    digests = {
        name: hashlib.sha256(array.tobytes()).hexdigest()
        for name, array in arrays.items()
    }
    monkeypatch.setattr(cifar10, "SHA256", digests)
    return arrays


def batches(arrays):
    """(name, images, labels) of the five training batches and the test batch."""
    for number in range(5):
        part = slice(4 * number, 4 * number + 4)
        name = f"data_batch_{number + 1}"
        yield name, arrays["train_images"][part], arrays["train_labels"][part]
    yield "test_batch", arrays["test_images"], arrays["test_labels"]


def binary_files(arrays):
    """The authors' format, byte by byte as their page describes it."""
    for name, images, labels in batches(arrays):
        content = bytearray()
        for image, label in zip(images, labels, strict=True):
            content.append(int(label))
            for channel in range(3):
                content += image[:, :, channel].tobytes()
        yield f"cifar-10-batches-bin/{name}.bin", bytes(content)
    yield "cifar-10-batches-bin/readme.html", b"<html>"


def npm_files(arrays):
    """The npm package's format: a picture a batch, a row of pixels an image."""
    for name, images, _ in batches(arrays):
        buffer = io.BytesIO()
        Image.fromarray(images.reshape(len(images), 1024, 3)).save(buffer, "PNG")
        yield f"package/{name}.png", buffer.getvalue()
    for part in ("train", "test"):
        labels = json.dumps(arrays[f"{part}_labels"].tolist())
        yield f"package/{part}_lables.json", labels.encode()
    yield "package/package.json", b"{}"


def pack(path, files):
    """Write (name, content) pairs as a tar.gz."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def program(folder, name, script):
    """Put an executable shell script `name` into `folder`."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def unfinished(folder):
    """What an interrupted download would have left in `folder`."""
    return list(folder.rglob(f"{fetch.SCRATCH_PREFIX}*"))
