"""The door to torch's eager API: what it lets through, and what it says when shut."""

import sys
import warnings

import pytest
import torch

from qstudy.methods import legacy


@pytest.mark.parametrize(
    ("door", "name"),
    [
        (legacy.eager_api, "torch.ao.quantization"),
        (legacy.quantized_modules, "torch.ao.nn.quantized"),
        (legacy.qat_modules, "torch.ao.nn.intrinsic.qat"),
    ],
)
def test_a_torch_without_the_api_is_told_the_replacement(monkeypatch, door, name):
    assert door().__name__ == name
    monkeypatch.setitem(sys.modules, name, None)  # as if the import failed
    with pytest.raises(ImportError, match=f"has no {name}: .*torchao's PT2E") as error:
        door()
    assert "\n" not in str(error.value)


def test_only_the_announced_removal_is_silenced():
    with legacy.announced_removal(), warnings.catch_warnings(record=True) as seen:
        warnings.warn(
            "torch.ao.quantization is deprecated and will", DeprecationWarning, 2
        )
        warnings.warn(
            "torch.quantize_per_tensor, torch.x and y are deprecated", UserWarning, 2
        )
    assert seen == []
    with legacy.announced_removal(), pytest.raises(UserWarning, match="another"):
        warnings.warn("another", UserWarning, 2)


def test_the_engine_is_set_inside_and_restored_after_an_error():
    before = torch.backends.quantized.engine
    names = [e for e in torch.backends.quantized.supported_engines if e != "none"]
    for name in names:
        with pytest.raises(KeyError), legacy.engine(name):
            assert torch.backends.quantized.engine == name
            raise KeyError
        assert torch.backends.quantized.engine == before


def test_an_engine_the_machine_lacks_is_refused():
    with (
        pytest.raises(ValueError, match="engine 'tpu' is not one of"),
        legacy.engine("tpu"),
    ):
        pass
