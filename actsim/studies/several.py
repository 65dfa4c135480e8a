"""Several scorings of one model on one data set: the passes they share, and a table ranked on another split."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from actsim import __version__
from actsim.config import RunConfig, Scoring
from actsim.core.objectives import OBJECTIVES
from actsim.data.benchmarks import BENCHMARKS
from actsim.data.pairs import PairSet, load_pairs
from actsim.errors import UsageError
from actsim.models.controls import controlled
from actsim.models.loading import LoadedModel, load_model
from actsim.models.locate import DEFAULT_MODEL
from actsim.pipelines.sts import evaluate_together, prepare
from actsim.registry import refuse_repeated
from actsim.report.scoring_tables import scorings_csv, scorings_markdown
from actsim.stats.bands import Band
from actsim.stats.correlation import spearman
from actsim.store import Run, RunStore, open_run
from actsim.store.files import LOCK_NAME, TEMPORARY_PREFIX, list_directory, write_atomic
from actsim.store.manifest import MANIFEST_NAME
from actsim.studies import REPORTS
from actsim.studies.controls import control_folder, named_in_errors
from actsim.studies.evaluate import (
    SELECTION,
    Progress,
    Statistics,
    default_directory,
    directory_name,
    evaluate,
    pair_counter,
    pairs_done,
    run_record,
)
from actsim.studies.finished import open_finished

DOCUMENT, MARKDOWN, TABLE = "scorings.json", "scorings.md", "scorings.csv"
FILES = (DOCUMENT, MARKDOWN, TABLE)


@dataclass(frozen=True, eq=False)
class Ranking:
    """Scorings in the order of their correlation on the split that ranks them.

    Attributes:
        summary: every figure, as in scorings.json: ``ranked_on`` and ``scorings``, the one ranked first at the head.
        runs: the finished run of each scoring, in the order in which they were asked for.
        directory: where scorings.json, scorings.md and scorings.csv are.
    """

    summary: dict[str, Any]
    runs: tuple[Run, ...]
    directory: Path


@dataclass(frozen=True)
class _Planned:
    """A scoring, the directory of its run, and that of its run on the split that ranks."""

    scoring: Scoring
    directory: Path
    ranking: Path | None


@dataclass(frozen=True)
class _Setting:
    """What all scorings of one call have in common."""

    loaded: LoadedModel
    pairs: PairSet
    rank_on: PairSet | None
    statistics: Statistics
    command: Sequence[str] | None


def evaluate_several(
    dataset: str | PairSet = "sample",
    model: str | LoadedModel = DEFAULT_MODEL,
    objectives: Sequence[str] = (),
    patterns: Sequence[str] = (),
    scoring: Scoring | None = None,
    *,
    rank_on: PairSet | None = None,
    statistics: Statistics | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    keep_text: bool = True,
    report: bool = True,
    command: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Ranking:
    """Evaluate every objective with every pattern, and rank scorings and measures on another split.

    Each combination is a run of its own, as ``evaluate`` makes it, with all measures in it; one that is finished is
    opened, one that was interrupted goes on. The patterns and measures of an objective share its passes; every
    objective has a forward and a backward pass per batch of its own.

    With s(i) the mean of a measure over the headline band for pair i and g(i) the gold score, a row is ranked by

        ρ_r = Spearman(s(i), g(i)),  i in the rows of the split that ranks,

    and reported by ρ on the evaluated rows, with its bootstrap interval. The band is ``statistics.layers`` for all,
    or, with ``statistics.select_on``, each run's own, chosen on that split by its first measure. The figure of the row
    ranked first is not inflated by the choice, as long as the split that ranks and the evaluated rows are different
    ones; the highest ρ on the evaluated rows is. Where there is no other split, the rows are ranked on the evaluated
    ones, which ``ranked_on`` says, and the first is then the best of many. Equal figures have one rank, and stand in
    the order of the arguments.

    Args:
        dataset, model, fresh, keep_text, report, command: as for ``evaluate``.
        objectives, patterns: names; default that of ``scoring``.
        scoring: everything else; default ``model.default_scoring()``.
        rank_on: the rows that rank; default those of ``statistics.select_on``, else the validation split of a data set
            that is given by its name, else the evaluated rows.
        statistics: how scores are summed up, for all alike.
        out: where the table goes, and the runs beneath it as ``<objective>-<pattern>``; default
            ``reports/<dataset>-<split>-<model>-scorings-<digest>``, and for each run its own default directory.
        progress: told of every batch that is done, anew for each objective and split.

    Raises:
        UsageError: an objective or pattern that is unknown, given twice, or does not go with the measures; a single
            scoring; ``rank_on`` beside ``statistics.select_on``; a directory with other files.
        ActsimError: see ``evaluate``.
    """
    setting = _setting(dataset, model, rank_on, statistics or Statistics(), command)
    planned = _plan(setting, _scorings(setting.loaded, scoring, objectives, patterns), out)
    directory = Path(out) if out is not None else _default_directory(setting, planned)
    _make_directory(directory, planned)
    _score_missing(planned, setting, fresh, progress)
    one = partial(evaluate, model=setting.loaded, keep_text=keep_text, command=command)
    own = partial(one, setting.pairs, statistics=setting.statistics, report=report)
    runs = [own(scoring=each.scoring, out=each.directory) for each in planned]
    summary = _summary(setting, planned, runs, [_ranking_run(each, setting, one) for each in planned])
    _write(directory, summary)
    return Ranking(summary, tuple(runs), directory)


def _setting(
    dataset: str | PairSet,
    model: str | LoadedModel,
    rank_on: PairSet | None,
    statistics: Statistics,
    command: Sequence[str] | None,
) -> _Setting:
    """Everything loaded, and the rows that rank decided."""
    if rank_on is not None and statistics.select_on is not None:
        raise UsageError("rank_on and select_on exclude each other: the latter ranks as well; give one of them.")
    pairs = load_pairs(dataset) if isinstance(dataset, str) else dataset
    ranks = rank_on or statistics.select_on
    if ranks is None and isinstance(dataset, str) and dataset in BENCHMARKS:
        split = BENCHMARKS[dataset].choice_split(None)
        ranks = load_pairs(dataset, split) if split else None
    loaded = load_model(model) if isinstance(model, str) else model
    Band.parse(statistics.layers, loaded.n_layers)  # refused before anything is scored
    return _Setting(loaded, pairs, ranks, statistics, command)


def _scorings(
    loaded: LoadedModel, base: Scoring | None, objectives: Sequence[str], patterns: Sequence[str]
) -> list[Scoring]:
    """Every objective with every pattern, in this order, all else as in ``base``; UsageError for what cannot be."""
    refuse_repeated("objective", objectives)
    refuse_repeated("pattern", patterns)
    base = base or loaded.default_scoring()
    scorings = [
        replace(base, objective=OBJECTIVES[loaded.family].check(objective), pattern=pattern)
        for objective in objectives or (base.objective,)
        for pattern in patterns or (base.pattern,)
    ]
    if len(scorings) < 2:
        raise UsageError("a ranking needs at least two scorings, got 1; name another objective or pattern.")
    return scorings


def _plan(setting: _Setting, scorings: Sequence[Scoring], out: str | Path | None) -> list[_Planned]:
    """Where each run goes: side by side beneath ``out``, or each into its default directory."""
    planned = []
    for scoring in scorings:
        name = f"{scoring.objective}-{scoring.pattern}"
        directory = Path(out, name) if out else default_directory(_config(setting, setting.pairs, scoring))
        ranking = None
        if setting.statistics.select_on is not None:
            ranking = directory / SELECTION
        elif setting.rank_on is not None and out:
            ranking = Path(out, f"{setting.rank_on.split}-{name}")
        elif setting.rank_on is not None:
            ranking = default_directory(_config(setting, setting.rank_on, scoring))
        planned.append(_Planned(scoring, directory, ranking))
    return planned


def _config(setting: _Setting, pairs: PairSet, scoring: Scoring) -> RunConfig:
    return RunConfig(pairs.identity(), setting.loaded.identity(), scoring)


def _default_directory(setting: _Setting, planned: Sequence[_Planned]) -> Path:
    """``reports/<dataset>-<split>-<model>-scorings-<eight digits>`` of the runs and of how they are ranked."""
    configs = [_config(setting, setting.pairs, each.scoring) for each in planned]
    how = "selected" if setting.statistics.select_on is not None else setting.statistics.layers
    ranked_on = None if setting.rank_on is None else setting.rank_on.identity()
    what = json.dumps([how, ranked_on, [config.digest() for config in configs]], sort_keys=True)
    digest = hashlib.sha256(what.encode()).hexdigest()
    return REPORTS / directory_name(configs[0], "scorings", digest[:8])


def _score_missing(planned: Sequence[_Planned], setting: _Setting, fresh: bool, progress: Progress | None) -> None:
    """Score what the runs miss, objective by objective."""
    for objective in dict.fromkeys(each.scoring.objective for each in planned):
        _score([each for each in planned if each.scoring.objective == objective], setting, fresh, progress)


def _score(planned: Sequence[_Planned], setting: _Setting, fresh: bool, progress: Progress | None) -> None:
    """Score what is missing of the runs of one objective: the evaluated rows, those that rank, and every control."""
    scorings = [each.scoring for each in planned]
    together = partial(_score_together, scorings=scorings, command=setting.command, fresh=fresh, progress=progress)
    together(setting.loaded, setting.pairs, [each.directory for each in planned])
    if setting.rank_on is not None:
        together(setting.loaded, setting.rank_on, [each.ranking for each in planned if each.ranking])
    seed = setting.statistics.control_seed
    for name in setting.statistics.controls:
        with named_in_errors(name):
            folders = [each.directory / control_folder(name, seed) for each in planned]
            together(controlled(setting.loaded, name, seed), setting.pairs, folders)


def _score_together(
    loaded: LoadedModel,
    pairs: PairSet,
    directories: Sequence[Path],
    *,
    scorings: Sequence[Scoring],
    command: Sequence[str] | None,
    fresh: bool,
    progress: Progress | None,
) -> None:
    """Score what the runs in the directories miss, in shared passes; finished runs are not touched."""
    configs = [RunConfig(pairs.identity(), loaded.identity(), scoring) for scoring in scorings]
    open_ones = [
        (directory, config)
        for directory, config in zip(directories, configs, strict=True)
        if fresh or open_finished(directory, config) is None
    ]
    if not open_ones:
        if progress is not None:
            progress(len(pairs), len(pairs))
        return
    first = prepare(loaded, pairs, open_ones[0][1].scoring)
    jobs = [replace(first, scoring=config.scoring) for _, config in open_ones]
    record = run_record(loaded, pairs, command)
    layout: dict[str, Any] = {"groups": first.groups, "part_pairs": first.part_pairs, "record": record, "fresh": fresh}
    with ExitStack() as stack:
        stores = [stack.enter_context(RunStore.open(directory, config, **layout)) for directory, config in open_ones]
        evaluate_together(jobs, stores, progress=pair_counter(progress, pairs_done(first, stores), len(pairs)))


def _ranking_run(planned: _Planned, setting: _Setting, one: partial[Run]) -> Run | None:
    """The run on the split that ranks; opened where it is finished, with whatever statistics."""
    if planned.ranking is None or setting.rank_on is None:
        return None
    if setting.statistics.select_on is not None:
        return open_run(planned.ranking)
    found = open_finished(planned.ranking, _config(setting, setting.rank_on, planned.scoring))
    if found is not None:
        return found
    alone = replace(setting.statistics, controls=())
    return one(setting.rank_on, scoring=planned.scoring, statistics=alone, out=planned.ranking, report=False)


def _summary(
    setting: _Setting, planned: Sequence[_Planned], runs: Sequence[Run], ranking: Sequence[Run | None]
) -> dict[str, Any]:
    rows = [
        row
        for each, run, other in zip(planned, runs, ranking, strict=True)
        for row in _rows(each.scoring, run, other, setting.rank_on)
    ]
    ranked = [row["spearman_ranking"] for row in rows if row["spearman_ranking"] is not None]
    for row in rows:
        value = row["spearman_ranking"]
        row["rank"] = None if value is None else 1 + sum(other > value for other in ranked)
    rows.sort(key=lambda row: math.inf if row["rank"] is None else row["rank"])
    own = setting.rank_on or setting.pairs
    data = setting.pairs.identity()
    return {
        "actsim": __version__,
        "command": list(setting.command) if setting.command else None,
        "dataset": {name: data[name] for name in ("name", "split", "release")},
        "n_pairs": len(setting.pairs),
        "model": setting.loaded.identity(),
        "template": planned[0].scoring.template,
        "level": setting.statistics.level,
        "resamples": setting.statistics.resamples,
        "seed": setting.statistics.seed,
        "ranked_on": {
            "split": own.split,
            "n_pairs": len(own),
            "evaluated_rows": setting.rank_on is None,
            "chose_bands": setting.statistics.select_on is not None,
        },
        "scorings": rows,
        "files": list(FILES),
    }


def _rows(scoring: Scoring, run: Run, other: Run | None, rank_on: PairSet | None) -> Iterator[dict[str, Any]]:
    """One row per measure of a run, its rank still to come."""
    summary = run.summary
    band = Band(summary["band"]["name"], tuple(summary["band"]["layers"]))
    for entry in summary["bands"]:
        value = entry["spearman"]
        if other is not None and rank_on is not None:
            scores = band.average(other.layer_scores(entry["measure"]).to_numpy())
            found = spearman(scores, rank_on.gold)
            value = None if math.isnan(found) else float(found)
        yield {
            "rank": None,
            "objective": scoring.objective,
            "pattern": scoring.pattern,
            "measure": entry["measure"],
            "band": summary["band"],
            "spearman_ranking": value,
            **{name: entry[name] for name in ("spearman", "ci_low", "ci_high", "n")},
            "directory": str(run.directory),
            "digest": run.manifest["digest"],
        }


def _make_directory(directory: Path, planned: Sequence[_Planned]) -> None:
    """Create the directory of the table, or refuse one that holds anything but runs and an earlier table."""
    folders = [place.name for each in planned for place in (each.directory, each.ranking) if place]
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file; --out takes a directory.")
    entries = list_directory(directory)
    if any(path.name == MANIFEST_NAME for path in entries):
        raise UsageError(f"{directory} holds a run of one scoring; nothing was touched. Give another --out.")
    foreign = [
        path.name
        for path in entries
        if path.name not in (*FILES, *folders, LOCK_NAME)
        and not path.name.startswith(TEMPORARY_PREFIX)
        and not (path / MANIFEST_NAME).is_file()
    ]
    if foreign:
        raise UsageError(
            f"{directory} holds other things than runs (found {', '.join(foreign[:3])}); nothing was touched. "
            "Give another --out, or an empty directory."
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the directory {directory}: {error.strerror}. Give another --out.") from error


def _write(directory: Path, summary: dict[str, Any]) -> None:
    """The three files, the document last."""
    write_atomic(directory / MARKDOWN, scorings_markdown(summary).encode())
    write_atomic(directory / TABLE, scorings_csv(summary).encode())
    write_atomic(directory / DOCUMENT, (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode())
