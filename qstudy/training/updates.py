"""How a recipe updates the weights: SGD, and Muon for the hidden convolutions.

Muon (Jordan et al. 2024) replaces the momentum of a weight matrix by the nearest
orthogonal matrix, so that an update moves all of its directions alike. torch's takes
matrices only; a convolution (O, I, k, k) is shown to it as the matrix (O, k k I) that
its channels-last memory already is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import SGD, Muon, Optimizer

from qstudy.training.recipe import Recipe

# What the learned parameters of quantizers are called: no weight has these names.
STEPS = ("step", "offset")


@dataclass(frozen=True)
class Updates:
    """The optimizers of one run, and by parameter name which tensor is theirs.

    `held[name]` is the parameter itself or the matrix that shares its memory.
    """

    optimizers: tuple[Optimizer, ...]
    held: Mapping[str, nn.Parameter]
    parameters: Mapping[str, nn.Parameter]

    def set_rates(self, share: float) -> None:
        """Give every optimizer `share` of its peak learning rate."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = share * group["peak_lr"]

    def step(self) -> None:
        """One update from the parameters' gradients, which are then dropped."""
        for name, matrix in self.held.items():
            parameter = self.parameters[name]
            if matrix is not parameter:
                matrix.grad = as_matrix(parameter.grad)
        for optimizer in self.optimizers:
            optimizer.step()
        for tensor in (*self.held.values(), *self.parameters.values()):
            tensor.grad = None

    @property
    def state(self) -> dict[nn.Parameter, dict]:
        """What is remembered of each parameter, such as momentum, to read or to set."""
        owner = {
            id(tensor): optimizer
            for optimizer in self.optimizers
            for group in optimizer.param_groups
            for tensor in group["params"]
        }
        return {
            self.parameters[name]: owner[id(tensor)].state[tensor]
            for name, tensor in self.held.items()
        }


def updates(model: nn.Module, recipe: Recipe) -> Updates:
    """The optimizers of `recipe` for a channels-last `model`.

    With `muon_lr` above 0 all convolutions but the first are Muon's; SGD has the rest,
    the parameters of quantizers (STEPS) at their own rate and without decay.
    """
    parameters = dict(model.named_parameters())
    convolutions = [name for name, p in parameters.items() if p.dim() == 4]
    hidden = convolutions[1:] if recipe.muon_lr > 0 else []
    held = dict(parameters)
    for name in hidden:
        held[name] = nn.Parameter(as_matrix(parameters[name].detach()))
    steps = [name for name in parameters if name.rpartition(".")[2] in STEPS]
    rest = [t for name, t in held.items() if name not in (*hidden, *steps)]
    groups = [{"params": rest, "peak_lr": recipe.peak_lr}]
    if steps:
        rate = recipe.peak_lr if recipe.step_lr is None else recipe.step_lr
        learned = [held[name] for name in steps]
        groups.append({"params": learned, "peak_lr": rate, "weight_decay": 0.0})
    sgd = SGD(
        groups,
        lr=recipe.peak_lr,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
    )
    if not hidden:
        return Updates((sgd,), held, parameters)
    muon = Muon(
        [{"params": [held[name] for name in hidden], "peak_lr": recipe.muon_lr}],
        lr=recipe.muon_lr,
        momentum=recipe.muon_momentum,
        weight_decay=recipe.muon_weight_decay,
    )
    return Updates((sgd, muon), held, parameters)


def as_matrix(weight: Tensor) -> Tensor:
    """(O, I, k, k), channels last, as (O, k k I) in the same memory.

    Raises RuntimeError where the weight is not stored channels last.
    """
    return weight.permute(0, 2, 3, 1).view(len(weight), -1)
