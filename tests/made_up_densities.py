"""Rows of a density run that are invented, and what is summed up of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from actsim.pipelines.density_summary import summarise_density
from actsim.store.densities import Densities

GAMMAS = (2e-6, 1e-5, 2e-5, 1e-3)
PARAMETERS = {"q": 60, "up": 140}


def densities(shares: dict[str, list[float]], *, folds: int = 4, spread: float = 0.01, seed: int = 0) -> Densities:
    """Rows of these shares over the third γ, domain -> one per layer; half as many over the last, more over the others.

    The folds lie around them, ``spread`` apart; the Gini coefficient is 1 - share, the participation ratio the share.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for domain, by_layer in shares.items():
        for layer, share in enumerate(by_layer, start=1):
            for fold in range(folds + 1):
                own = share if fold == 0 else share + spread * rng.standard_normal()
                rows += [_row(domain, layer, fold, kind, own) for kind in ("all", *PARAMETERS)]
    return Densities(pa.Table.from_pylist(rows), tuple(shares), GAMMAS)


def _row(domain: str, layer: int, fold: int, kind: str, share: float) -> dict[str, Any]:
    parameters = PARAMETERS.get(kind, sum(PARAMETERS.values()))
    return {
        "domain": domain,
        "layer": layer,
        "fold": fold,
        "kind": kind,
        "samples": 8,
        "parameters": parameters,
        "mean": 1e-4 * share,
        "gini": 1 - share,
        "gini_error": 1e-4,
        "participation": share,
        "zeros": 1,
        "counts": [round(parameters * min(own, 1.0)) for own in (2 * share, 1.5 * share, share, share / 2)],
    }


def summary(
    found: Densities, *, running_text: tuple[str, ...] = (), name: str = "tiny", **changes: Any
) -> dict[str, Any]:
    """The summary of a run with these rows."""
    domains = [
        {"name": domain, "samples": 8, "tokens": 99, "truncated": 1, "running_text": domain in running_text}
        | {"split": None, "shots": 0, "seed": 0, "max_tokens": 64}
        for domain in found.domains
    ]
    return {
        "study": "density",
        "model": {"name": name},
        "n_layers": max(found.layers),
        "objective": "nll",
        "pattern": "absolute-weighted",
        "domains": domains,
        **summarise_density(found, headline=[2e-5, 2e-6], running_text=running_text, level=0.9),
        "notes": [],
        **changes,
    }


def manifest(summary: dict[str, Any]) -> dict[str, Any]:
    """What a report reads of the run's manifest."""
    samples = {row["name"]: {"fingerprint": "f" * 64} for row in summary["domains"]}
    return {
        "config": {"samples": samples, "scoring": {"objective": "nll"}, "settings": {"folds": summary["folds"]}},
        "record": {"command": ["actsim", "density"], "device": "cpu", "sample_ids": {}},
        "seconds": 1.0,
        "digest": "d" * 64,
    }
