"""`load` and `sha256`: the splits, their fixed members, and what identifies them."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qstudy import data
from qstudy.data import cifar10, fetch, splits, synthetic


@given(count=st.integers(0, 3000))
def test_parts_are_disjoint_and_complete(count):
    kept = splits.indices(count, "train45k")
    held_out = splits.indices(count, "validation")
    assert len(held_out) == count // 10
    both = np.sort(np.concatenate([kept, held_out]))
    np.testing.assert_array_equal(both, np.arange(count))


def test_members_of_cifar10s_parts_are_fixed_for_good():
    """A published accuracy on the validation split means these 5,000 images."""
    assert len(splits.indices(50_000, "train45k")) == 45_000
    assert splits.indices_sha256(50_000, "train45k") == (
        "b5ae26a3ce33b7b04e6a652c2e8bc02ae5f1e66c107a540b0d941e42127dadf5"
    )
    assert splits.indices_sha256(50_000, "validation") == (
        "aeb9dffac7f32c7dfea46a891c981e76e26e3e170073a13b71634bcdfb2c1d75"
    )


def test_only_parts_have_indices():
    with pytest.raises(ValueError, match="train45k or validation"):
        splits.indices(10, "test")


def test_loaded_parts_are_those_members():
    images, labels = data.load("synthetic", "train")
    for split, count in (("train45k", 576), ("validation", 64)):
        part, part_labels = data.load("synthetic", split)
        chosen = splits.indices(640, split)
        assert part.shape == (count, 32, 32, 3) and part_labels.shape == (count,)
        np.testing.assert_array_equal(part, images[chosen])
        np.testing.assert_array_equal(part_labels, labels[chosen])


def test_cifar10_loads_from_the_cache(small, cache, offline, monkeypatch):
    monkeypatch.setattr(cifar10, "TRAIN_COUNT", 20)
    folder = cache / "cifar10"
    folder.mkdir(parents=True)
    for name, array in small.items():
        np.save(folder / f"{name}.npy", array)
    images, labels = data.load("cifar10", "test")
    np.testing.assert_array_equal(images, small["test_images"])
    np.testing.assert_array_equal(labels, small["test_labels"])
    images, _ = data.load("cifar10", "validation", data_dir=folder)
    members = splits.indices(20, "validation")
    np.testing.assert_array_equal(images, small["train_images"][members])
    data.ensure("cifar10")


def test_arrays_go_to_torch_without_a_warning(small, cache, offline):
    torch = pytest.importorskip("torch")
    folder = cache / "cifar10"
    folder.mkdir(parents=True)
    for name, array in small.items():
        np.save(folder / f"{name}.npy", array)
    images, _ = data.load("cifar10", "train")
    assert torch.from_numpy(images).shape == (20, 32, 32, 3)


def test_sha256_needs_no_data_and_tells_splits_apart(cache, offline):
    found = {
        (dataset, split): data.sha256(dataset, split)
        for dataset in data.DATASETS
        for split in data.SPLITS
    }
    assert len(set(found.values())) == 8
    assert all(len(digest) == 64 for digest in found.values())
    parts = [cifar10.SHA256["test_images"], cifar10.SHA256["test_labels"]]
    expected = hashlib.sha256(" ".join(parts).encode()).hexdigest()
    assert found["cifar10", "test"] == expected
    assert not cache.exists()


def test_sha256_follows_the_bytes(monkeypatch):
    before = data.sha256("cifar10", "train"), data.sha256("cifar10", "validation")
    changed = {**cifar10.SHA256, "train_labels": "0" * 64}
    monkeypatch.setattr(cifar10, "SHA256", changed)
    assert data.sha256("cifar10", "train") != before[0]
    assert data.sha256("cifar10", "validation") != before[1]


@pytest.mark.parametrize("function", [data.load, data.sha256])
def test_unknown_names(function):
    with pytest.raises(ValueError, match="'mnist' is not one of cifar10, synthetic"):
        function("mnist", "train")
    with pytest.raises(ValueError, match="'val' is not one of train, train45k, val"):
        function("synthetic", "val")


def test_unknown_data_set_cannot_be_ensured():
    with pytest.raises(ValueError, match="cifar10, synthetic"):
        data.ensure("mnist")
    data.ensure("synthetic")


def test_errors_are_of_one_sort():
    assert issubclass(fetch.Damaged, data.DataError)
    assert issubclass(data.DataError, RuntimeError)


def test_synthetic_set_is_the_same_everywhere():
    arrays = synthetic.arrays()
    assert {name: (a.dtype, a.shape) for name, a in arrays.items()} == {
        "train_images": (np.uint8, (640, 32, 32, 3)),
        "train_labels": (np.uint8, (640,)),
        "test_images": (np.uint8, (256, 32, 32, 3)),
        "test_labels": (np.uint8, (256,)),
    }
    assert synthetic.digests()["train_images"] == (
        "077070cbef33fd4fb4af725e57403a0bf792feb581791748d07ebfbdeb859cb5"
    )
    assert synthetic.digests()["test_images"] == (
        "c208ee4b015ebf75e950b42170c63cdcbfc949d2a13be1a4a5ad2b38586e0b5e"
    )
    assert np.bincount(arrays["train_labels"]).tolist() == [64] * 10


def test_synthetic_classes_can_be_learnt():
    """The mean image of each class, from training images, names the test images."""
    arrays = synthetic.arrays()
    train = arrays["train_images"].reshape(640, -1).astype(float)
    test = arrays["test_images"].reshape(256, -1).astype(float)
    means = np.stack([train[arrays["train_labels"] == k].mean(0) for k in range(10)])
    distances = ((test[:, None] - means) ** 2).sum(-1)
    assert (distances.argmin(1) == arrays["test_labels"]).mean() > 0.9
