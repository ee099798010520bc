"""Names build, seeds decide, and a checkpoint fits or says why not."""

import pytest
import torch
from safetensors.torch import save_file

from qstudy.models import zoo


@pytest.mark.parametrize("name", zoo.NAMES)
def test_every_network_takes_its_input_and_gives_its_logits(name):
    model = zoo.build(name).eval()
    with torch.inference_mode():
        logits = model(torch.zeros(1, *zoo.input_shape(name)))
    assert logits.shape == (1, 10 if zoo.input_shape(name)[1] == 32 else 1000)
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("name", ["resnet8", "mobilenet_v2"])
def test_the_seed_alone_decides_the_weights(name):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (zoo.build(name, seed=s, classes=4) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(one.parameters(), same.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    first = next(iter(one.parameters())), next(iter(other.parameters()))
    assert not torch.equal(*first)
    assert one(torch.zeros(2, *zoo.input_shape(name))).shape == (2, 4)


def test_depths_have_the_paper_s_parameters():
    # He et al. 2015, table 6: 0.27 M for depth 20, 0.46 M for 32.
    for name, millions in (("resnet20", 0.27), ("resnet32", 0.46)):
        count = sum(p.numel() for p in zoo.build(name).parameters())
        assert count / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize("call", [zoo.build, zoo.input_shape])
def test_an_unknown_name_is_refused_with_the_known_ones(call):
    with pytest.raises(ValueError, match=r"'resnet9' is not one of .*'mobilenet_v2'"):
        call("resnet9")


def test_no_classes_are_refused():
    with pytest.raises(ValueError, match="classes 0 is below 1"):
        zoo.build("resnet8", classes=0)


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path):
    source, target = zoo.build("resnet8", seed=1), zoo.build("resnet8", seed=2)
    save_file(source.state_dict(), tmp_path / "a.safetensors")
    zoo.load_checkpoint(target, tmp_path / "a.safetensors")
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, target.state_dict()[name]), name


def _missing(state):
    del state["fc.bias"]


def _extra(state):
    state["fc.scale"] = torch.ones(1)


def _shape(state):
    state["fc.weight"] = torch.zeros(5, 64)


def _dtype(state):
    state["fc.weight"] = torch.zeros(10, 64, dtype=torch.int8)


def _nothing(state):
    state.clear()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_missing, "misses fc.bias;"),
        (_extra, "has extra fc.scale;"),
        (_shape, r"has fc.weight as float32 \(5, 64\) where float32 \(10, 64\)"),
        (_dtype, r"has fc.weight as int8 \(10, 64\) where float32 \(10, 64\)"),
        (_nothing, r"misses bn1.bias, .* and \d+ more;"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_whole(tmp_path, spoil, message):
    model = zoo.build("resnet8", seed=1)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    state = zoo.build("resnet8", seed=2).state_dict()
    spoil(state)
    save_file(state, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match=f"b.safetensors does not fit.*{message}") as e:
        zoo.load_checkpoint(model, tmp_path / "b.safetensors")
    assert "\n" not in str(e.value)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_a_damaged_or_absent_checkpoint_is_named(tmp_path):
    path = tmp_path / "c.safetensors"
    with pytest.raises(FileNotFoundError, match=r"c\.safetensors does not exist"):
        zoo.load_checkpoint(zoo.build("resnet8"), path)
    save_file(zoo.build("resnet8").state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"c\.safetensors is damaged"):
        zoo.load_checkpoint(zoo.build("resnet8"), path)
