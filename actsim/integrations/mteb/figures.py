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


def figures(
    gold: Float[np.ndarray, " pairs"], scores: PairScores, band: Band, measure: str, *, kinds: bool
) -> dict[str, Any]:
    """The correlations with the gold scores under flat keys, each a float; JSON-safe.

    ``spearman`` and ``pearson`` are those of the band's mean score, ``layer_05_spearman`` is that of layer 5, and with
    ``kinds`` ``layer_05_q_spearman`` that of its maps of kind q alone. ``n``, ``layer_05_n`` and ``layer_05_q_n`` are
    the numbers of pairs that have such a score. An undefined correlation has no key; ``n_undefined`` counts these.

    Raises:
        NumericError: the band's own correlation is undefined.
    """
    headline = band.average(scores.layer_scores(measure).to_numpy())
    main = spearman(headline, gold)
    if np.isnan(main):
        raise NumericError(
            f"no correlation of the {len(gold)} pairs is defined in layers {band.name}: their scores are all the same, "
            "or there are none; choose other layers, or check the model."
        )
    found: dict[str, Any] = {MAIN_SCORE: main, "pearson": pearson(headline, gold), "n": _defined(headline)}
    undefined = 0
    for label, values in _columns(scores, measure, kinds):
        rho = spearman(values, gold)
        undefined += np.isnan(rho)
        found |= {} if np.isnan(rho) else {f"{label}_{MAIN_SCORE}": rho}
        found[f"{label}_n"] = _defined(values)
    return {**found, "n_pairs": len(gold), "n_undefined": int(undefined)}


def _columns(scores: PairScores, measure: str, kinds: bool) -> Iterator[tuple[str, Float[np.ndarray, " pairs"]]]:
    """The scores of every layer, and with ``kinds`` of every kind of map in it, with the beginning of their keys."""
    for (layer, kind), values in zip(scores.groups, scores.scores(measure).T, strict=True):
        if kind == WHOLE_LAYER:
            yield f"layer_{layer:02d}", values
        elif kinds:
            yield f"layer_{layer:02d}_{kind}", values


def _defined(values: Float[np.ndarray, " pairs"]) -> int:
    return int(complete_rows(values).sum())


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
