"""How far the scores of one family are from each other on three ways: in batches, one by one, and by the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import oracle
import tiny_models
import tiny_pairs
import torch
from numpy.typing import NDArray

from actsim.config import Scoring
from actsim.core.objectives import OBJECTIVES
from actsim.models.loading import LoadedModel
from actsim.pipelines.sts import Job, prepare, score_batch

FAMILIES = (*tiny_models.CAUSAL, *tiny_models.ENCODERS)
DTYPES = ("float64", "float32", "bfloat16", "float16")
MEASURES = ("cosine", "ruzicka")

Scores = dict[str, NDArray[np.float64]]
"""Measure -> [pairs, groups], NaN where undefined; besides ``top_token``, [pairs, 2], for the next-token read-outs
(NaN where two logits are equal, and no token is the largest)."""


@dataclass(frozen=True)
class Differences:
    """Largest relative differences of whole-layer scores and of kinds' scores.

    Attributes:
        layers: |x - y| / |y| over pairs, measures and layers.
        kinds: the same over the kinds of every layer; infinite where one is undefined and the other is not.
        compared: number of scores that were compared.
    """

    layers: float
    kinds: float
    compared: int

    def join(self, other: Differences) -> Differences:
        """The larger of two of each."""
        return Differences(max(self.layers, other.layers), max(self.kinds, other.kinds), self.compared + other.compared)


@dataclass(frozen=True)
class Accuracy:
    """What one family in one type comes to."""

    family: str
    dtype: str
    batched_single: Differences
    batched_oracle: Differences


def tables(job: Job) -> Scores:
    """All scores of a job through ``score_batch``, in the order of the pairs."""
    rows = [row for part in job.parts for batch in part for row in score_batch(job, batch).to_pylist()]
    rows.sort(key=lambda row: row["pair"])
    found = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in job.scoring.measures}
    if "top_token_a" in rows[0]:
        found["top_token"] = np.array([[row["top_token_a"], row["top_token_b"]] for row in rows], dtype=np.float64)
    return found


def oracle_tables(job: Job, family: str) -> Scores:
    """The same scores by the oracle."""
    truth = oracle.Oracle(job.loaded.model, family, job.scoring.objective)
    kinds = {linear.name: linear.kind for linear in job.loaded.maps}
    patterns = {
        tokens: truth.patterns(tokens, job.scoring.pattern) for tokens in {side for pair in job.tokens for side in pair}
    }

    def one(measure: str, a: Sequence[int], b: Sequence[int]) -> list[float]:
        return oracle.scores(
            patterns[tuple(a)],
            patterns[tuple(b)],
            kinds,
            job.groups,
            measure,
            gamma=job.scoring.gamma,
            top_fraction=job.scoring.top_fraction,
        )

    found = {name: np.array([one(name, a, b) for a, b in job.tokens]) for name in job.scoring.measures}
    if job.scoring.objective == "next-token":
        tops = [[truth.top_token(side) for side in pair] for pair in job.tokens]
        found["top_token"] = np.array(tops, dtype=np.float64)
    return found


def differences(got: Scores, want: Scores, groups: Sequence[tuple[int, str]]) -> Differences:
    """Compare two sets of scores, on the pairs whose next-token argmax tokens agree where both know them."""
    agree = np.full(len(got[MEASURES[0]]), True)
    if "top_token" in got and "top_token" in want:
        agree = (got["top_token"] == want["top_token"]).all(axis=1)
    whole = np.array([kind == "all" for _, kind in groups])
    result = Differences(0.0, 0.0, 0)
    for name in MEASURES:
        x, y = got[name][agree], want[name][agree]
        relative = np.where(x == y, 0.0, np.abs(x - y) / np.where(y == 0, np.finfo(float).tiny, np.abs(y)))
        undefined = np.isnan(x) | np.isnan(y)
        relative = np.where(undefined, np.where(np.isnan(x) & np.isnan(y), 0.0, np.inf), relative)
        parts = (float(relative[:, chosen].max(initial=0.0)) for chosen in (whole, ~whole))
        result = result.join(Differences(*parts, compared=x.size))
    return result


def objectives_of(loaded: LoadedModel) -> list[str]:
    """The read-outs that stand for a family: its default, and nll for causal models."""
    names = list(OBJECTIVES[loaded.family])
    return names[:2] if loaded.family == "causal" else names[:1]


def measure(family: str, dtype: str) -> Accuracy:
    """Score the tiny pairs with the tiny model of ``family`` on all three ways."""
    loaded = tiny_models.loaded(family, dtype=getattr(torch, dtype))
    single = by_oracle = Differences(0.0, 0.0, 0)
    for objective in objectives_of(loaded):
        scoring = Scoring(objective, measures=MEASURES, dtype=dtype, batch_tokens=10_000, baselines=False)
        job = prepare(loaded, tiny_pairs.pair_set(), scoring)
        batched = tables(job)
        alone = tables(replace(job, loaded=replace(loaded, batchable=False)))
        single = single.join(differences(batched, alone, job.groups))
        by_oracle = by_oracle.join(differences(batched, oracle_tables(job, family), job.groups))
    return Accuracy(family, dtype, single, by_oracle)
