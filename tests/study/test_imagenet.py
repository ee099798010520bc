"""The command `imagenet` on a small folder, with a small network."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import qstudy
from qstudy.experiments import static
from qstudy.methods.static import QuantizeConfig
from qstudy.models import zoo
from qstudy.study import cli, imagenet
from qstudy.study.tree import StudyError

# A folder for a test has fewer images than a calibration should have, which is said.
pytestmark = pytest.mark.filterwarnings(
    "ignore::qstudy.methods.static.QuantizationWarning"
)


@pytest.fixture
def folder(tmp_path):
    made = np.random.default_rng(0)
    for label in range(8):
        (tmp_path / str(label)).mkdir()
        for number in range(6):
            pixels = made.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / str(label) / f"{number}.png")
    return tmp_path


@pytest.fixture
def small(monkeypatch):
    model = zoo.build("resnet8", classes=1000).eval()
    monkeypatch.setattr(imagenet, "_pretrained", lambda network: model)
    monkeypatch.setattr(zoo, "input_shape", lambda network: (3, 32, 32))
    return model


def test_both_networks_are_scored_on_the_same_images(folder, small):
    report = imagenet.evaluate(folder, calibration_images=20)
    assert report.images == 6 * 8 - 20
    assert report.form == "int8"
    # Of the same images: the drop is the difference of the two scores.
    difference = report.fp32.value - report.quantized.value
    assert report.drop.value == pytest.approx(difference, abs=1e-9)
    assert report.fp32.low <= report.fp32.value <= report.fp32.high
    assert report.agree_pct > 80


def test_accuracy_is_that_of_the_labels_in_the_folders(folder, small, monkeypatch):
    class Reads(torch.nn.Module):
        """The class of an image of one value is that value."""

        def forward(self, x):
            wanted = (x[:, 0, 0, 0] * 128 + 127).round().long()
            return torch.nn.functional.one_hot(wanted, 1000).float()

    for path in folder.glob("*/*.png"):
        value = int(path.parent.name)
        Image.new("RGB", (40, 40), (value,) * 3).save(path)
    monkeypatch.setattr(imagenet, "_classes", lambda n, x: Reads()(x).argmax(1).numpy())
    report = imagenet.evaluate(folder, calibration_images=8)
    assert report.fp32.value == 100
    assert report.drop.value == 0


def test_calibration_never_sees_what_is_scored(folder, small, monkeypatch):
    seen = []
    read = imagenet.imagefolder.read
    monkeypatch.setattr(
        imagenet.imagefolder,
        "read",
        lambda path, side: seen.append(path) or read(path, side),
    )
    imagenet.evaluate(folder, calibration_images=16, first=10)
    assert len(seen) == len(set(seen)) == 26


def test_fewer_bits_stay_simulated_and_the_command_prints_it_for_programs(
    folder, small
):
    told = ["imagenet", str(folder), "--bits", "4", "--calibration", "16", "--json"]
    result = CliRunner().invoke(cli.app, told)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["form"] == "simulated"
    assert report["images"] == 32
    told = ["imagenet", str(folder), "--calibration", "16", "--first", "5"]
    result = CliRunner().invoke(cli.app, told)
    assert "efficientnet_lite0 on 5 images, 16 others for calibration" in result.stdout
    assert "drop" in result.stdout


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"network": "vgg"}, "'vgg' is not one of"),
        ({"calibration_images": 48}, "48 is outside 1 to 47"),
        ({"calibration_images": 0}, "0 is outside 1 to 47"),
    ],
)
def test_what_cannot_be_is_refused(told, says, folder, small):
    with pytest.raises(ValueError, match=says):
        imagenet.evaluate(folder, **told)


def test_the_pretrained_networks_are_prepared_as_they_were_trained():
    assert set(imagenet.PIXELS) <= set(zoo.NAMES)
    from qstudy.data import weights

    assert set(imagenet.PIXELS) <= set(weights.REGISTRY)


def test_a_configuration_is_taken_over(folder, small):
    config = QuantizeConfig(weight_bits=3, activation_bits=3, engine=None)
    report = imagenet.evaluate(folder, config=config, calibration_images=16)
    assert report.form == "simulated"


# ---- from a chapter's parameters


@pytest.fixture
def chapter(tmp_path_factory, monkeypatch, toys):
    """A chapter with a folder among its parameters, and its work tree."""
    work = tmp_path_factory.mktemp("work")
    monkeypatch.setenv("QSTUDY_WORK", str(work))
    monkeypatch.setattr(toys, "PARAMETERS", {**toys.PARAMETERS, "imagenet": ""})
    return lambda **given: (qstudy.chapter("toy", given), work)


def test_a_chapter_scores_a_folder_and_keeps_the_answer_without_its_path(
    folder, small, chapter, monkeypatch
):
    study, work = chapter(mode="smoke", imagenet=str(folder))
    shown = study.photographs(str(folder))
    report = imagenet.evaluate(folder, calibration_images=24)
    assert shown == report
    assert report.images == 24
    table = shown._repr_markdown_()
    assert f"| int8 | {report.quantized.value:.2f} [" in table
    assert "24 photographs, calibrated on 24 others" in table
    monkeypatch.setattr(imagenet, "_pretrained", None)  # asked again, nothing is run
    assert study.photographs(str(folder)) == report
    (kept,) = (work / "photographs").iterdir()
    told = [p.read_text() for p in work.rglob("*.json")] + [p.name for p in [kept]]
    assert len(told) > 2 and not any(str(folder) in text for text in told)
    # Another image is another question.
    Image.new("RGB", (40, 40)).save(folder / "3" / "more.png")
    with pytest.raises(TypeError):
        study.photographs(str(folder))


def test_a_folder_changes_no_run_of_the_chapter(folder, chapter):
    plain, _ = chapter(mode="smoke")
    with_folder, _ = chapter(mode="smoke", imagenet=str(folder))
    assert with_folder.tree == plain.tree and with_folder.whole
    assert plain.photographs("") is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"mode": "read", "imagenet": "photographs"}, "pass -p mode quick"),
        ({"mode": "smoke", "imagenet": "nowhere"}, "imagenet is 'nowhere', which is"),
    ],
)
def test_a_folder_that_cannot_be_scored_is_told_before_anything_runs(
    given, says, chapter, tmp_path
):
    with pytest.raises((ValueError, StudyError), match=says) as error:
        chapter(**given)
    assert "\n" not in str(error.value)


def test_a_folder_is_a_parameter_of_the_static_chapter_and_of_no_run():
    folders = [k for k, v in static.PARAMETERS.items() if v == ""]
    assert folders == ["imagenet"]
    specs = [s for mode in ("smoke", "full") for s in static.grid(mode)]
    assert not any("imagenet" in spec.params for spec in specs)
