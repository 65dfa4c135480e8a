"""Two sentences, or some: scores and fingerprints without a data set or a store."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from actsim.config import Scoring
from actsim.core.consumers import NeuronSums, PairMoments
from actsim.core.fingerprint import Fingerprint, assemble
from actsim.core.measures import MEASURES
from actsim.core.objectives import OBJECTIVES
from actsim.core.passes import consume
from actsim.core.scoring import Pattern
from actsim.errors import UsageError
from actsim.models.tokenise import sentence_batch

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


def similarity(a: str, b: str, model: LoadedModel, scoring: Scoring | None = None) -> dict[str, Similarity]:
    """Compare two sentences: one Similarity per measure of ``scoring``.

    Args:
        a: one sentence.
        b: the other.
        model: from ``load_model``.
        scoring: how; default ``model.default_scoring()``.

    Raises:
        UsageError: an empty sentence, or an objective that the model does not have.
        NumericError: a pattern without a direction, or a value that is not finite.
    """
    scoring = scoring or model.default_scoring()
    batch = sentence_batch(model, [a, b], scoring)
    consumer, result = consume(
        model,
        batch,
        OBJECTIVES[model.family].get(scoring.objective),
        lambda: PairMoments(model.maps, torch.tensor([[0, 1]]), scoring),
    )
    readouts = (float(result.readout.values[0]), float(result.readout.values[1]))
    consumer.check([("sentence 1", "sentence 2")])
    moments = consumer.moments()[0]
    compared = {}
    for measure in scoring.measures:
        values = dict(zip(consumer.groups, MEASURES[measure](moments).tolist(), strict=True))
        scores = {group: None if math.isnan(value) else value for group, value in values.items()}
        layers = {layer: score for (layer, kind), score in scores.items() if kind == "all"}
        kinds = {group: score for group, score in scores.items() if group[1] != "all"}
        compared[measure] = Similarity(measure, layers, kinds, readouts)
    return compared


def fingerprint(texts: Sequence[str], model: LoadedModel, scoring: Scoring | None = None) -> list[Fingerprint]:
    """Neuron sums of each sentence's pattern, layer by layer; see ``Fingerprint``.

    Args:
        texts: sentences, each run on its own.
        model: from ``load_model``.
        scoring: objective, pattern and length; default ``model.default_scoring()``.

    Raises:
        UsageError: a bare string, or an empty sentence.
    """
    if isinstance(texts, str):
        raise UsageError("fingerprint takes a list of sentences, got one string; pass [text].")
    scoring = scoring or model.default_scoring()
    objective = OBJECTIVES[model.family].get(scoring.objective)
    pattern = Pattern(scoring.absolute, scoring.weighted)
    found: list[Fingerprint] = []
    for text in texts:
        batch = sentence_batch(model, [text], scoring)
        consumer, _ = consume(model, batch, objective, lambda: NeuronSums(pattern))
        found += assemble(model.maps, consumer.sums, 1)
    return found
