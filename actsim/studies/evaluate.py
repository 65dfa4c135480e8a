"""From sentence pairs to a finished run: score what is missing, correlate with the gold scores, write the results."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actsim.baselines import length_difference, word_overlap
from actsim.config import RunConfig, Scoring, check_controls
from actsim.core.objectives import OBJECTIVES
from actsim.data.pairs import PairSet, load_pairs
from actsim.errors import UsageError
from actsim.models.loading import LoadedModel, load_model
from actsim.models.locate import DEFAULT_MODEL
from actsim.pipelines.correlation import ControlScores, Selection, summarise
from actsim.pipelines.sts import Job, evaluate_pairs, prepare
from actsim.report.files import report_files, table_files
from actsim.stats.band_choice import choose_band
from actsim.stats.bands import Band
from actsim.store import PairScores, Run, RunStore, open_run
from actsim.store.manifest import SUMMARY_NAME
from actsim.studies import REPORTS
from actsim.studies.controls import control_scores
from actsim.studies.record import can_write_page, circumstances

if TYPE_CHECKING:
    import pandas as pd

LOG = logging.getLogger("actsim")

SELECTION = "selection"
"""The folder inside of a run in which the pairs of ``select_on`` are scored."""

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
        controls: names out of CONTROLS; each is a run of its own, set against this one.
        control_seed: of what is drawn at random for the controls.
    """

    layers: str = "deep"
    resamples: int = 2000
    level: float = 0.95
    seed: int = 0
    select_on: PairSet | None = None
    controls: tuple[str, ...] = ()
    control_seed: int = 0

    def __post_init__(self) -> None:
        """Refuse before anything is scored what the bootstrap would refuse after it."""
        if self.resamples < 1:
            raise UsageError(f"--resamples must be at least 1, got {self.resamples}; 2000 is usual.")
        if not 0 < self.level < 1:
            raise UsageError(f"--level must be between 0 and 1, got {self.level}; 0.95 is usual.")
        for name, seed in (("seed", self.seed), ("seed of the controls", self.control_seed)):
            if seed < 0:
                raise UsageError(f"the {name} must be at least 0, got {seed}.")
        object.__setattr__(self, "controls", tuple(self.controls))
        check_controls(self.controls)


def evaluate(
    dataset: str | PairSet = "sample",
    model: str | LoadedModel = DEFAULT_MODEL,
    scoring: Scoring | None = None,
    *,
    statistics: Statistics | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    keep_text: bool = True,
    report: bool = True,
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
        keep_text: also write the sentences to pairs.parquet and the report.
        report: also write report.html (where actsim[report] is installed), report.md and figures.
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
    Band.parse(statistics.layers, loaded.n_layers)  # refused before anything is scored
    OBJECTIVES[loaded.family].check(scoring.objective)
    config = RunConfig(pairs.identity(), loaded.identity(), scoring)
    directory = Path(out) if out is not None else default_directory(config)
    job = prepare(loaded, pairs, scoring)
    record = run_record(loaded, pairs, command)
    with RunStore.open(
        directory, config, groups=job.groups, part_pairs=job.part_pairs, record=record, fresh=fresh
    ) as store:
        evaluate_pairs(job, store, progress=pair_counter(progress, pairs_done(job, [store]), len(pairs)))
        store.update_manifest(command=record["command"])
        scores = PairScores(store.read_parts(), tuple(job.groups), scoring.measures)
        beside = partial(evaluate, scoring=scoring, fresh=fresh, keep_text=keep_text, report=False, progress=progress)
        band, selection = _select(statistics, loaded, scoring.measures[0], directory, beside)
        controls = list(control_scores(pairs, loaded, scoring.measures[0], band, statistics, directory, beside))
        summary = summarise_run(loaded, pairs, scoring, scores, band, selection, statistics, controls)
        _finish(store, _pairs_frame(pairs, scores, keep_text), scores, summary, report)
    return open_run(directory)


def _finish(store: RunStore, pairs: pd.DataFrame, scores: PairScores, summary: dict[str, Any], report: bool) -> None:
    """Write the results and, if asked, the report; without its page, and that is said, where a package is missing."""
    if not report:
        store.finish(pairs, summary, table_files(summary))
        return
    page = can_write_page(store.directory)
    files = report_files(scores, pairs, summary, store.manifest, page=page, beside=[SUMMARY_NAME])
    store.finish(pairs, summary, files)


def default_directory(config: RunConfig) -> Path:
    """``reports/<dataset>-<split>-<model>-<first eight digits of the digest>``."""
    return REPORTS / directory_name(config, config.digest()[:8])


def directory_name(config: RunConfig, *ends: str) -> str:
    """``<dataset>-<split>-<model>-<ends>``, in letters that every file system takes."""
    model = str(config.model["name"]).rpartition("/")[2]
    parts = (config.data["name"], config.data["split"], model, *ends)
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts))


def summarise_run(
    loaded: LoadedModel,
    pairs: PairSet,
    scoring: Scoring,
    scores: PairScores,
    band: Band,
    selection: Selection | None,
    statistics: Statistics,
    controls: Sequence[ControlScores] = (),
) -> dict[str, Any]:
    """The summary of a run out of its stored scores, and those of its controls."""
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
            "template": scoring.template,
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
        controls=controls,
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
    statistics: Statistics, loaded: LoadedModel, measure: str, directory: Path, beside: Callable[..., Run]
) -> tuple[Band, Selection | None]:
    """The band asked for, or that of highest correlation on the selection pairs, scored in a run of their own."""
    pairs, folder = statistics.select_on, directory / SELECTION
    if pairs is None:
        if folder.is_dir():
            LOG.warning("%s is of an earlier call that chose its band there; it is kept, and not used here.", folder)
        return Band.parse(statistics.layers, loaded.n_layers), None
    alone = replace(statistics, select_on=None, controls=())
    run = beside(pairs, loaded, statistics=alone, out=folder)
    band, spearman = choose_band(pairs.gold, run.layer_scores(measure).to_numpy())
    return band, Selection(pairs.split, len(pairs), spearman)


def _pairs_frame(pairs: PairSet, scores: PairScores, keep_text: bool) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {"id": pairs.ids, "row": pairs.rows}
    if keep_text:
        columns |= {"sentence_a": pairs.sentences_a, "sentence_b": pairs.sentences_b}
    return pd.DataFrame({**columns, "gold": pairs.gold}).join(scores.readouts())


def run_record(loaded: LoadedModel, pairs: PairSet, command: Sequence[str] | None) -> dict[str, Any]:
    """What is kept beside the configuration: changes no number, tells how the run was made."""
    return {**circumstances(loaded, command), "data_source": pairs.source, "rows": list(pairs.rows)}


def pairs_done(job: Job, stores: Sequence[RunStore]) -> int:
    """The number of pairs that no store misses; damaged files, which are computed again, are told."""
    parts = job.part_pairs
    missing = {part for store in stores for part in store.missing()}
    for store in stores:
        for line in store.warnings:
            LOG.warning("%s: %s It is computed again.", store.directory, line)
    return sum(len(pairs) for part, pairs in enumerate(parts) if part not in missing)


def pair_counter(progress: Progress | None, done: int, total: int) -> Callable[[int], None] | None:
    """What is called with the pairs just finished and tells ``progress`` of all that are done."""
    if progress is None:
        return None
    state = {"done": done}
    progress(done, total)

    def count(pairs: int) -> None:
        state["done"] += pairs
        progress(state["done"], total)

    return count
