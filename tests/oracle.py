"""An independent oracle of the scores: plain autograd parameter gradients, one sentence at a time, numpy sums.

Shares no code with ``actsim.core``. The weights require gradients here, D is computed from the model's public
outputs, and the patterns of a whole layer are held in memory and compared as flat arrays.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

BLOCKS = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3"), "model.layers"),
    **dict.fromkeys(("gpt2", "gpt_neo", "falcon"), "transformer.h"),
    "gpt_neox": "gpt_neox.layers",
    "opt": "model.decoder.layers",
    **dict.fromkeys(("bert", "roberta", "xlm_roberta", "electra", "deberta", "deberta_v2", "mpnet"), "encoder.layer"),
    "distilbert": "transformer.layer",
    "albert": "encoder.albert_layer_groups",
    "modernbert": "layers",
}
"""Where each family of ``tiny_models`` keeps its list of blocks."""

NOISE = 1e-6
"""A kind whose pattern is below this share of its layer's is rounding noise, and counts as zero: a one-token sentence
has no gradient in its queries and keys, but sums that cancel leave a rest."""

Patterns = dict[int, dict[str, NDArray[np.float64]]]
"""Layer (from 1) -> name of the matrix -> the pattern of one sentence, in the layout of the stored parameter."""


def read_out(model: nn.Module, objective: str, input_ids: Tensor) -> Tensor:
    """D of one sentence of T tokens, input_ids [1, T], from what the model returns to anybody."""
    outputs = model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids))
    if objective == "embedding-norm":
        hidden = outputs.last_hidden_state[0]
        return at_least_single(hidden).mean(dim=0).square().sum().sqrt()
    logits = at_least_single(outputs.logits[0])
    if objective == "next-token":
        return logits[-1].max()
    if objective == "log-prob":
        return torch.log_softmax(logits[-1], dim=0).max()
    if objective == "log-sum-exp":
        return torch.logsumexp(logits[-1], dim=0)
    assert objective == "nll"
    following = input_ids[0, 1:]
    return -torch.log_softmax(logits[:-1], dim=1)[torch.arange(len(following)), following].sum()


def at_least_single(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


class Oracle:
    """Patterns and scores of single sentences.

    Args:
        model: the transformer; a copy of it is used, whose matrices require gradients.
        family: a key of BLOCKS.
        objective: name of the read-out.
    """

    def __init__(self, model: nn.Module, family: str, objective: str) -> None:
        self.objective = objective
        self._model = copy.deepcopy(model).eval().requires_grad_(False)
        blocks = self._model.get_submodule(BLOCKS[family])
        self._matrices: dict[int, dict[str, nn.Parameter]] = {}
        for layer, block in enumerate(blocks, start=1):
            self._matrices[layer] = {
                f"{BLOCKS[family]}.{layer - 1}.{name.removesuffix('.weight')}": parameter.requires_grad_(True)
                for name, parameter in block.named_parameters()
                if parameter.ndim == 2
            }

    @property
    def names(self) -> dict[int, list[str]]:
        """Names of the modules whose matrices are scored, layer by layer."""
        return {layer: list(matrices) for layer, matrices in self._matrices.items()}

    def read_out(self, tokens: Sequence[int]) -> float:
        """D of one sentence."""
        with torch.no_grad():
            return float(read_out(self._model, self.objective, torch.tensor([tokens])))

    def top_token(self, tokens: Sequence[int]) -> int | None:
        """The likeliest next token, None where two logits are exactly equal."""
        with torch.no_grad():
            ids = torch.tensor([tokens])
            logits = self._model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1].double()
        best, second = logits.topk(2).values.tolist()
        return int(logits.argmax()) if best > second else None

    def patterns(self, tokens: Sequence[int], pattern: str = "absolute-weighted") -> Patterns:
        """P of every matrix: W ⊙ ∂D/∂W or the gradient alone, absolute or signed."""
        flat = [parameter for matrices in self._matrices.values() for parameter in matrices.values()]
        value = read_out(self._model, self.objective, torch.tensor([tokens]))
        grads = iter(torch.autograd.grad(value, flat, allow_unused=True))
        found: Patterns = {}
        for layer, matrices in self._matrices.items():
            found[layer] = {}
            for name, parameter in matrices.items():
                grad = next(grads)
                values = np.zeros(tuple(parameter.shape)) if grad is None else grad.double().numpy()
                if pattern.endswith("weighted"):
                    values = values * parameter.detach().double().numpy()
                found[layer][name] = np.abs(values) if pattern.startswith("absolute") else values
        return found


def compare(
    measure: str,
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    *,
    gamma: float | None = None,
    sets: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None,
) -> float:
    """One measure of two flat patterns; NaN where it is not defined."""
    if measure == "cosine":
        norms = math.sqrt(math.fsum(a * a)) * math.sqrt(math.fsum(b * b))
        return math.fsum(a * b) / norms if norms else math.nan
    if measure == "ruzicka":
        largest = math.fsum(np.maximum(a, b))
        return math.fsum(np.minimum(a, b)) / largest if largest else math.nan
    in_a, in_b = sets if sets is not None else (a > gamma, b > gamma)
    both = int((in_a & in_b).sum())
    size = int((in_a | in_b).sum()) if measure == "jaccard" else min(int(in_a.sum()), int(in_b.sum()))
    return both / size if size else math.nan


def top_set(values: NDArray[np.float64], fraction: str | float) -> NDArray[np.bool_]:
    """The ⌈f n⌉ largest values, those of lower index first among equals; f is taken as the decimal it is written as."""
    k = math.ceil(Fraction(str(fraction)) * len(values))
    members = np.zeros(len(values), dtype=bool)
    members[np.argsort(-values, kind="stable")[:k]] = True
    return members


def scores(
    a: Patterns,
    b: Patterns,
    kinds: dict[str, str],
    groups: Sequence[tuple[int, str]],
    measure: str,
    *,
    gamma: float | None = None,
    top_fraction: float | None = None,
) -> list[float]:
    """One score per group (layer, kind): maps are put side by side, then compared once.

    Args:
        a: patterns of one sentence.
        b: patterns of the other.
        kinds: name of the matrix -> kind.
        groups: what is wanted; the kind ``all`` is the whole layer.
        measure: its name.
        gamma: threshold of the activated sets.
        top_fraction: share of the layer's parameters in the activated sets.
    """
    values = []
    for layer, kind in groups:
        names = list(a[layer])
        flat_a, flat_b = (np.concatenate([p[layer][name].ravel() for name in names]) for p in (a, b))
        owner = np.concatenate([np.full(a[layer][name].size, kinds[name], dtype=object) for name in names])
        chosen = np.full(len(owner), True) if kind == "all" else owner == kind
        sets = None
        if top_fraction is not None:
            sets = top_set(flat_a, top_fraction)[chosen], top_set(flat_b, top_fraction)[chosen]
        part_a, part_b = (_denoised(measure, flat[chosen], flat) for flat in (flat_a, flat_b))
        values.append(compare(measure, part_a, part_b, gamma=gamma, sets=sets))
    return values


def _denoised(measure: str, part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """``part``, or zeros where it is noise beside ``whole``: by norm for the cosine, by sum for weighted Jaccard."""
    if measure == "cosine":
        noise = np.linalg.norm(part) < NOISE * np.linalg.norm(whole)
    else:
        noise = measure == "ruzicka" and part.sum() < NOISE * whole.sum()
    return np.zeros_like(part) if noise else part
