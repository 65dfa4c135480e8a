"""Summaries with fabricated figures, in the form that a run writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

KINDS = ("q", "k", "v", "o", "gate", "up", "down")


def statistics(rho: float | None, n: int, rng: np.random.Generator) -> dict[str, Any]:
    """Statistics around ``rho``; all None when it is."""
    if rho is None:
        return {"n": n, "spearman": None, "ci_low": None, "ci_high": None, "pearson": None, "kendall": None}
    half = float(rng.uniform(0.02, 0.06))
    return {
        "n": n,
        "spearman": rho,
        "ci_low": rho - half,
        "ci_high": rho + half * 0.9,
        "pearson": rho + float(rng.normal(0, 0.01)),
        "kendall": 0.7 * rho,
    }


def fabricate_summary(
    n_layers: int,
    *,
    measures: tuple[str, ...] = ("cosine",),
    causal: bool = False,
    missing: tuple[int, ...] = (),
    offset: float = 0.6,
    model: str = "example/encoder-small",
    dataset: str = "pairs",
    baselines: bool = True,
    controls: tuple[float, ...] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """A complete summary with ``n_layers`` layers; the layers in ``missing`` are undefined.

    ``controls``: the correlations of controls in every layer and in the band; with them come the partial correlations
    of the layers and their differences to the baselines.
    """
    rng = np.random.default_rng(seed)
    n = 1379
    band = list(range(n_layers // 2 + 1, n_layers + 1))

    def curve(shift: float) -> list[float]:
        depth = np.linspace(0, 3, n_layers)
        return [float(value) for value in shift + 0.08 * np.sin(depth) + rng.normal(0, 0.008, n_layers)]

    layers, kinds = [], []
    for index, measure in enumerate(measures):
        for layer, rho in enumerate(curve(offset - 0.04 * index), start=1):
            gone = layer in missing
            row = statistics(None if gone else rho, 2 if gone else n, rng)
            layers.append({"layer": layer, "measure": measure, **row})
            for kind in KINDS:
                short = kind == "q" and layer == 1
                value = rho + float(rng.normal(0, 0.03))
                row = statistics(None if gone else value, n - 9 if short else n, rng)
                kinds.append({"layer": layer, "kind": kind, "measure": measure, **row})
    bands = [{"measure": measure, **statistics(offset + 0.05 - 0.04 * i, n, rng)} for i, measure in enumerate(measures)]

    def baseline(name: str, layer: int | None, rho: float) -> dict[str, Any]:
        value = bands[0]["spearman"] - rho
        difference = {"value": value, "ci_low": value - 0.03, "ci_high": value + 0.03}
        return {"name": name, "layer": layer, **statistics(rho, n, rng), "difference": difference}

    rows = []
    if baselines:
        rows.append(baseline("word_overlap", None, 0.64))
        rows += [baseline("hidden_mean", layer, rho) for layer, rho in enumerate(curve(offset - 0.02), start=1)]
        if causal:
            rows += [baseline("hidden_last", layer, rho) for layer, rho in enumerate(curve(0.3), start=1)]
        else:
            rows.append(baseline("embedding", None, 0.82))
    covariates = ["word_overlap", "length_difference", *(["same_top_token"] if causal else [])]
    given = [[name] for name in covariates] + [covariates]
    partial = [{"given": names, **statistics(0.4 + 0.01 * i, n, rng)} for i, names in enumerate(given)]

    def difference(value: float) -> dict[str, float]:
        return {"value": value, "ci_low": value - 0.03, "ci_high": value + 0.03}

    beside: dict[str, Any] = {}
    if controls:
        headline = [row for row in layers if row["measure"] == measures[0]]
        known = [row for row in headline if row["spearman"] is not None]
        beside = {
            "controls": [
                {
                    "name": name,
                    "seed": 3,
                    "headline": {"measure": measures[0], **statistics(rho, n, rng)},
                    "layers": [
                        {
                            "layer": row["layer"],
                            "measure": measures[0],
                            **statistics(rho, n, rng),
                            "difference": difference((row["spearman"] or 0.0) - rho),
                        }
                        for row in headline
                    ],
                    "difference": difference(bands[0]["spearman"] - rho),
                }
                for name, rho in zip(("random-weights", "shuffled-tokens"), controls, strict=False)
            ],
            "layer_differences": [
                {
                    "layer": row["layer"],
                    "measure": measures[0],
                    "name": "word_overlap",
                    "difference": difference(row["spearman"] - 0.64),
                }
                for row in known
            ],
            "partial_layers": [
                {"layer": row["layer"], "given": covariates, **statistics(0.4, n, rng)} for row in headline
            ],
        }
    return {
        "dataset": {
            "name": dataset,
            "split": "test",
            "release": None,
            "selection": {},
            "n": n,
            "fingerprint": "ab" * 32,
        },
        "model": {"name": model, "revision": "0" * 40, "family": "causal" if causal else "encoder"},
        "objective": "next-token" if causal else "embedding-norm",
        "pattern": "absolute-weighted",
        "measures": list(measures),
        "n_layers": n_layers,
        "band": {"name": "deep", "layers": band},
        "n_pairs": n,
        "resamples": 2000,
        "seed": 0,
        "level": 0.95,
        "headline": dict(bands[0]),
        "bands": bands,
        "layers": layers,
        "kinds": kinds,
        "baselines": rows,
        "partial": partial if baselines else [],
        **beside,
        "selection": None,
        "notes": ["3 sentences were cut to 128 tokens."],
    }


def fabricate_manifest() -> dict[str, Any]:
    """A manifest in the form that the store writes."""
    return {
        "digest": "cd" * 32,
        "config": {
            "data": {"name": "pairs"},
            "model": {"name": "example"},
            "scoring": {
                "objective": "embedding-norm",
                "pattern": "absolute-weighted",
                "measures": ["cosine"],
                "gamma": None,
                "top_fraction": None,
                "max_tokens": 128,
                "batch_tokens": 1024,
                "dtype": "float32",
                "baselines": True,
            },
        },
        "groups": [{"layer": 1, "kind": "all"}],
        "record": {
            "command": "actsim eval pairs --split test",
            "device": "cpu",
            "versions": {"torch": "2.13.0", "transformers": "5.23.0"},
        },
        "seconds": 61.23,
    }


@pytest.fixture(scope="session")
def make_summary() -> Callable[..., dict[str, Any]]:
    return fabricate_summary


@pytest.fixture
def manifest() -> dict[str, Any]:
    return fabricate_manifest()
