"""Made-up cells of a pruning study, in which similar domains serve each other, and the summary of such a study."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from actsim.store.cells import ACHIEVED, PLANNED, PROFILE, CellValues, cell_table
from actsim.studies.grid_summary import summarise
from actsim.studies.intervals import Intervals
from actsim.studies.transfer import DomainMatrices

MODEL = {"name": "example/model-small", "revision": None, "sha256": "ab" * 32}
LAYERS = 3
ITEMS = 12
CALIBRATIONS = ("c4", "boolq:train", "mmlu", "siqa:train", "gsm8k")
TEXTS = ("c4", "boolq", "mmlu", "siqa", "wikitext2")
DOMAINS = ("boolq", "c4", "gsm8k", "mmlu", "siqa", "wikitext2")
ALLOCATIONS = ("uniform", "activation (beta 0.1)", "owl")
INTERVALS = Intervals(resamples=50, permutations=99)


def similar(names: Sequence[str] = DOMAINS) -> DomainMatrices:
    """Domains that are the more alike, the closer they stand to each other; the second kind lacks a domain."""
    places = np.arange(len(names))
    matrix = 1 / (1.0 + np.abs(places[:, None] - places))
    lacking = 1 - matrix
    lacking[:, -1] = lacking[-1] = np.nan
    source = {"digest": "89ab", "objective": "nll", "pattern": "absolute-weighted", "n_groups": 16}
    source["band"] = {"name": "deep", "layers": [2, 3]}
    return DomainMatrices(MODEL, source, tuple(names), {"activation": matrix, "tfidf": lacking})


def config(
    calibrations: Sequence[str] = CALIBRATIONS, texts: Sequence[str] = TEXTS, seeds: Sequence[int] = (0, 1, 2)
) -> dict[str, Any]:
    """What such a study is of: two scores, three allocations, and two tasks beside the texts."""
    cells = list(
        dict.fromkeys(
            (
                score,
                allocation,
                0.5,
                *((None, None) if (score, allocation) == ("magnitude", "uniform") else (name, seed)),
            )
            for seed, name, allocation, score in itertools.product(
                seeds, calibrations, ALLOCATIONS, ("wanda", "magnitude")
            )
        )
    )
    keys = ("score", "allocation", "sparsity", "calibration", "seed")
    evaluations: list[dict[str, Any]] = [
        {"data": name, "figures": {f"nll:{name}": "perplexity"}, "text": {"split": "test"}, "windows": ITEMS}
        for name in texts
    ]
    evaluations += [
        {"data": name, "figures": {f"{metric}:{name}": "accuracy" for metric in metrics}, "questions": {"split": "dev"}}
        for name, metrics in (("piqa", ("acc", "acc_norm")), ("hellaswag", ("acc",)))
    ]
    return {
        "study": "study",
        "model": MODEL,
        "dtype": "float32",
        "n_layers": LAYERS,
        "cells": [dict(zip(keys, cell, strict=True)) for cell in cells],
        "samples": 8,
        "seq_len": 16,
        "calibrations": {
            name: {"name": name, "split": "test" if name == "mmlu" else "train", "source": {"kind": "made up"}}
            for name in calibrations
        },
        "evaluations": evaluations,
    }


def values(study: dict[str, Any]) -> CellValues:
    """Items of every cell: worse than dense, the less, the more alike calibration and text are."""
    known = similar()
    tables = [cell_table(0, _cell(study, None, known, 0))]
    tables += [cell_table(n, _cell(study, cell, known, n)) for n, cell in enumerate(study["cells"], start=1)]
    return CellValues(pa.concat_tables(tables))


def _cell(
    study: dict[str, Any], cell: dict[str, Any] | None, known: DomainMatrices, seed: int
) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    sparsity = 0.0 if cell is None else cell["sparsity"]
    plan = [sparsity + 0.01 * (block - 1) * (cell is not None) for block in range(LAYERS)]
    found: dict[str, list[float]] = {PLANNED: plan, ACHIEVED: plan, PROFILE: [np.nan] * LAYERS}
    for number, own in enumerate(study["evaluations"]):
        cost = 0.0
        if cell is not None:
            cost = 0.2 + 0.05 * ALLOCATIONS.index(cell["allocation"]) + 0.01 * rng.standard_normal()
            a, b = (None if name is None else known.place(name) for name in (cell["calibration"], own["data"]))
            if a is not None and b is not None:
                cost -= 0.1 * known.matrices["activation"][a, b]
        for measure, figure in own["figures"].items():
            items = np.random.default_rng(100 + number).random(ITEMS)
            if figure == "perplexity":
                found[measure] = (3 + number + items + cost).tolist()
            else:
                found[measure] = (items > 0.4 + cost).astype(float).tolist()
    return found


def summary(**changes: Any) -> dict[str, Any]:
    """The summary of the study, set against ``similar``."""
    study = config(**changes)
    return summarise(study, values(study), INTERVALS, similar())


def manifest(study: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a report reads of the manifest of such a run."""
    return {
        "config": study or config(),
        "record": {"command": ["actsim", "study", "study.yaml"], "device": "cpu"},
        "seconds": 12.3,
        "digest": "0123abcd",
    }
