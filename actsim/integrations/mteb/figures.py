"""From the scores of the pairs to the figures that mteb keeps of a split."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from actsim import __version__
from actsim.config import Scoring
from actsim.data.pairs import PairSet
from actsim.errors import NumericError
from actsim.integrations.mteb.settings import Settings
from actsim.models.loading import LoadedModel
from actsim.stats.bands import Band
from actsim.stats.correlation import complete_rows, pearson, spearman
from actsim.store import PairScores
from actsim.store.parts import WHOLE_LAYER

MAIN_SCORE = "spearman"

Figure = tuple[str, float]


def figures(
    gold: Float[np.ndarray, " pairs"], scores: PairScores, band: Band, measure: str, *, kinds: bool
) -> dict[str, Any]:
    """The correlations with the gold scores under flat keys, each a float; JSON-safe.

    ``spearman`` and ``pearson`` are those of the band's mean score, ``layer_05_spearman`` is that of layer 5, and with
    ``kinds`` ``layer_05_q_spearman`` that of its maps of kind q alone, over the ``layer_05_q_n`` pairs that have such a
    score. A correlation that is undefined has no key; ``n_undefined`` counts them.

    Raises:
        NumericError: the band's own correlation is undefined.
    """
    layers = scores.layer_scores(measure)
    headline = band.average(layers.to_numpy())
    main = spearman(headline, gold)
    if np.isnan(main):
        raise NumericError(
            f"the {len(gold)} pairs all have the same score in layers {band.name}: no correlation is defined; "
            "choose other layers, or check the model."
        )
    rest = dict(_layer_figures(gold, layers.to_numpy()))
    if kinds:
        rest |= dict(_kind_figures(gold, scores, measure))
    defined = {name: value for name, value in rest.items() if not np.isnan(value)}
    return {
        MAIN_SCORE: main,
        "pearson": pearson(headline, gold),
        "n_pairs": len(gold),
        "n_undefined": len(rest) - len(defined),
        **defined,
    }


def _layer_figures(gold: Float[np.ndarray, " pairs"], layers: Float[np.ndarray, "pairs layers"]) -> Iterator[Figure]:
    for layer, values in enumerate(layers.T, start=1):
        yield f"layer_{layer:02d}_spearman", spearman(values, gold)


def _kind_figures(gold: Float[np.ndarray, " pairs"], scores: PairScores, measure: str) -> Iterator[Figure]:
    groups = [group for group in scores.groups if group[1] != WHOLE_LAYER]
    for (layer, kind), values in zip(groups, scores.kind_scores(measure).to_numpy().T, strict=True):
        yield f"layer_{layer:02d}_{kind}_spearman", spearman(values, gold)
        yield f"layer_{layer:02d}_{kind}_n", int(complete_rows(values).sum())


def record(
    loaded: LoadedModel, pairs: PairSet, scoring: Scoring, settings: Settings, band: Band, scores: PairScores
) -> dict[str, Any]:
    """How the figures came about, for the reader of a stored result.

    mteb rounds floats to six digits when it stores them, so those of the settings are given as text.
    """
    used: dict[str, Any] = {
        "actsim": __version__,
        "family": loaded.family,
        "dtype": loaded.dtype,
        "objective": scoring.objective,
        "template": scoring.template,
        "pattern": scoring.pattern,
        "measure": settings.measure,
        "gamma": scoring.gamma,
        "top_fraction": scoring.top_fraction,
        "max_tokens": scoring.max_tokens,
        "batch_tokens": scoring.batch_tokens,
        "layers": settings.layers,
        "band": list(band.layers),
        "n_layers": loaded.n_layers,
    }
    readouts = scores.readouts()
    return {
        "n_truncated": int((readouts["truncated_a"] | readouts["truncated_b"]).sum()),
        "settings": {name: repr(value) if isinstance(value, float) else value for name, value in used.items()},
        "notes": list(loaded.notes),
        "data_sha256": pairs.fingerprint(),
    }
