"""Runs that nobody scored: fabricated scores in the form in which a finished run is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from actsim.store import Run

SCORING = {
    "objective": "nll",
    "pattern": "absolute-weighted",
    "measures": ["cosine"],
    "gamma": None,
    "top_fraction": None,
    "max_tokens": 512,
    "batch_tokens": 1024,
    "dtype": "float32",
    "baselines": True,
}
MODEL = {"name": "example/model", "revision": "0" * 40, "sha256": "ab" * 32, "family": "causal", "pooling": None}


def config(*, data: dict[str, Any] | None = None, model: dict[str, Any] | None = None, **scoring: Any) -> dict:
    """The ``config`` of a manifest, with changes."""
    return {
        "data": {"name": "made-up", "split": "test", "release": None, **(data or {})},
        "model": {**MODEL, **(model or {})},
        "scoring": {**SCORING, **scoring},
    }


def fabricated_run(
    directory: str | Path,
    scores: np.ndarray,
    gold: np.ndarray,
    *,
    rows: Sequence[int] | None = None,
    texts: bool = True,
    measures: Sequence[str] = ("cosine",),
    settings: dict | None = None,
) -> Run:
    """A run with these layer scores [pairs, layers] for every measure; the band is the deeper half."""
    rows = list(range(len(gold))) if rows is None else list(rows)
    layers = scores.shape[1]
    frame = pd.DataFrame({"id": [str(row) for row in rows], "row": rows, "gold": gold})
    if texts:
        frame["sentence_a"] = [f"the first of {row}" for row in rows]
        frame["sentence_b"] = [f"the second of {row}" for row in rows]
    run = Run(
        table=pa.table({measure: pa.array(list(scores), pa.list_(pa.float64())) for measure in measures}),
        groups=tuple((layer, "all") for layer in range(1, layers + 1)),
        measures=tuple(measures),
        directory=Path(directory),
        manifest={"config": settings or config(), "digest": f"{Path(directory).name}".encode().hex().ljust(64, "0")},
    )
    band = {"name": "deep", "layers": list(range(layers // 2 + 1, layers + 1))}
    run.__dict__.update(pairs=frame.rename_axis("pair"), summary={"band": band})
    return run


def three_runs(directory: Path, n: int = 60, seed: int = 0, **changes: Any) -> list[Run]:
    """A good run, a fair one and one that follows nothing, of 4, 6 and 6 layers."""
    rng = np.random.default_rng(seed)
    gold = np.round(rng.uniform(0, 5, n), 1)
    runs = []
    for name, noise, layers in (("good", 0.5, 4), ("fair", 3.0, 6), ("none", 1e6, 6)):
        scores = gold[:, None] + noise * rng.standard_normal((n, layers))
        settings = config(model={"name": f"example/{name}"})
        runs.append(fabricated_run(directory / name, scores, gold, settings=settings, **changes))
    return runs
