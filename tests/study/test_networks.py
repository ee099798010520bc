"""Trained networks by name: the right one, checked, or one line that says why not."""

import shutil

import pytest
import torch

import qstudy
from qstudy.study.tree import StudyError, repository

RESULTS = repository() / "results"


@pytest.fixture
def tree(tmp_path):
    for folder in ("runs/baselines", "runs/dynamic", "systems", "checkpoints"):
        shutil.copytree(RESULTS / folder, tmp_path / folder)
    return tmp_path


def test_the_network_is_the_one_that_was_kept():
    from safetensors.torch import load_file

    network = qstudy.load("resnet20", seed=0)
    assert not network.training
    for name, value in load_file(_file("published")).items():
        assert torch.equal(network.state_dict()[name], value)


def test_text_networks_are_those_that_the_chapter_scores():
    from safetensors.torch import load_file

    lstm = qstudy.load("lstm")
    kept = load_file(RESULTS / "checkpoints" / "lstm-brown-fp32-s0.safetensors")
    assert torch.equal(lstm.embedding.weight, kept["embedding.weight"])
    assert not lstm.training
    mlp = qstudy.load("mlp", stage="published")
    kept = load_file(RESULTS / "checkpoints" / "mlp-brown-fp32-s0.safetensors")
    assert {n: v.shape for n, v in mlp.state_dict().items()} == {
        n: v.shape for n, v in kept.items()
    }
    assert mlp(torch.zeros(1, 1024)).shape == (1, 15)


def _file(stage):
    return RESULTS / "checkpoints" / f"resnet20-cifar10-fp32-{stage}-s0.safetensors"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"model": "resnet99"}, "no trained network resnet99, seed 0 in"),
        ({"model": "resnet20", "seed": 77}, "resnet20, seed 77 in"),
        ({"model": "lstm", "stage": "dev"}, "lstm, dev, seed 0 in"),
    ],
)
def test_what_there_is_not_is_named_with_what_there_is(call, words):
    with pytest.raises(StudyError, match=words) as error:
        qstudy.load(**call)
    assert "there are: " in str(error.value) and "resnet20 (" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_stage_is_named():
    with pytest.raises(ValueError, match=r"stage 'best' is not one of \('published'"):
        qstudy.load("resnet20", stage="best")


@pytest.mark.parametrize("seed", ["0", True, 0.0, None])
def test_a_seed_of_another_type_is_refused(seed):
    with pytest.raises(TypeError, match=r"^seed .* int is needed$"):
        qstudy.load("resnet20", seed=seed)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match=r"^seed -1 is not 0 or above$"):
        qstudy.load("resnet20", seed=-1)


def test_a_damaged_checkpoint_is_not_loaded(tree):
    for file in (tree / "checkpoints").glob("resnet20-*-s0.safetensors"):
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    with pytest.raises(StudyError, match="has SHA-256"):
        qstudy.load("resnet20", results=tree)
