"""What scoring costs in operations and memory, by a trial forward pass of one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from actsim.core.batch import pad
from actsim.core.capture import capture_linears
from actsim.core.linears import LinearMap
from actsim.core.objectives import OBJECTIVES
from actsim.core.scoring.tiled import PREFIX_BITS, TILE_BYTES
from actsim.core.trace import Trace
from actsim.models.tokenise import tokenise

if TYPE_CHECKING:
    from actsim.config import Scoring
    from actsim.models.loading import LoadedModel

TILES = 3
"""Tiles alive at once: the patterns of all sentences, and those of the two sides of every pair."""
SET_TILES = 6
"""The same with activated sets: histogram bins, indices and membership beside them."""
HISTOGRAMS = 3
"""Histograms alive at once where a top fraction is looked for: counts, their sums from the top and one in between."""
ROW_COPIES = 4
"""Temporaries as large as one use of the widest map, inputs and outputs, that a backward step makes."""
LOGIT_COPIES = 2
"""Gradients with respect to the logits and to their normalised form."""


@dataclass(frozen=True)
class Flops:
    """Floating point operations of scoring one pair of sentences; a multiplication and an addition are two.

    Two sentences of ``tokens`` tokens, each: 2 r m of the forward pass, 2 r m of the backward pass to the activations
    and 2 r m of the weight gradients, summed over the maps, with m a map's parameters and r its rows: T for a map that
    is used once per token, so that the three make 12 T P a pair, P the scored parameters. The language-model head adds
    2 r V d forward and as many backward a sentence, r being the positions the read-out looks at. Attention scores,
    norms, activation functions and reducing the patterns (a few operations per parameter, sentence and measure) are
    not counted.
    """

    tokens: int
    forward: int
    backward: int
    weight_gradients: int
    readout: int
    total: int


@dataclass(frozen=True)
class Memory:
    """Estimated peak of scoring one batch in bytes, beside what Python and its libraries take.

    ``core.side_by_side`` says where two batches go at a time, and that they are halved where that matters.

    - ``weights``: parameters and buffers.
    - ``activations``: ``sentences`` times what the forward pass of one sentence leaves for the backward pass: the
      inputs of all maps and the outputs of the last layer's, which the capture holds, and what autograd saves; measured
      in a trial pass, every storage counted once. One sentence where the model runs them one at a time.
    - ``traces``: output gradients that have to wait: for the other uses of a shared weight, for the whole layer under
      a top fraction, for the whole batch (inputs as well, and a stacked copy) where sentences run one at a time.
    - ``workspace``: tiles of patterns, temporaries of the widest map, gradients of the logits; float32 copies of the
      widest map's weight and rows where the model is in half precision.

    What the allocator keeps or loses to fragmentation is not in it.
    """

    batch_tokens: int
    sentences: int
    weights: int
    activations: int
    traces: int
    workspace: int
    total: int


def estimate_costs(loaded: LoadedModel, scoring: Scoring, tokens: int) -> tuple[Flops, Memory]:
    """Operations per pair and peak memory of scoring sentences of ``tokens`` tokens.

    Args:
        loaded: from ``load_model``; left as it was found.
        scoring: read-out, measures and batch size.
        tokens: length of a sentence, special tokens included; those that the tokenizer always sets are kept.

    Raises:
        UsageError: an objective that the model does not have.
        NumericError: one token, where the objective needs two.
    """
    trial = _trial_pass(loaded, scoring, tokens)
    return _flops(loaded, trial), _memory(loaded, scoring, trial)


@dataclass
class _Trial:
    """What one sentence's forward pass did at the maps, and what it left alive.

    Attributes:
        tokens: its length.
        weights: where the storages of parameters and buffers begin.
        last_layer: the layer whose outputs the capture holds.
        rows: map name -> rows over all its uses.
        uses: id of a parameter -> number of uses of its maps.
        logits: number of logits formed.
        readout_rows: positions that the language-model head saw.
    """

    tokens: int
    weights: set[int]
    last_layer: int
    rows: dict[str, int] = field(default_factory=dict)
    uses: dict[int, int] = field(default_factory=dict)
    logits: int = 0
    readout_rows: int = 0
    _kept: dict[int, Tensor] = field(default_factory=dict)

    def keep(self, tensor: Tensor) -> Tensor:
        """Note that a tensor's storage stays alive; weights are counted elsewhere."""
        held = tensor.detach()
        if held.untyped_storage().data_ptr() not in self.weights:
            self._kept.setdefault(held.untyped_storage().data_ptr(), held)
        return held

    def see_map(
        self, linear: LinearMap, _module: nn.Module, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor], out: Tensor
    ) -> None:
        """Forward hook of a map: count its rows, note its input, and its output where that is held."""
        self.rows[linear.name] = self.rows.get(linear.name, 0) + out.numel() // out.shape[-1]
        self.uses[id(linear.parameter)] = self.uses.get(id(linear.parameter), 0) + 1
        self.keep(args[0] if args else next(iter(kwargs.values())))
        if linear.layer == self.last_layer:
            self.keep(out)

    def see_head(self, _module: nn.Module, _args: tuple[Tensor, ...], out: Tensor) -> None:
        """Forward hook of the language-model head."""
        self.logits += out.numel()
        self.readout_rows += out.numel() // out.shape[-1]

    @property
    def bytes_kept(self) -> int:
        """Size of the distinct storages noted."""
        return sum(tensor.untyped_storage().nbytes() for tensor in self._kept.values())


def _trial_pass(loaded: LoadedModel, scoring: Scoring, tokens: int) -> _Trial:
    """One sentence of at most ``tokens`` tokens forward through the read-out, as scoring does it."""
    ids = tokenise(loaded.tokenizer, ["a " * tokens], ["trial sentence"], tokens).tokens
    batch = pad(ids, ["trial sentence"], pad_token=loaded.pad_token, device=loaded.device)
    objective = OBJECTIVES[loaded.family].get(scoring.objective)
    tensors: Iterable[Tensor] = (*loaded.model.parameters(), *loaded.model.buffers())
    own = {tensor.untyped_storage().data_ptr() for tensor in tensors}
    trial = _Trial(len(ids[0]), own, max(linear.layer for linear in loaded.maps))
    with (
        torch.enable_grad(),
        _watched(loaded, trial),
        capture_linears(loaded.maps, batch, _unused),
        saved_tensors_hooks(trial.keep, _same),
    ):
        objective(loaded, batch)
    return trial


@contextmanager
def _watched(loaded: LoadedModel, trial: _Trial) -> Iterator[None]:
    with ExitStack() as hooks:
        for linear in loaded.maps:
            handle = linear.module.register_forward_hook(partial(trial.see_map, linear), with_kwargs=True)
            hooks.callback(handle.remove)
        head = loaded.model.get_output_embeddings() if loaded.family == "causal" else None
        if head is not None:
            hooks.callback(head.register_forward_hook(trial.see_head).remove)
        yield


def _unused(_trace: Trace) -> None:
    """Handler of a pass without a backward half: no trace arrives."""


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _flops(loaded: LoadedModel, trial: _Trial) -> Flops:
    products = 2 * sum(2 * trial.rows[linear.name] * linear.parameter.numel() for linear in loaded.maps)
    readout = 0
    if trial.readout_rows:
        readout = 2 * 2 * 2 * trial.readout_rows * loaded.model.get_output_embeddings().weight.numel()
    return Flops(trial.tokens, products, products, products, readout, 3 * products + readout)


def _memory(loaded: LoadedModel, scoring: Scoring, trial: _Trial) -> Memory:
    sentences = max(1, scoring.batch_tokens // trial.tokens)
    tensors = (*loaded.model.parameters(), *loaded.model.buffers(), *loaded.head.parameters())
    weights = sum(tensor.nbytes for tensor in tensors)
    activations = trial.bytes_kept * (sentences if loaded.batchable else 1)
    traces = _trace_bytes(loaded, scoring, trial, sentences)
    workspace = _workspace_bytes(loaded, scoring, trial, sentences)
    total = weights + activations + traces + workspace
    return Memory(sentences * trial.tokens, sentences, weights, activations, traces, workspace, total)


def _trace_bytes(loaded: LoadedModel, scoring: Scoring, trial: _Trial, sentences: int) -> int:
    def size(linear: LinearMap, *, inputs: bool) -> int:
        d_out, d_in = linear.weight.shape
        width = d_out + d_in if inputs else d_out
        return sentences * trial.rows[linear.name] * width * linear.parameter.element_size()

    whole = {linear.name: size(linear, inputs=True) for linear in loaded.maps}
    if not loaded.batchable:
        return sum(whole.values()) + max(whole.values())
    reused = [linear for linear in loaded.maps if trial.uses[id(linear.parameter)] > 1]
    waiting = sum(size(linear, inputs=False) for linear in reused)
    joined = max((whole[linear.name] for linear in reused), default=0)
    if scoring.top_fraction is None:
        return waiting + joined
    by_layer = [
        sum(size(linear, inputs=False) for linear in loaded.maps if linear.layer == layer)
        for layer in range(1, loaded.n_layers + 1)
    ]
    return waiting + joined + max(by_layer)


def _workspace_bytes(loaded: LoadedModel, scoring: Scoring, trial: _Trial, sentences: int) -> int:
    itemsize = loaded.maps[0].parameter.element_size()
    wide = max(4, itemsize)
    temporaries, widened = [], []
    for linear in loaded.maps:
        rows = sentences * trial.rows[linear.name] * sum(linear.weight.shape) * wide
        temporaries.append(ROW_COPIES * rows // trial.uses[id(linear.parameter)])
        widened.append(rows + linear.parameter.numel() * wide if itemsize < wide else 0)
    sets = scoring.gamma is not None or scoring.top_fraction is not None
    tiles = (SET_TILES if sets else TILES) * max(_tile_bytes(sentences, m.weight.shape, wide) for m in loaded.maps)
    histogram = 0 if scoring.top_fraction is None else HISTOGRAMS * sentences * 8 * (1 << PREFIX_BITS)
    logits = LOGIT_COPIES * trial.logits * wide * (sentences if loaded.batchable else 1)
    return max(temporaries) + max(widened) + tiles + histogram + logits


def _tile_bytes(sentences: int, shape: Iterable[int], itemsize: int) -> int:
    """Size of the tile of patterns that the ``tiled`` backend forms of one map."""
    d_out, d_in = shape
    row = sentences * d_in * itemsize
    return row * min(d_out, max(1, TILE_BYTES // row))
