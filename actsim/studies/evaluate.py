"""From sentence pairs to a finished run: score what is missing, correlate with the gold scores, write the results."""

from __future__ import annotations

import logging
import os
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actsim.baselines import length_difference, word_overlap
from actsim.config import RunConfig, Scoring
from actsim.core.objectives import OBJECTIVES
from actsim.data.pairs import PairSet, load_pairs
from actsim.errors import UsageError
from actsim.models.loading import LoadedModel, load_model
from actsim.models.locate import DEFAULT_MODEL
from actsim.pipelines.correlation import Band, Selection, choose_band, summarise
from actsim.pipelines.sts import evaluate_pairs, prepare
from actsim.report.figures import layer_curve_svg
from actsim.report.markdown import report_markdown
from actsim.report.tables import kinds_csv, layers_csv
from actsim.store import PairScores, Run, RunStore, open_run
from actsim.studies import REPORTS

if TYPE_CHECKING:
    import pandas as pd

LOG = logging.getLogger("actsim")

FILES = {"figure": "layers.svg", "layers.csv": "layers.csv", "kinds.csv": "kinds.csv", "summary.json": "summary.json"}

RECORDED_PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "numpy", "scipy", "pandas", "pyarrow")

Progress = Callable[[int, int], None]
"""Called with the number of pairs done and their total."""


@dataclass(frozen=True)
class Statistics:
    """How the scores of a run are summed up; changes no score, so a finished run is summed up again at once.

    Attributes:
        layers: the headline band, see ``Band.parse``.
        resamples: bootstrap resamples.
        level: coverage of the intervals.
        seed: of the bootstrap.
        select_on: pairs of another split on which the band is chosen instead of by ``layers``.
    """

    layers: str = "deep"
    resamples: int = 2000
    level: float = 0.95
    seed: int = 0
    select_on: PairSet | None = None

    def __post_init__(self) -> None:
        """Refuse before anything is scored what the bootstrap would refuse after it."""
        if self.resamples < 1:
            raise UsageError(f"resamples must be at least 1, got {self.resamples}; 2000 is usual.")
        if not 0 < self.level < 1:
            raise UsageError(f"the level of an interval must be between 0 and 1, got {self.level}; 0.95 is usual.")
        if self.seed < 0:
            raise UsageError(f"the seed must be at least 0, got {self.seed}.")


def evaluate(
    dataset: str | PairSet = "sample",
    model: str | LoadedModel = DEFAULT_MODEL,
    scoring: Scoring | None = None,
    *,
    statistics: Statistics | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    keep_text: bool = True,
    command: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Run:
    """Score every pair layer by layer, correlate with the gold scores, and write it all to a directory.

    A run that was interrupted goes on where it stopped; a finished one is summed up again without a pass.

    Args:
        dataset: a benchmark's name, a file, or pairs from ``load_pairs``.
        model: a hub id, a folder, or a model from ``load_model``.
        scoring: how pairs are scored; default ``model.default_scoring()``.
        statistics: how scores are summed up.
        out: the run's directory; default ``reports/<dataset>-<split>-<model>-<digest>``.
        fresh: start over where the directory holds a run already, this one or another.
        keep_text: also write the sentences to pairs.parquet.
        command: the command line that repeats the run, for its report.
        progress: told of every batch that is done.

    Returns:
        The finished run: ``summary``, ``layer_scores``, ``kind_scores``, ``pairs`` and its ``directory``.

    Raises:
        ActsimError: see ``load_pairs``, ``load_model``, ``RunStore.open`` and ``evaluate_pairs``.
    """
    pairs = load_pairs(dataset) if isinstance(dataset, str) else dataset
    loaded = load_model(model) if isinstance(model, str) else model
    scoring = scoring or loaded.default_scoring()
    statistics = statistics or Statistics()
    band, selection = Band.parse(statistics.layers, loaded.n_layers), None
    OBJECTIVES[loaded.family].check(scoring.objective)
    config = RunConfig(pairs.identity(), loaded.identity(), scoring)
    directory = Path(out) if out is not None else default_directory(config)
    job = prepare(loaded, pairs, scoring)
    record = _record(loaded, pairs, command)
    with RunStore.open(
        directory, config, groups=job.groups, part_pairs=job.part_pairs, record=record, fresh=fresh
    ) as store:
        missing = set(store.missing())
        for line in store.warnings:
            LOG.warning("%s: %s It is computed again.", directory, line)
        done = len(pairs) - sum(len(part) for number, part in enumerate(job.part_pairs) if number in missing)
        evaluate_pairs(job, store, progress=_counter(progress, done, len(pairs)))
        store.update_manifest(command=record["command"])
        scores = PairScores(store.read_parts(), tuple(job.groups), scoring.measures)
        if statistics.select_on is not None:
            band, selection = _select(statistics, loaded, scoring, directory, fresh, keep_text, progress)
        summary = summarise_run(loaded, pairs, scoring, scores, band, selection, statistics)
        store.finish(_pairs_frame(pairs, scores, keep_text), summary, _texts(summary, store.manifest))
    return open_run(directory)


def _texts(summary: dict[str, Any], manifest: dict[str, Any]) -> dict[str, str]:
    """The files for people: tables, the curve, the report."""
    return {
        "layers.csv": layers_csv(summary),
        "kinds.csv": kinds_csv(summary),
        FILES["figure"]: layer_curve_svg(summary),
        "report.md": report_markdown(summary, manifest, FILES),
    }


def default_directory(config: RunConfig) -> Path:
    """``reports/<dataset>-<split>-<model>-<first eight digits of the digest>``."""
    model = str(config.model["name"]).rpartition("/")[2]
    parts = (config.data["name"], config.data["split"], model, config.digest()[:8])
    return REPORTS / re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts))


def summarise_run(
    loaded: LoadedModel,
    pairs: PairSet,
    scoring: Scoring,
    scores: PairScores,
    band: Band,
    selection: Selection | None,
    statistics: Statistics,
) -> dict[str, Any]:
    """The summary of a run out of its stored scores."""
    kinds = [group for group in scores.groups if group[1] != "all"]
    covariates: dict[str, np.ndarray] = {}
    readouts = scores.readouts()
    overlap = word_overlap(pairs.sentences_a, pairs.sentences_b)
    if scoring.baselines:
        covariates["word_overlap"] = overlap
        covariates["length_difference"] = length_difference(readouts["tokens_a"], readouts["tokens_b"])
        if "top_token_a" in readouts:
            covariates["same_top_token"] = (readouts["top_token_a"] == readouts["top_token_b"]).to_numpy()
    return summarise(
        identity={
            "dataset": pairs.identity(),
            "model": loaded.identity(),
            "objective": scoring.objective,
            "pattern": scoring.pattern,
        },
        gold=pairs.gold,
        layer_scores={measure: scores.layer_scores(measure).to_numpy() for measure in scoring.measures},
        kind_scores={measure: (kinds, scores.kind_scores(measure).to_numpy()) for measure in scoring.measures},
        baselines=_baselines(scores, overlap) if scoring.baselines else [],
        covariates=covariates,
        band=band,
        resamples=statistics.resamples,
        level=statistics.level,
        seed=statistics.seed,
        selection=selection,
        notes=_notes(loaded, scoring, readouts),
    )


def _baselines(scores: PairScores, overlap: np.ndarray) -> list[tuple[str, int | None, np.ndarray]]:
    rows: list[tuple[str, int | None, np.ndarray]] = [("word_overlap", None, overlap)]
    for name in scores.baselines:
        if name == "embedding":
            rows.append((name, None, scores.embedding_scores()))
        else:
            frame = scores.hidden_scores(name)
            rows += [(name, int(layer), frame[layer].to_numpy()) for layer in frame.columns]
    return rows


def _notes(loaded: LoadedModel, scoring: Scoring, readouts: pd.DataFrame) -> list[str]:
    notes = list(loaded.notes)
    cut = int((readouts["truncated_a"] | readouts["truncated_b"]).sum())
    if cut:
        notes.append(f"{cut} of {len(readouts)} pairs have a sentence that was cut to {scoring.max_tokens} tokens")
    return notes


def _select(
    statistics: Statistics,
    loaded: LoadedModel,
    scoring: Scoring,
    directory: Path,
    fresh: bool,
    keep_text: bool,
    progress: Progress | None,
) -> tuple[Band, Selection]:
    """Score the selection pairs in a run of their own and choose the band of highest correlation there."""
    pairs = statistics.select_on
    assert pairs is not None
    run = evaluate(
        pairs,
        loaded,
        scoring,
        statistics=replace(statistics, select_on=None),
        out=directory / "selection",
        fresh=fresh,
        keep_text=keep_text,
        progress=progress,
    )
    band, spearman = choose_band(pairs.gold, run.layer_scores(scoring.measures[0]).to_numpy())
    return band, Selection(pairs.split, len(pairs), spearman)


def _pairs_frame(pairs: PairSet, scores: PairScores, keep_text: bool) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {"id": pairs.ids, "row": pairs.rows}
    if keep_text:
        columns |= {"sentence_a": pairs.sentences_a, "sentence_b": pairs.sentences_b}
    return pd.DataFrame({**columns, "gold": pairs.gold}).join(scores.readouts())


def _record(loaded: LoadedModel, pairs: PairSet, command: Sequence[str] | None) -> dict[str, Any]:
    """What is kept beside the configuration: changes no number, tells how the run was made."""
    import torch

    versions = {name: metadata.version(name) for name in RECORDED_PACKAGES}
    return {
        "command": list(command) if command else None,
        "data_source": pairs.source,
        "rows": list(pairs.rows),
        "model_source": {key: value for key, value in loaded.source.items() if key != "folder"},
        "device": loaded.device,
        "threads": torch.get_num_threads(),
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cpus": os.cpu_count()},
        "versions": {"python": platform.python_version(), **versions},
    }


def _counter(progress: Progress | None, done: int, total: int) -> Callable[[int], None] | None:
    if progress is None:
        return None
    state = {"done": done}
    progress(done, total)

    def count(pairs: int) -> None:
        state["done"] += pairs
        progress(state["done"], total)

    return count
