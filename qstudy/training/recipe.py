"""What a training run is made of, as one frozen dataclass.

Every field changes the arithmetic and therefore belongs to the run's key; nothing that
decides a result is detected silently.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

PRECISIONS = ("fp32", "bf16")
SCHEDULES = ("cosine", "step")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """SGD with Nesterov momentum, linear warm-up, then a cosine to zero.

    `warmup` is a share of all steps; `peak_lr` is reached at its end. `schedule` "step"
    divides by ten at half and at three quarters of all steps instead. `precision`
    "bf16" means bfloat16 autocast with fp32 weights. `compiled` sends the step through
    torch.compile. `alternate_flip` draws the flips of the first epoch and then turns
    every image over once an epoch (Jordan 2024, arXiv 2404.00498).
    `ema_decay` above 0 gives back the exponential moving average of weights and
    batch-norm statistics over updates in place of the last ones. With `muon_lr` above 0
    that is the peak rate at which Muon updates all convolutions but the first, with its
    own momentum and decoupled weight decay (see `updates`); the schedule is shared.
    `step_lr` is the peak rate of learned quantizer steps, None that of the rest; they
    never decay. `distill` is the share of the loss that follows a teacher's answers at
    `temperature` (see `distillation`). After the last epoch, batch-norm statistics are
    measured again on `bn_batches` training batches, where that is above 0.
    Raises ValueError for a field outside its range.
    """

    epochs: int = 20
    batch: int = 128
    peak_lr: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.15
    crop_padding: int = 4
    flip: bool = True
    alternate_flip: bool = False
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    muon_lr: float = 0.0
    muon_momentum: float = 0.95
    muon_weight_decay: float = 0.0
    step_lr: float | None = None
    distill: float = 0.0
    temperature: float = 1.0
    bn_batches: int = 0
    schedule: str = "cosine"
    precision: str = "bf16"
    compiled: bool = True

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision {self.precision!r} is not one of {PRECISIONS}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule {self.schedule!r} is not one of {SCHEDULES}")
        for name, low, high in (
            ("epochs", 1, 10_000),
            ("batch", 1, 65_536),
            ("crop_padding", 0, 16),
            ("peak_lr", 0.0, 100.0),
            ("momentum", 0.0, 1.0),
            ("weight_decay", 0.0, 1.0),
            ("warmup", 0.0, 1.0),
            ("label_smoothing", 0.0, 1.0),
            ("muon_lr", 0.0, 100.0),
            ("muon_momentum", 0.0, 1.0),
            ("muon_weight_decay", 0.0, 1.0),
            ("step_lr", 0.0, 100.0),
            ("distill", 0.0, 1.0),
            ("temperature", 0.01, 1000.0),
            ("bn_batches", 0, 10_000),
        ):
            value = getattr(self, name)
            if name == "step_lr" and value is None:
                continue
            if not low <= value <= high:
                raise ValueError(f"{name} {value!r} is outside {low} to {high}")

    def params(self) -> dict[str, int | float | bool | str]:
        """The fields as plain values, for a RunSpec."""
        return asdict(self)

    def share_of_peak(self, step: int, steps: int) -> float:
        """The learning rate of update `step` (from 0) of `steps`, over its peak."""
        from math import cos, pi

        warmup_steps = max(1, round(self.warmup * steps))
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        if self.schedule == "step":
            return 0.1 ** sum(step >= share * steps for share in (0.5, 0.75))
        progress = (step - warmup_steps) / max(1, steps - warmup_steps)
        return 0.5 * (1.0 + cos(pi * progress))
