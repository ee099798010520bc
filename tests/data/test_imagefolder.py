"""A folder of photographs: its classes, its images, and what is wrong with it."""

import numpy as np
import pytest
from PIL import Image

from qstudy.data import imagefolder


def put(folder, name, pixels):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / name)


def noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_classes_by_index_keep_it_whatever_else_is_there(tmp_path):
    for name in ("12", "007", "3"):
        put(tmp_path / name, "b.png", noise(0, 8, 8, 3))
        put(tmp_path / name, "a.jpg", noise(1, 8, 8, 3))
    (tmp_path / "3" / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    found = imagefolder.find(tmp_path)
    assert [image.label for image in found] == [3, 3, 7, 7, 12, 12]
    assert [image.path.name for image in found] == ["a.jpg", "b.png"] * 3


def test_wordnet_ids_are_numbered_in_their_order_and_only_if_all_are_there(tmp_path):
    ids = [f"n{7 * k + 1000000:08d}" for k in range(1000)]
    for name in ids[:-1]:
        put(tmp_path / name, "x.png", noise(0, 2, 2, 3))
    with pytest.raises(ValueError, match="has 999 of the 1000 WordNet ids"):
        imagefolder.find(tmp_path)
    put(tmp_path / ids[-1], "x.png", noise(0, 2, 2, 3))
    found = imagefolder.find(tmp_path)
    assert [image.label for image in found] == list(range(1000))
    assert [image.path.parent.name for image in found] == ids


@pytest.mark.parametrize(
    ("folders", "says"),
    [
        ([], "holds no folders"),
        (["1000"], "'1000' .* is neither an index from 0 to 999"),
        (["cat", "1"], "'cat' .* is neither"),
        (["7", "007"], "two folders for one index"),
        (["n01440764", "3"], "'n01440764' .* is neither"),
    ],
)
def test_folders_that_are_not_imagenet_s_classes_are_refused(folders, says, tmp_path):
    for name in folders:
        put(tmp_path / name, "x.png", noise(0, 2, 2, 3))
    with pytest.raises(ValueError, match=says):
        imagefolder.find(tmp_path)


def test_what_is_no_folder_or_an_empty_class_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not a folder"):
        imagefolder.find(tmp_path / "none")
    (tmp_path / "4").mkdir()
    with pytest.raises(ValueError, match="4 holds no image"):
        imagefolder.find(tmp_path)


def test_the_square_is_the_centre_seven_eighths_of_the_shorter_side(tmp_path):
    # Of 64 rows 56 are left, 4 above and 4 below, and as many of 128 columns.
    pixels = np.zeros((64, 128, 3), dtype=np.uint8)
    pixels[4:60, 36:92] = 200
    put(tmp_path, "x.png", pixels)
    square = imagefolder.read(tmp_path / "x.png", 56)
    assert square.shape == (56, 56, 3)
    assert (square == 200).all()
    pixels[5:59, 37:91] = 100
    put(tmp_path, "x.png", pixels)
    square = imagefolder.read(tmp_path / "x.png", 56)
    assert (square == 100).sum() == 3 * 54 * 54  # a rim of one pixel is left


def test_grey_and_transparent_images_have_three_channels(tmp_path):
    put(tmp_path, "grey.png", noise(0, 20, 20))
    put(tmp_path, "clear.png", noise(0, 20, 20, 4))
    for name in ("grey.png", "clear.png"):
        assert imagefolder.read(tmp_path / name, 14).shape == (14, 14, 3)


def test_a_damaged_file_is_named(tmp_path):
    put(tmp_path, "x.png", noise(0, 40, 40, 3))
    whole = (tmp_path / "x.png").read_bytes()
    for content in (b"nothing", whole[: len(whole) // 2]):
        (tmp_path / "x.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.png is no image"):
            imagefolder.read(tmp_path / "x.png", 8)


def test_batches_keep_the_order_and_leave_nothing_out(tmp_path):
    for label in range(5):
        put(tmp_path / str(label), "x.png", np.full((9, 9, 3), label, np.uint8))
    parts = list(imagefolder.batches(imagefolder.find(tmp_path), side=4, batch=2))
    assert [len(labels) for _, labels in parts] == [2, 2, 1]
    for pixels, labels in parts:
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == (4, 4, 3)
        assert (pixels == labels[:, None, None, None]).all()
