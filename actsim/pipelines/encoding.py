"""Texts to vectors whose cosine is how alike their activation patterns are, for all-pairs work."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from actsim.config import PLAIN, Encoding, Scoring
from actsim.core.batch import Batch, Tokens, pad, plan_sequences
from actsim.core.fingerprint import (
    UNIT_SIDES,
    LayerVectors,
    SketchedPatterns,
    TopParameters,
    UnitVectors,
    fold,
    join,
    parameters_by_layer,
)
from actsim.core.linears import LinearMap
from actsim.core.objectives import LEAST_TOKENS, OBJECTIVES
from actsim.core.passes import consume
from actsim.core.scoring import Pattern, default_backend
from actsim.errors import ModelError, UsageError
from actsim.models.devices import out_of_memory
from actsim.models.tokenise import tokenise_for
from actsim.stats.bands import Band

if TYPE_CHECKING:
    from actsim.models.loading import LoadedModel

LOG = logging.getLogger("actsim")


@dataclass(frozen=True)
class Encoder:
    """A model and how its activation patterns become vectors; settings are checked when it is made.

    Attributes:
        loaded: the model.
        scoring: read-out, pattern, length and batches; its measures and thresholds are those of pairs and play no part.
        encoding: what the vectors are made of.

    Raises:
        UsageError: an objective or band that the model does not have, fewer entries than layers, or sets of a signed
            pattern.
    """

    loaded: LoadedModel
    scoring: Scoring
    encoding: Encoding

    def __post_init__(self) -> None:
        OBJECTIVES[self.loaded.family].check(self.scoring.objective)
        layers = self.layers
        if self.encoding.dim is not None and self.encoding.dim < len(layers):
            raise UsageError(f"dim={self.encoding.dim} is less than one entry for each of the {len(layers)} layers.")
        if self.encoding.kind == "sets" and not self.scoring.absolute:
            raise UsageError(f"kind='sets' takes an absolute pattern, got {self.scoring.pattern}.")

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers whose vectors stand side by side."""
        return Band.parse(self.encoding.layers, self.loaded.n_layers).layers

    @property
    def maps(self) -> tuple[LinearMap, ...]:
        """The linear maps of those layers; the others are not traced."""
        return tuple(linear for linear in self.loaded.maps if linear.layer in self.layers)

    @property
    def width(self) -> int:
        """Entries of a vector."""
        return sum(min(entries, self._share or entries) for entries in self._entries().values())

    def encode(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> Tensor:
        """One vector per text: float32 on the CPU, of length 1; [texts, width].

        A text that leaves nothing to score (it is empty, or has too few tokens for the read-out) gets zeros, and so
        does a layer in which no parameter is activated; how many texts did is logged.

        Args:
            texts: any texts; those with the same tokens are computed once.
            progress: told how many more texts are done.

        Returns:
            A dense tensor; sparse COO for ``kind="sets"`` with ``dim=None``.

        Raises:
            UsageError: a bare string in place of texts.
            NumericError: a value is not finite, or D hardly depends on the activations; names the text.
            ModelError: a single text does not fit into memory.
        """
        if isinstance(texts, str):
            raise UsageError("encode takes a list of texts, got one string; pass [text].")
        holders = self._holders(texts)
        vectors, row_of = [self._zeros()], torch.zeros(len(texts), dtype=torch.long)
        unscored = len(texts) - sum(map(len, holders.values()))
        if progress is not None and unscored:
            progress(unscored)
        for scored, positions in self._scored(holders):
            first = sum(map(len, vectors))
            vectors.append(scored)
            for row, own in enumerate(positions, start=first):
                row_of[own] = row
            if progress is not None:
                progress(sum(map(len, positions)))
        if unscored:
            LOG.warning("%d of %d texts leave nothing to score: their vectors are zero.", unscored, len(texts))
        return torch.cat(vectors).index_select(0, row_of)

    @property
    def _share(self) -> int | None:
        """Entries of a layer's vector at most."""
        return None if self.encoding.dim is None else self.encoding.dim // len(self.layers)

    def _entries(self) -> dict[int, int]:
        """Layer -> entries of its vector before it is folded."""
        sizes = parameters_by_layer(self.maps)
        if self.encoding.kind == "sets":
            return sizes
        if self.encoding.kind == "sketch":
            return dict.fromkeys(sizes, self._share or 0)
        sides = UNIT_SIDES[self.encoding.kind]
        return {
            layer: sum(m.weight.shape[side] for m in self.maps if m.layer == layer for side in sides) for layer in sizes
        }

    def _zeros(self) -> Tensor:
        """The vector of a text that leaves nothing to score."""
        sparse = self.encoding.kind == "sets" and self.encoding.dim is None
        return torch.zeros((1, self.width), layout=torch.sparse_coo if sparse else torch.strided)

    def _holders(self, texts: Sequence[str]) -> dict[Tokens, list[int]]:
        """Token ids -> positions of the texts that have them; without the texts that leave nothing to score."""
        least = LEAST_TOKENS.get(self.scoring.objective, 1) if self.scoring.template == PLAIN else 1
        written = [i for i, text in enumerate(texts) if text.strip()]
        if not written:
            return {}
        counts = map(len, self.loaded.tokenizer([texts[i] for i in written], verbose=False)["input_ids"])
        kept = [i for i, count in zip(written, counts, strict=True) if count >= least]
        found = tokenise_for(self.loaded, [texts[i] for i in kept], [f"text {i + 1}" for i in kept], self.scoring)
        holders: dict[Tokens, list[int]] = {}
        for position, tokens in zip(kept, found.tokens, strict=True):
            holders.setdefault(tokens, []).append(position)
        return holders

    def _scored(self, holders: dict[Tokens, list[int]]) -> Iterator[tuple[Tensor, list[list[int]]]]:
        """Vectors of the distinct sentences batch by batch, and the positions of the texts that have them.

        Where the device's memory does not suffice, the token budget is halved for all that is left.
        """
        waiting = _batches(list(holders), self.scoring.batch_tokens)
        while waiting:
            own = waiting.popleft()
            positions = [holders[tokens] for tokens in own]
            labels = [f"text {first + 1}" for first, *_ in positions]
            batch = pad(own, labels, pad_token=self.loaded.pad_token, device=self.loaded.device)
            try:
                vectors = self._vectors(batch)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                waiting = _batches([*own, *chain.from_iterable(waiting)], self._smaller_budget(batch, error))
            else:
                yield vectors, positions

    def _smaller_budget(self, batch: Batch, error: RuntimeError) -> int:
        """Half of the tokens of a batch that did not fit; ModelError where it is one text."""
        if len(batch.labels) == 1:
            raise ModelError(
                f"{batch.labels[0]}: the memory of {self.loaded.device} does not suffice for this text alone; lower "
                "max_tokens, or choose the dtype bfloat16 or another device."
            ) from error
        budget = batch.input_ids.numel() // 2
        LOG.warning("out of memory on %s: going on with batches of %d tokens", self.loaded.device, budget)
        return budget

    def _vectors(self, batch: Batch) -> Tensor:
        """One vector per sentence of the batch."""
        traced = replace(self.loaded, maps=self.maps)
        objective = OBJECTIVES[self.loaded.family].get(self.scoring.objective)
        consumer, _ = consume(traced, batch, objective, self._consumer)
        layers = consumer.vectors(len(batch.labels))
        if self._share is not None:
            layers = fold(layers, self._share, self.encoding.seed)
        return join(layers)

    def _consumer(self) -> LayerVectors:
        settings, pattern = self.encoding, Pattern(self.scoring.absolute, self.scoring.weighted)
        scorer = default_backend(self.loaded.scoring_device, self.loaded.dtype)
        if settings.kind == "sketch":
            assert self._share is not None
            return SketchedPatterns(self.maps, pattern, self._share, settings.seed, scorer)
        if settings.kind == "sets":
            return TopParameters(self.maps, pattern, settings.top_fraction, settings.measure == "overlap", scorer)
        return UnitVectors(self.maps, pattern, settings.kind, scorer)


def _batches(sentences: Sequence[Tokens], batch_tokens: int) -> deque[list[Tokens]]:
    return deque([sentences[place] for place in places] for places in plan_sequences(sentences, batch_tokens))


def encode(
    texts: Sequence[str],
    model: LoadedModel,
    encoding: Encoding | None = None,
    scoring: Scoring | None = None,
) -> Float[Tensor, "texts entries"]:
    """Vectors whose cosine says how alike the texts' activation patterns are; see ``Encoder.encode``.

    Args:
        texts: any texts.
        model: from ``load_model``.
        encoding: what the vectors are made of; default the column sums of the deep half's layers.
        scoring: objective, pattern and length; default ``model.default_scoring()``.

    Raises:
        UsageError: a bare string, or settings that do not fit the model.
        NumericError: a value is not finite, or D hardly depends on the activations.
    """
    return Encoder(model, scoring or model.default_scoring(), encoding or Encoding()).encode(texts)
