"""The networks of the dynamic chapter in each of the forms that are compared.

`form` turns an fp32 network into one named form, for quality and for time alike, so
that what is scored is what is timed. Imports torch only when called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Form:
    """One form of a network, in the terms of the tables.

    `method` is the house's name, `how` the form's own. Bits are of weights and of what
    enters a matrix product; 7 activation bits are torch's reduce_range.
    """

    method: str
    how: str
    engine: str = ""
    weight_bits: int = 32
    activation_bits: int = 32
    granularity: str = ""
    embedding: bool = False

    @property
    def label(self) -> str:
        return self.how.replace("_", " ")


_INT8, _CLIPPED = "dynamic_int8", "simulated_static_percentile"
FORMS = {
    form.how: form
    for form in (
        Form("fp32", "fp32"),
        Form("bf16", "bf16", weight_bits=16, activation_bits=16),
        Form("dynamic_fp16", "fp16_weights", "fbgemm", 16, 32),
        Form(_INT8, "x86", "x86", 8, 7, "per_tensor"),
        Form(_INT8, "fbgemm", "fbgemm", 8, 7, "per_tensor"),
        Form(_INT8, "onednn", "onednn", 8, 7, "per_tensor"),
        Form(_INT8, "qnnpack", "qnnpack", 8, 8, "per_tensor"),
        Form(_INT8, "x86_per_channel", "x86", 8, 7, "per_channel"),
        Form(_INT8, "x86_per_channel_8_bit", "x86", 8, 8, "per_channel"),
        Form(_INT8, "x86_embedding", "x86", 8, 7, "per_tensor", True),
        Form(_INT8, "torchao", "torchao", 8, 8, "per_channel"),
        Form(_INT8, "torchao_weight_only", "torchao", 8, 32, "per_channel"),
        # Float arithmetic that rounds as int8 would: only its accuracy means anything.
        Form(_INT8, "simulated_dynamic", "simulated", 8, 8, "per_channel"),
        Form("static_int8", "simulated_static_max", "simulated", 8, 8, "per_channel"),
        Form("static_int8", _CLIPPED, "simulated", 8, 8, "per_channel"),
    )
}
# What figures call the networks.
NAMES = {
    "lstm": "LSTM", "minilm": "MiniLM", "mlp": "MLP", "tiny_lstm": "tiny LSTM",
    "tiny_encoder": "tiny encoder", "tiny_mlp": "tiny MLP",
    "linear_1024": "1024 × 1024", "linear_4096": "4096 × 4096",
}  # fmt: skip


def form(model: Any, how: str) -> Any:
    """A copy of the fp32 `model` in the form `how`, in eval mode.

    Simulated forms are made by `simulated`. Raises ValueError for another name, and as
    qstudy.methods.dynamic where a form cannot be had here.
    """
    import copy

    from qstudy.methods import dynamic

    if how not in FORMS or FORMS[how].engine == "simulated":
        raise ValueError(f"form {how!r} is not one of {tuple(FORMS)}")
    chosen = FORMS[how]
    if how == "fp32":
        return copy.deepcopy(model).eval()
    if how == "bf16":
        return dynamic.half_weights(model)
    if chosen.engine == "torchao":
        return dynamic.quantize_torchao(model, weight_only=how.endswith("only"))
    config = dynamic.DynamicConfig(
        engine=chosen.engine,
        dtype="fp16" if chosen.weight_bits == 16 else "int8",
        weight_granularity=chosen.granularity or "per_tensor",
        activation_bits=7 if chosen.weight_bits == 16 else chosen.activation_bits,
        embedding=chosen.embedding,
    )
    return dynamic.quantize_dynamic(model, config)


def linear_paths(model: Any) -> list[str]:
    """The names of all Linear modules, in the order of the model."""
    from torch import nn

    return [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]


def simulated(model: Any, ranges: dict[str, tuple[float, float]] | None) -> Any:
    """A copy of `model` that rounds weights per channel and activations to 8 bits.

    `ranges` gives each Linear's fixed activation range (static); None: each call takes
    its own (dynamic, per tensor). Sums are float32, so this stands for accuracy alone.
    """
    import copy

    import torch

    from qstudy.numerics.mapping import code_range, fake_quantize
    from qstudy.numerics.qparams import choose_qparams, range_of
    from qstudy.numerics.weights import round_weight

    owned = copy.deepcopy(model).eval()
    codes = code_range(8, signed=False)

    def rounded(path: str) -> Callable:
        def hook(module: Any, inputs: tuple) -> tuple:
            (x,) = inputs
            low, high = ranges[path] if ranges else map(float, range_of(x))
            return (fake_quantize(x, choose_qparams(low, high, codes=codes)),)

        return hook

    for path in linear_paths(owned):
        module = owned.get_submodule(path)
        with torch.no_grad():
            module.weight.copy_(round_weight(module.weight, granularity="per_channel"))
        module.register_forward_pre_hook(rounded(path))
    return owned


def observed_ranges(
    model: Any, inputs: Sequence[Any], *, watch: Callable[[str, Any], None]
) -> None:
    """Run `model` on each of `inputs` and show each Linear's input to `watch`."""
    import torch

    handles = [
        model.get_submodule(path).register_forward_pre_hook(
            lambda module, args, path=path: watch(path, args[0])
        )
        for path in linear_paths(model)
    ]
    try:
        with torch.inference_mode():
            for x in inputs:
                model(x)
    finally:
        for handle in handles:
            handle.remove()


def size_by_part(model: Any) -> dict[str, float]:
    """MiB of the saved tensors by part: embedding, weight, other; and the whole file.

    `other` holds norms, biases, scales and zero points; the file adds its header.
    """
    from qstudy.measure import size
    from qstudy.methods.dynamic import tensors

    stored = tensors.stored_tensors(model)
    parts = {"embedding": 0.0, "weight": 0.0, "other": 0.0}
    for name, tensor in stored.items():
        small = tensor.dim() < 2
        sort = "other" if small else "embedding" if "embedding" in name else "weight"
        parts[sort] += tensor.numel() * tensor.element_size() / 2**20
    return {**parts, "file": size.safetensors_mib(stored)}


def embeddings(model: Any, ids: Sequence[Any], *, step: Any) -> np.ndarray:
    """float32 (n, width): the encoder's vector of each passage of ids (1, T).

    One passage at a time, because the range of a batch depends on what else is in it.
    """
    import torch

    found = []
    with torch.inference_mode():
        for number, passage in enumerate(ids):
            found.append(model(passage).float()[0].numpy())
            if number % 100 == 99:
                step("")
    return np.stack(found)
