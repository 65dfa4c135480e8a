"""A finished run with made-up scores, written by the store: what reports are made of, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from actsim.baselines import word_overlap
from actsim.config import RunConfig, Scoring
from actsim.pipelines.correlation import Band, summarise
from actsim.report.tables import layers_csv
from actsim.store import Run, RunStore, open_run

KINDS = ("all", "q", "k", "up")
WORDS = (
    *("a", "the", "old", "young", "dog", "cat", "boat", "river", "man", "woman", "house", "tree"),
    *("sings", "sleeps", "runs", "waits", "near", "under", "over", "behind", "red", "small", "quiet", "green"),
)
HOSTILE = (
    "<script>window.injected = 1; alert(1)</script>",
    "</script><script>window.injected = 2</script>",
    "<!-- <script> a comment that never ends",
    "<img src=x onerror='window.injected = 3'>",
    "two lines\u2028 and\u2029 more",
    "{{ 7 * 7 }} {% raw %} ]]> & &lt; \" ' ` \\u003c",
)
"""Sentences that a careless page would run, or break on."""


def made_up_sentences(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=int(rng.integers(4, 14)))).capitalize() + "." for _ in range(n)]


def made_up_run(
    directory: Path,
    n_pairs: int = 80,
    *,
    n_layers: int = 4,
    measures: Sequence[str] = ("cosine", "ruzicka"),
    hostile: bool = False,
    keep_text: bool = True,
    resamples: int = 20,
    command: Sequence[str] = ("actsim", "eval", "made-up"),
) -> Run:
    """The pairs have gold scores 0.0 to 5.0; scores of deeper layers follow them better. Hostile texts come first."""
    rng = np.random.default_rng(7)
    first, second = made_up_sentences(n_pairs), made_up_sentences(n_pairs, seed=1)
    name = "made-up"
    if hostile:
        first[: len(HOSTILE)] = HOSTILE
        second[: len(HOSTILE)] = HOSTILE[::-1]
        name = HOSTILE[0]
    gold = np.round(rng.uniform(0, 5, n_pairs), 1)
    groups = [(layer, kind) for layer in range(1, n_layers + 1) for kind in KINDS]
    table: dict[str, pa.Array] = {"pair": pa.array(range(n_pairs), pa.int32())}
    for measure in measures:
        noise = rng.normal(0, 0.25, (n_pairs, len(groups)))
        depth = np.array([layer / n_layers for layer, _ in groups])
        values = 0.4 + 0.1 * gold[:, None] * depth + noise
        table[measure] = pa.array(list(values), pa.list_(pa.float64()))
    hidden = 0.5 + 0.05 * gold[:, None] + rng.normal(0, 0.2, (n_pairs, n_layers))
    table["hidden_mean"] = pa.array(list(hidden), pa.list_(pa.float64()))
    table["embedding"] = pa.array(0.15 * gold + rng.normal(0, 0.1, n_pairs))
    for side in "ab":
        table[f"tokens_{side}"] = pa.array([7] * n_pairs, pa.int32())
        table[f"truncated_{side}"] = pa.array([False] * n_pairs)
        table[f"readout_{side}"] = pa.array(rng.uniform(1, 2, n_pairs))
    identity = {"name": name, "split": "test", "n": n_pairs}
    model = {"name": f"example/{name}", "revision": "0" * 40, "family": "encoder"}
    config = RunConfig(identity, model, Scoring("embedding-norm", measures=tuple(measures)))
    record = {"command": list(command), "device": "cpu", "versions": {"torch": "2.0"}, "rows": list(range(n_pairs))}
    with RunStore.open(directory, config, groups=groups, part_pairs=[range(n_pairs)], record=record) as store:
        store.write_part(0, pa.table(table))
        pairs = pd.DataFrame({"id": [f"p{row}" for row in range(n_pairs)], "row": range(n_pairs)})
        if keep_text:
            pairs = pairs.assign(sentence_a=first, sentence_b=second)
        summary = _summary(table, groups, gold, config, resamples, word_overlap(first, second))
        store.finish(pairs.assign(gold=gold), summary, {"layers.csv": layers_csv(summary)})
    return open_run(directory)


def _summary(table, groups, gold, config, resamples, overlap):
    kinds = [index for index, (_, kind) in enumerate(groups) if kind != "all"]
    layers = [index for index, (_, kind) in enumerate(groups) if kind == "all"]
    values = {measure: np.array(table[measure].to_pylist()) for measure in config.scoring.measures}
    hidden = np.array(table["hidden_mean"].to_pylist())
    return summarise(
        identity={
            "dataset": {"release": None, **config.data},
            "model": config.model,
            "objective": config.scoring.objective,
            "pattern": config.scoring.pattern,
        },
        gold=gold,
        layer_scores={measure: of[:, layers] for measure, of in values.items()},
        kind_scores={measure: ([groups[i] for i in kinds], of[:, kinds]) for measure, of in values.items()},
        baselines=[
            ("word_overlap", None, overlap),
            ("embedding", None, table["embedding"].to_numpy()),
            *(("hidden_mean", layer, column) for layer, column in enumerate(hidden.T, start=1)),
        ],
        covariates={"word_overlap": overlap},
        band=Band.parse("deep", len(layers)),
        resamples=resamples,
        seed=0,
    )
