"""Two sentences, or some: scores and fingerprints without a data set or a store."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from actsim.config import SET_MEASURES, Scoring
from actsim.core.batch import Batch, pad
from actsim.core.consumers import NeuronSums, PairMoments
from actsim.core.fingerprint import Fingerprint, assemble
from actsim.core.measures import MEASURES
from actsim.core.objectives import OBJECTIVES
from actsim.core.passes import consume
from actsim.core.scoring import Pattern
from actsim.errors import NumericError, UsageError
from actsim.models.tokenise import tokenise

if TYPE_CHECKING:
    from actsim.models.loading import LoadedModel


@dataclass(frozen=True)
class Similarity:
    """How alike two sentences' activation patterns are.

    Attributes:
        measure: the measure's name.
        layers: layer -> score of the whole layer; None where both activated sets are empty.
        kinds: (layer, kind) -> score of one kind of linear map; None where it is not defined.
        readouts: D of either sentence.
    """

    measure: str
    layers: dict[int, float | None]
    kinds: dict[tuple[int, str], float | None]
    readouts: tuple[float, float]


def default_scoring(loaded: LoadedModel) -> Scoring:
    """The paper's pattern and the family's default read-out, for this model's type and length."""
    objective = next(iter(OBJECTIVES[loaded.family]))
    return Scoring(objective=objective, max_tokens=loaded.max_tokens, dtype=loaded.dtype)


def similarity(a: str, b: str, model: LoadedModel, scoring: Scoring | None = None) -> dict[str, Similarity]:
    """Compare two sentences: one Similarity per measure of ``scoring``.

    Args:
        a: one sentence.
        b: the other.
        model: from ``load_model``.
        scoring: how; default ``default_scoring(model)``.

    Raises:
        UsageError: an empty sentence, or an objective that the model does not have.
        NumericError: a pattern without a direction, or a value that is not finite.
    """
    scoring = scoring or default_scoring(model)
    batch = sentence_batch(model, [a, b], scoring)
    consumer, result = consume(
        model,
        batch,
        OBJECTIVES[model.family].get(scoring.objective),
        lambda: PairMoments(model.maps, torch.tensor([[0, 1]]), scoring),
    )
    readouts = (float(result.readout.values[0]), float(result.readout.values[1]))
    moments = consumer.moments()[0]
    compared = {}
    for measure in scoring.measures:
        values = dict(zip(consumer.groups, MEASURES[measure](moments).tolist(), strict=True))
        scores = {group: None if math.isnan(value) else value for group, value in values.items()}
        layers = {layer: score for (layer, kind), score in scores.items() if kind == "all"}
        undefined = [layer for layer, score in layers.items() if score is None]
        if undefined and measure not in SET_MEASURES:
            raise NumericError(
                f"layer {undefined[0]}: no parameter is activated by one of the sentences, so the {measure} has no "
                "direction; choose another objective."
            )
        kinds = {group: score for group, score in scores.items() if group[1] != "all"}
        compared[measure] = Similarity(measure, layers, kinds, readouts)
    return compared


def fingerprint(texts: Sequence[str], model: LoadedModel, scoring: Scoring | None = None) -> list[Fingerprint]:
    """Neuron sums of each sentence's pattern, layer by layer; see ``Fingerprint``.

    Args:
        texts: sentences, each run on its own.
        model: from ``load_model``.
        scoring: objective, pattern and length; default ``default_scoring(model)``.

    Raises:
        UsageError: a bare string, or an empty sentence.
    """
    if isinstance(texts, str):
        raise UsageError("fingerprint takes a list of sentences, got one string; pass [text].")
    scoring = scoring or default_scoring(model)
    objective = OBJECTIVES[model.family].get(scoring.objective)
    pattern = Pattern(scoring.absolute, scoring.weighted)
    found: list[Fingerprint] = []
    for text in texts:
        batch = sentence_batch(model, [text], scoring)
        consumer, _ = consume(model, batch, objective, lambda: NeuronSums(pattern))
        found += assemble(model.maps, consumer.sums, 1)
    return found


def sentence_batch(model: LoadedModel, texts: Sequence[str], scoring: Scoring) -> Batch:
    """Sentences side by side, in order, cut as ``scoring`` says.

    Raises:
        UsageError: an empty sentence.
    """
    labels = [f"sentence {number}" for number in range(1, len(texts) + 1)]
    for label, text in zip(labels, texts, strict=True):
        if not text.strip():
            raise UsageError(f"{label} is empty; give a text.")
    tokens = tokenise(model.tokenizer, texts, labels, scoring.max_tokens).tokens
    return pad(tokens, labels, pad_token=model.pad_token, device=model.device)
