"""Our side of the benchmark: the path the product takes from tokens to layer scores, and what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from actsim.config import Scoring
from actsim.core.batch import PairBatch, Tokens, pad, padded_tokens, plan_batches
from actsim.core.consumers import PairMoments
from actsim.core.measures import cosine
from actsim.core.objectives import OBJECTIVES
from actsim.core.passes import consume
from actsim.core.scoring import default_backend
from actsim.core.side_by_side import plan_passes, side_by_side
from benchmarks.floor import Rates
from benchmarks.machine import GIB, free_bytes
from benchmarks.shapes import PAD_TOKEN, Counts, Shape, Subject

WORKING_BYTES = GIB
"""Room beside the weights that our way is given when it is decided whether a shape fits."""


@dataclass(frozen=True)
class Ours:
    """How our side scores: configuration, and the backend (None: the product's default)."""

    subject: Subject
    batch_tokens: int
    backend: str | None = None

    @property
    def scoring(self) -> Scoring:
        """The product's default configuration, hidden-state baselines included."""
        dtype = str(self.subject.model.dtype).removeprefix("torch.")
        return Scoring(self.subject.shape.objective, batch_tokens=self.batch_tokens, dtype=dtype)

    def scores(self, pairs: Sequence[tuple[Tokens, Tokens]]) -> Tensor:
        """Cosine of the two patterns of each pair, layer by layer, [pairs, layers], float64."""
        scores = torch.zeros((len(pairs), len(self.subject.blocks)), dtype=torch.float64)
        scorer = self.scorer()
        plan = plan_passes(plan_batches(pairs, self.batch_tokens), self.batch_tokens, self.subject)
        passes = [own for batch in plan.passes for own in batch]

        def work(subject: Subject, batch: PairBatch) -> Tensor:
            return replace(self, subject=subject).score_batch(batch, scorer)

        for batch, own in zip(passes, side_by_side(work, passes, self.subject, plan.at_a_time), strict=True):
            scores[list(batch.pairs)] = own
        return scores

    def scorer(self) -> str:
        """The backend asked for, or the one a run would choose."""
        return self.backend or default_backend(str(self.subject.device), self.scoring.dtype)

    def score_batch(self, batch: PairBatch, scorer: str) -> Tensor:
        """One row per pair of the batch, as ``scores``."""
        subject, scoring, sides = self.subject, self.scoring, torch.tensor(batch.sides)
        labels = [f"sentence {index}" for index in range(len(batch.sentences))]
        sentences = pad(batch.sentences, labels, pad_token=PAD_TOKEN, device=subject.device)
        consumer, _ = consume(
            subject,
            sentences,
            OBJECTIVES[subject.shape.family].get(scoring.objective),
            lambda: PairMoments(subject.maps, sides, scoring, scorer),
            hidden=scoring.baselines,
        )
        consumer.check([(labels[a], labels[b]) for a, b in batch.sides])
        whole = [position for position, (_, kind) in enumerate(consumer.groups) if kind == "all"]
        return cosine(consumer.moments())[:, whole]


def layout(pairs: Sequence[tuple[Tokens, Tokens]], batch_tokens: int) -> dict[str, float | int]:
    """Number of batches, and the share of padding among their tokens."""
    batches = plan_batches(pairs, batch_tokens)
    padded = sum(padded_tokens(batch) for batch in batches)
    own = sum(len(sentence) for batch in batches for sentence in batch.sentences)
    return {"batches": len(batches), "padding_share": 1 - own / padded}


def bytes_needed(counts: Counts, dtype: torch.dtype) -> int:
    """Weights and working room of our way."""
    return counts.total * dtype.itemsize + WORKING_BYTES


def released_bytes_needed(counts: Counts, dtype: torch.dtype) -> int:
    """Weights, gradients, two copies, and a layer's two patterns in the model's type and, for the check, in float64."""
    patterns = 2 * counts.layer * (2 * dtype.itemsize + torch.float64.itemsize)
    return (counts.total + 3 * counts.scored) * dtype.itemsize + patterns + WORKING_BYTES


def does_not_fit(shape: Shape, needed: int, dtype: torch.dtype, device: torch.device, whose: str) -> str | None:
    """Why ``needed`` bytes are too many for ``device``, or None."""
    free = free_bytes(device)
    if free is None or needed <= free:
        return None
    return (
        f"{shape.name} in {_name(dtype)} needs about {needed / GIB:.1f} GiB ({whose}), {device.type} has "
        f"{free / GIB:.1f} GiB free; choose a narrower --dtype or a larger machine"
    )


def takes_too_long(shape: Shape, flops: float, rates: Rates, limit_minutes: float) -> str | None:
    """Why ``flops`` are too many, or None: the floor alone is longer than the limit."""
    minutes = rates.seconds(flops) / 60
    if minutes <= limit_minutes:
        return None
    return (
        f"{shape.name} would take {minutes:.1f} min or more at the {rates.flops / 1e9:.0f} GFLOP/s measured here, the "
        f"limit is {limit_minutes:g} min; choose fewer --pairs or a higher --limit-minutes"
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
