"""The loss of a network that learns from labels and from another network's answers.

    L = (1 - a) CE(labels, z) + a T^2 KL(softmax(t / T) || softmax(z / T))

with the logits z of the student and t of the teacher (Hinton et al. 2015, arXiv
1503.02531, section 2). The gradient of the second term shrinks as 1 / T^2, which T^2
undoes, so that the share a means the same at every temperature T.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def distilled(
    logits: Tensor,
    labels: Tensor,
    taught: Tensor,
    *,
    share: float,
    temperature: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    """L, a float32 scalar; `logits` and `taught` (B, classes), `labels` int64 (B,).

    `share` is a, 0 to 1; `taught` carries no gradient. `label_smoothing` is of the
    first term.
    """
    cool = 1 / temperature
    known = F.log_softmax(taught.detach().float() * cool, 1)
    said = F.log_softmax(logits.float() * cool, 1)
    apart = F.kl_div(said, known, reduction="batchmean", log_target=True)
    by_labels = F.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing)
    return torch.lerp(by_labels, apart * temperature**2, share)
