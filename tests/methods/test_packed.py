"""A network in packed bytes: as small as its bits say, and the same to the bit."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from qstudy.measure.size import safetensors_mib
from qstudy.methods import lsq
from qstudy.methods.packed import fill, packed_tensors
from qstudy.methods.simulate import LsqConfig, SimulateConfig, calibrate, simulate
from qstudy.models import zoo
from qstudy.numerics.packing import packed_bytes
from tests.methods.networks import stir


def network(name="resnet8", *, seed=1, **config):
    simulated = simulate(
        stir(zoo.build(name, seed=seed), seed=seed), LsqConfig(**config)
    )
    x = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    lsq.start(simulated, x)
    return simulated.eval()


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_what_is_read_back_answers_to_the_last_bit(tmp_path, images, bits, granularity):
    told = {"weight_bits": bits, "activation_bits": bits, "granularity": granularity}
    packed = network(seed=1, **told)
    path = tmp_path / "network.safetensors"
    save_file(packed_tensors(packed), path)
    other = network(seed=2, **told)
    fill(other, load_file(path), path)
    with torch.no_grad():
        assert torch.equal(other(images), packed(images))
    # And once more, from the codes alone.
    again = packed_tensors(other)
    for name, tensor in packed_tensors(packed).items():
        assert torch.equal(again[name], tensor), name


def test_a_weight_takes_its_bits():
    made = packed_tensors(network(weight_bits=3, activation_bits=2))
    weight = made["stage3.0.conv2.conv.weight.int3"]
    assert len(weight) == packed_bytes(64 * 64 * 9, bits=3)
    assert made["activation_quantizers.stage3_0_conv2_input.step.uint2"].shape == ()
    assert "stage3.0.conv2.conv.weight" not in made
    assert not [n for n in made if n.endswith(("quantizing", "num_batches_tracked"))]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_resnet20_is_below_500_kb(bits):
    made = packed_tensors(network("resnet20", weight_bits=bits, activation_bits=bits))
    size = safetensors_mib(made) * 2**20
    codes = sum(len(t) for n, t in made.items() if n.endswith(f"weight.int{bits}"))
    assert codes < size < 500_000
    # Names, steps and normalizations cost less than an eighth of the weights in int8.
    assert size - codes < 50_000


def change(name, how):
    def changed(tensors):
        tensors[name] = how(tensors[name])
        return tensors

    return changed


def other_name(old, new):
    def changed(tensors):
        tensors[new] = tensors.pop(old)
        return tensors

    return changed


W = "stage1.0.conv1.conv.weight.int2"
STEP = "stage1.0.conv1.weight_quantizer.step"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (change(STEP, torch.zeros_like), "step .*conv1.* is 0.0: a finite number"),
        (change(STEP, lambda t: t * float("nan")), "is nan: a finite number"),
        (change(W, lambda t: t[:-1]), "packed codes are torch.uint8 of shape"),
        (change(W, lambda t: t.float()), "packed codes are torch.float32"),
        (
            other_name(W, W.replace("int2", "int3")),
            "misses .*weight.* has extra .*int3",
        ),
        (other_name(STEP, "step"), "misses .*weight_quantizer.step"),
        (change("fc.layer.bias", lambda t: t * float("nan")), "has fc.layer.bias with"),
    ],
)
def test_a_damaged_file_is_refused_and_nothing_is_changed(damage, words):
    tensors = packed_tensors(network(seed=1))
    simulated = network(seed=2)
    before = {k: v.clone() for k, v in simulated.state_dict().items()}
    with pytest.raises(ValueError, match=words) as error:
        fill(simulated, damage(tensors), "the/file")
    assert "the/file" in str(error.value) and "\n" not in str(error.value)
    for name, tensor in simulated.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_other_bits_than_the_files_are_refused():
    with pytest.raises(ValueError, match="does not fit"):
        fill(network(weight_bits=4), packed_tensors(network(weight_bits=2)), "file")


def test_calibrated_networks_are_weighed_and_not_read_back(resnet8, images):
    config = SimulateConfig(weight_bits=4, activation_bits=4, bn_strategy="none")
    simulated = simulate(resnet8, config)
    calibrate(simulated, [images], observer="minmax")
    made = packed_tensors(simulated.eval())
    assert len(made["fc.layer.weight.int8"]) == 640
    assert len(made["stage1.0.conv1.conv.weight.int4"]) == 16 * 16 * 9 // 2
    with pytest.raises(ValueError, match="quantizers that are not learned"):
        fill(simulated, made, "file")
