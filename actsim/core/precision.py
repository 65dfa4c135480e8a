"""Floating point types by device: sums are float64 wherever a device has it, and end in float64 on the CPU."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

WITHOUT_FLOAT64 = ("mps",)
"""Kinds of devices that have no float64; creating such a tensor there is an error."""


def widest_float(device: torch.device) -> torch.dtype:
    """The widest floating point type of tensors on ``device``: float64, or float32 on mps."""
    return torch.float32 if device.type in WITHOUT_FLOAT64 else torch.float64


def to_float64(values: Tensor) -> Tensor:
    """The values in float64 on the CPU: moved first, then widened, since not every device has float64."""
    return values.cpu().double()


def carry(sums: Float[Tensor, "*shape"], total: Float[Tensor, "*shape"]) -> None:
    """Move running sums into the float64 ``total`` on the CPU where their own type is narrower; else leave them.

    Called after every step of a long sum, so that only one step is ever added up in float32; ``total + sums`` is the
    sum at any time, and float64 sums wait for nothing.
    """
    if sums.dtype != torch.float64:
        total += to_float64(sums)
        sums.zero_()
