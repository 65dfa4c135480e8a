"""Measures of two patterns out of their additive moments: sums over maps first, one division at the end."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from actsim.core.scoring import MOMENTS

_COLUMN = {name: position for position, name in enumerate(MOMENTS)}


def _moment(moments: Tensor, name: str) -> Tensor:
    return moments[..., _COLUMN[name]]


def cosine(moments: Float[Tensor, "*group moments"]) -> Float[Tensor, "*group"]:
    """Σ P_a P_b / (‖P_a‖ ‖P_b‖); the paper's LLMDcos. NaN where a pattern is all zero."""
    return _moment(moments, "dot") / (_moment(moments, "square_a").sqrt() * _moment(moments, "square_b").sqrt())


def gram_cosine(products: Float[Tensor, "*group sentences sentences"]) -> Float[Tensor, "*group sentences sentences"]:
    """The cosine of every two sentences out of their Gram matrix. NaN where a pattern is all zero."""
    norms = products.diagonal(dim1=-2, dim2=-1).sqrt()
    return products / (norms.unsqueeze(-1) * norms.unsqueeze(-2))


def ruzicka(moments: Float[Tensor, "*group moments"]) -> Float[Tensor, "*group"]:
    """Weighted Jaccard, Σ min(P_a, P_b) / Σ max(P_a, P_b), absolute patterns. NaN where both are all zero."""
    minimum = _moment(moments, "minimum")
    return minimum / (_moment(moments, "sum_a") + _moment(moments, "sum_b") - minimum)


def jaccard(moments: Float[Tensor, "*group moments"]) -> Float[Tensor, "*group"]:
    """|S_a ∩ S_b| / |S_a ∪ S_b| of the activated sets. NaN where both are empty."""
    both = _moment(moments, "count_both")
    return both / (_moment(moments, "count_a") + _moment(moments, "count_b") - both)


def overlap(moments: Float[Tensor, "*group moments"]) -> Float[Tensor, "*group"]:
    """Overlap coefficient |S_a ∩ S_b| / min(|S_a|, |S_b|). NaN where one set is empty."""
    return _moment(moments, "count_both") / _moment(moments, "count_a").minimum(_moment(moments, "count_b"))


MEASURES = {"cosine": cosine, "ruzicka": ruzicka, "jaccard": jaccard, "overlap": overlap}
