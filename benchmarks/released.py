"""The yardstick: pair scores the way the released scripts of arXiv 2405.17799 compute them, written anew.

One sentence at a time; the weights of the blocks require a gradient and autograd forms it; the gradients of both
sentences are kept as two full copies; the patterns |W * grad| of a layer are concatenated and compared with dot
products, all in the model's own type. Nothing is slowed down: the head sees the last token only, no key-value cache is
built, and gradients are set to None instead of being zeroed, which the scripts do not do.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from actsim.core.batch import Tokens
from benchmarks.shapes import Subject

Gradients = dict[str, Tensor]


def released_scores(
    subject: Subject, pairs: Sequence[tuple[Tokens, Tokens]], *, sums: torch.dtype | None = None
) -> Tensor:
    """Cosine of the two patterns of each pair, layer by layer, [pairs, layers], float64.

    NaN or infinite where the model's type is too narrow for a sum, as happens in float16.

    Args:
        subject: the model.
        pairs: token ids of the two sentences of each pair.
        sums: type of the patterns in the dot products. The model's own as in the scripts, which is what is timed; one
            float32 sum of millions of squares is off by up to 1e-4, so scores are checked with float64.
    """
    layers = _weights_by_layer(subject)
    scores = torch.zeros((len(pairs), len(layers)), dtype=torch.float64)
    with _weights_require_grad(layers):
        for row, (tokens_a, tokens_b) in enumerate(pairs):
            gradients_a = _gradients(subject, layers, tokens_a)
            gradients_b = _gradients(subject, layers, tokens_b)
            for column, weights in enumerate(layers):
                pattern_a, pattern_b = _pattern(weights, gradients_a), _pattern(weights, gradients_b)
                scores[row, column] = _cosine(pattern_a, pattern_b, sums).double().cpu()
    return scores


def _weights_by_layer(subject: Subject) -> list[dict[str, nn.Parameter]]:
    layers: list[dict[str, nn.Parameter]] = [{} for _ in subject.blocks]
    for linear in subject.maps:
        layers[linear.layer - 1][linear.name] = linear.parameter
    return layers


@contextmanager
def _weights_require_grad(layers: Sequence[dict[str, nn.Parameter]]) -> Iterator[None]:
    """While open the block weights are trainable; afterwards neither they nor their gradients are left behind."""
    parameters = [parameter for weights in layers for parameter in weights.values()]
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None


def _gradients(subject: Subject, layers: Sequence[dict[str, nn.Parameter]], tokens: Tokens) -> Gradients:
    """A full copy of the gradient of D with respect to every block weight."""
    subject.model.zero_grad(set_to_none=True)
    _read_out(subject, torch.tensor([tokens], device=subject.device)).backward()
    return copy.deepcopy({name: _gradient(parameter) for weights in layers for name, parameter in weights.items()})


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _read_out(subject: Subject, input_ids: Tensor) -> Tensor:
    """The largest next-token logit, or the length of the mean last hidden state."""
    if subject.shape.family == "causal":
        return subject.model(input_ids=input_ids, use_cache=False, logits_to_keep=1).logits[0, -1].max()
    return subject.model(input_ids=input_ids).last_hidden_state[0].mean(dim=0).norm()


def _pattern(weights: dict[str, nn.Parameter], gradients: Gradients) -> Tensor:
    """|W * grad| of all weights of a layer, one after the other."""
    with torch.no_grad():
        return torch.cat([(weight * gradients[name]).abs().flatten() for name, weight in weights.items()])


def _cosine(a: Tensor, b: Tensor, sums: torch.dtype | None) -> Tensor:
    if sums is not None:
        a, b = a.to(sums), b.to(sums)
    return torch.dot(a, b) / (torch.dot(a, a).sqrt() * torch.dot(b, b).sqrt())
