"""Which weights of a linear map go: scores by weight and input (Wanda), and masks out of scores.

Wanda (Sun et al. 2024, arXiv 2306.11695): the importance of W[o, i] is |W[o, i]| · ‖x_i‖₂, with x_i the values of
input feature i at all calibration tokens; the lowest of every output row are removed. Masks are True at what goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from actsim.core.linears import LinearMap
from actsim.core.objectives import widened
from actsim.core.precision import carry, to_float64, widest_float
from actsim.errors import NumericError, UsageError

SquaredNorms = Mapping[int, Float[Tensor, " d_in"]]
"""id of a parameter -> ‖x_i‖₂² of its input features, float64 on the CPU."""


@contextmanager
def squared_input_norms(maps: Sequence[LinearMap]) -> Iterator[dict[int, Float[Tensor, " d_in"]]]:
    """While open, add up the squares of every input feature of ``maps``, over all rows that go through.

    Products are float32 or wider, sums float64. Maps that share a parameter share the sums. Modules are left as they
    were found, also after an exception.

    Yields:
        id of the parameter -> sums, complete on leaving.
    """
    sums = {id(m.parameter): m.weight.new_zeros(m.weight.shape[1], dtype=widest_float(m.weight.device)) for m in maps}
    totals = {key: torch.zeros(len(own), dtype=torch.float64) for key, own in sums.items()}

    def add(key: int, _module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        inputs = args[0] if args else next(iter(kwargs.values()))
        sums[key] += widened(inputs).square().flatten(0, -2).sum(dim=0)
        carry(sums[key], totals[key])

    handles = []
    try:
        for linear in maps:
            hook = partial(add, id(linear.parameter))
            handles.append(linear.module.register_forward_pre_hook(hook, with_kwargs=True))
        yield totals
        for key, own in sums.items():
            totals[key] += to_float64(own)
    finally:
        for handle in handles:
            handle.remove()


def scores(linear: LinearMap, squared_norms: Float[Tensor, " d_in"]) -> Float[Tensor, "d_out d_in"]:
    """|W| · ‖x‖₂, float32 or wider, on the map's device.

    Raises:
        NumericError: a norm is not finite; names layer and module.
    """
    if not bool(squared_norms.isfinite().all()):
        raise NumericError(
            f"layer {linear.layer}, module {linear.name}: an input of the calibration is not finite; use --dtype "
            "float32."
        )
    weight = widened(linear.weight).abs()
    return weight * squared_norms.sqrt().to(weight)


def magnitudes(linear: LinearMap) -> Float[Tensor, "d_out d_in"]:
    """|W|, float32 or wider."""
    return widened(linear.weight).abs()


def lowest_of_rows(scores: Float[Tensor, "d_out d_in"], sparsity: float) -> Bool[Tensor, "d_out d_in"]:
    """True at the k = ⌊s · d_in⌋ lowest scores of every output row; of equal ones those with the lower index."""
    width = scores.shape[1]
    return _lowest(scores, int(sparsity * width + width * _ROUNDING))


def lowest_of_groups(scores: Float[Tensor, "d_out d_in"], kept: int, group: int) -> Bool[Tensor, "d_out d_in"]:
    """True at all but the ``kept`` highest scores of every ``group`` consecutive inputs; ties as ``lowest_of_rows``.

    ``check_groups`` says whether the inputs divide into such groups.
    """
    return _lowest(scores.reshape(-1, group), group - kept).reshape(scores.shape)


def check_groups(maps: Sequence[LinearMap], group: int) -> None:
    """Raise UsageError where the inputs of a map do not divide into groups of this size."""
    for linear in maps:
        width = linear.weight.shape[1]
        if width % group:
            raise UsageError(
                f"{linear.name}: its {width} inputs do not divide into groups of {group}; choose another --n-of-m."
            )


_ROUNDING = 1e-12
"""Share of a row by which s · d_in may fall short of a whole number through rounding alone."""


def _lowest(scores: Float[Tensor, "groups width"], count: int) -> Bool[Tensor, "groups width"]:
    order = scores.sort(dim=1, stable=True).indices[:, :count]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, order, True)


def remove(linear: LinearMap, removed: Bool[Tensor, "d_out d_in"]) -> None:
    """Set the weights at ``removed`` to zero, in place."""
    linear.weight.masked_fill_(removed, 0.0)


def zeros(maps: Sequence[LinearMap]) -> int:
    """How many weights of the maps are zero; parameters that several share count once each time they are listed."""
    return sum(int((linear.weight == 0).sum()) for linear in maps)


def outlier_share(maps: Sequence[LinearMap], squared_norms: SquaredNorms, factor: float) -> float:
    """The share of a block's scores above ``factor`` times their mean (OWL's M), over all of its maps."""
    parameters = sum(linear.weight.numel() for linear in maps)
    total = sum(float(_scored(linear, squared_norms).sum(dtype=torch.float64)) for linear in maps)
    threshold = factor * total / parameters
    return sum(int((_scored(linear, squared_norms) > threshold).sum()) for linear in maps) / parameters


def median_score(maps: Sequence[LinearMap], squared_norms: SquaredNorms) -> float:
    """The median of a block's scores over all of its maps."""
    values: Any = np.concatenate([_scored(linear, squared_norms).flatten().numpy() for linear in maps])
    return float(np.median(values, overwrite_input=True))


def _scored(linear: LinearMap, squared_norms: SquaredNorms) -> Tensor:
    return scores(linear, squared_norms[id(linear.parameter)]).cpu()
