"""A linear map inside a transformer block, as the scorer sees it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class LinearMap:
    """One weight matrix W of a map y = x Wᵀ (+ b).

    Attributes:
        name: the module's qualified name in the model, e.g. ``encoder.layer.0.attention.self.query``.
        module: the module whose forward computes the map; never modified.
        layer: the block it lives in, counted from 1.
        kind: its role in the block: q, k, v, o, gate, up, down, qkv, gate_up or the model's own name.
        transposed: True where the module stores Wᵀ (GPT-2's ``Conv1D``).
    """

    name: str
    module: nn.Module
    layer: int
    kind: str
    transposed: bool = False

    @property
    def parameter(self) -> nn.Parameter:
        """The stored parameter; maps that share it (tied layers) are one parameter used several times."""
        parameter = self.module.weight
        assert isinstance(parameter, nn.Parameter)
        return parameter

    @property
    def weight(self) -> Float[Tensor, "d_out d_in"]:
        """W as [d_out, d_in], a view of the stored parameter."""
        weight = self.parameter.detach()
        return weight.T if self.transposed else weight

    def outputs(self, inputs: Float[Tensor, "*rows d_in"]) -> Float[Tensor, "*rows d_out"]:
        """Y = X Wᵀ + b, computed anew."""
        bias = self.module.bias
        return nn.functional.linear(inputs, self.weight, bias.detach() if isinstance(bias, Tensor) else None)
