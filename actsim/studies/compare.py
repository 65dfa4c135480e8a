"""Runs set against each other on the rows that all of them have: which is nearer to human judgement, and how sure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actsim import __version__
from actsim.errors import UsageError
from actsim.pipelines.correlation import Band
from actsim.registry import unknown_name
from actsim.report.compare_figures import curves_figure, heatmap_figure
from actsim.report.compare_html import compare_html
from actsim.report.compare_markdown import compare_markdown
from actsim.report.compare_tables import compare_csvs
from actsim.report.figures import png, svg
from actsim.report.page import check_packages
from actsim.store import Run, open_run
from actsim.store.files import list_directory, read_bytes, remove, write_atomic
from actsim.store.manifest import MANIFEST_NAME
from actsim.studies import REPORTS
from actsim.studies.alignment import TEXTS, CommonRows, common_rows, run_keys, run_labels
from actsim.studies.comparison import Contender, Resampling, compare_scores, relative_ranks

if TYPE_CHECKING:
    import pandas as pd

DOCUMENT = "compare.json"
PAGE = "compare.html"
CURVES = "curves"


@dataclass(frozen=True, eq=False)
class Comparison:
    """What came out of a comparison.

    Attributes:
        summary: every figure, as in compare.json: ``runs``, ``differences``, ``agreements``, ``notes``.
        pairs: the common rows: row, id, gold, the sentences where they are kept, and of every run the headline score
            (``score_A``) and its relative rank (``rank_A``), (rank − ½) / n.
        directory: where the files are.
    """

    summary: dict[str, Any]
    pairs: pd.DataFrame
    directory: Path


def compare(
    runs: Sequence[str | Path | Run],
    *,
    measure: str | None = None,
    layers: str | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    out: str | Path | None = None,
    keep_text: bool = True,
    command: Sequence[str] | None = None,
) -> Comparison:
    """Compare runs on their common rows, and write compare.html, compare.md, compare.json, tables and figures.

    For runs a and b with headline scores s_a and s_b (the mean of the measure over each run's band) and the gold g,

        Δ = ρ(s_a, g) − ρ(s_b, g),   ρ: Spearman's.

    What decides is the paired bootstrap: the same resamples of the pairs for all runs, every resample ranked anew,
    p = min(1, 2 (1 + min(#{Δ* ≤ 0}, #{Δ* ≥ 0})) / (B + 1)), corrected over all pairs of runs by Holm's method (1979).
    Steiger's test (1980, eq. 14) stands beside it; on ranks it is an approximation. The best layer is reported with its
    interval, but it was picked on these rows: the headline is the band, which was fixed before. Agreement of two runs
    is ρ(s_a, s_b); layer against layer, ρ of the pair scores of layer i of a and layer j of b.

    Args:
        runs: at least two finished runs over one split of one data set, or their directories.
        measure: which measure to compare; default the first that all runs have.
        layers: the headline band of every run, see ``Band.parse``; default each run's own.
        resamples: bootstrap resamples.
        level: coverage of the intervals; a difference is called one when Holm's p is below 1 − level.
        seed: of the bootstrap.
        out: where to write; default ``reports/compare-<dataset>-<split>-<digest>``.
        keep_text: also show the sentences of the pairs on which two runs disagree.
        command: the command line that repeats the comparison, for its report.

    Raises:
        UsageError: fewer than two runs, one given twice, runs over different data sets, a measure that not all have,
            too few resamples for so many runs, a directory with other files.
        DataError: too few rows in common, or data of one name that are not the same; says how many rows.
        MissingExtraError: plotly or jinja2 is not installed.
        ResumeError: a run is not finished or damaged, or the files cannot be written.
    """
    check_packages(PAGE)
    opened = _opened(runs)
    resampling = Resampling(resamples, level, seed)
    resampling.check(len(opened))
    keys = run_keys(len(opened))
    measure = _common_measure(opened, keys, measure)
    rows = common_rows(opened, keys)
    contenders = [
        Contender(key, _band(run, layers), run.layer_scores(measure).to_numpy()[where])
        for key, run, where in zip(keys, opened, rows.positions, strict=True)
    ]
    summary = _head(opened, rows, measure, resampling, command)
    summary |= compare_scores(rows.frame["gold"].to_numpy(), contenders, resampling)
    _describe(summary, opened, rows, keep_text)
    directory = Path(out) if out is not None else _directory(opened, measure, contenders)
    pairs = _pairs(rows, contenders, keep_text)
    _write(directory, summary, pairs)
    return Comparison(summary, pairs, directory)


def _opened(runs: Sequence[str | Path | Run]) -> list[Run]:
    """The runs, at least two, none of them twice."""
    if len(runs) < 2:
        raise UsageError(f"a comparison needs at least two runs, got {len(runs)}; give another one.")
    opened = [run if isinstance(run, Run) else open_run(run) for run in runs]
    places = [run.directory.resolve() for run in opened]
    for place, run in zip(places, opened, strict=True):
        if places.count(place) > 1:
            raise UsageError(f"the run {run.directory} is given twice; give each run once.")
    return opened


def _common_measure(runs: Sequence[Run], keys: Sequence[str], wanted: str | None) -> str:
    """The measure asked for, or the first that all runs have."""
    common = [name for name in runs[0].measures if all(name in run.measures for run in runs)]
    if not common:
        told = "; ".join(f"{key} has {', '.join(run.measures)}" for key, run in zip(keys, runs, strict=True))
        raise UsageError(f"the runs have no measure in common: {told}. Score one of them again with the other's.")
    if wanted is not None and wanted not in common:
        raise unknown_name("measure of all these runs", wanted, common)
    return wanted or common[0]


def _band(run: Run, layers: str | None) -> Band:
    if layers is not None:
        return Band.parse(layers, len(run.layers))
    band = run.summary["band"]
    return Band(band["name"], tuple(band["layers"]))


def _directory(runs: Sequence[Run], measure: str, contenders: Sequence[Contender]) -> Path:
    """``reports/compare-<dataset>-<split>-<eight digits>`` of what is compared: the runs, their bands, the measure."""
    what = [[run.manifest["digest"], list(each.band.layers)] for run, each in zip(runs, contenders, strict=True)]
    digest = hashlib.sha256(json.dumps([measure, what]).encode()).hexdigest()
    data = runs[0].manifest["config"]["data"]
    return REPORTS / re.sub(r"[^A-Za-z0-9._-]+", "_", f"compare-{data['name']}-{data['split']}-{digest[:8]}")


def _head(
    runs: Sequence[Run], rows: CommonRows, measure: str, resampling: Resampling, command: Sequence[str] | None
) -> dict[str, Any]:
    data = runs[0].manifest["config"]["data"]
    return {
        "actsim": __version__,
        "command": list(command) if command else None,
        "dataset": {name: data[name] for name in ("name", "split", "release")},
        "n_pairs": len(rows),
        "measure": measure,
        "resamples": resampling.resamples,
        "level": resampling.level,
        "seed": resampling.seed,
    }


def _describe(summary: dict[str, Any], runs: Sequence[Run], rows: CommonRows, keep_text: bool) -> None:
    """Add what the figures alone do not say: names of the runs, the pairs behind row numbers, notes."""
    configs = [run.manifest["config"] for run in runs]
    labels = run_labels(configs, [str(run.directory) for run in runs])
    for row, run, config, label, total in zip(summary["runs"], runs, configs, labels, rows.totals, strict=True):
        row |= {
            "label": label,
            "directory": str(run.directory),
            "digest": run.manifest["digest"],
            "model": config["model"],
            "scoring": config["scoring"],
            "n_rows": total,
        }
    shown = ["row", "id", *(name for name in TEXTS if keep_text and name in rows.frame.columns)]
    for agreement in summary["agreements"]:
        for pair in agreement["disagreements"]:
            pair |= json.loads(rows.frame.loc[pair.pop("pair"), shown].to_json())
    summary["notes"] = list(_notes(runs, rows, keep_text))


def _notes(runs: Sequence[Run], rows: CommonRows, keep_text: bool) -> Sequence[str]:
    notes = []
    if any(total != len(rows) for total in rows.totals):
        told = ", ".join(f"{key} has {n}" for key, n in zip(run_keys(len(runs)), rows.totals, strict=True))
        notes.append(f"compared on the {len(rows)} rows that all runs have ({told})")
    if keep_text and any(name not in rows.frame.columns for name in TEXTS):
        notes.append("no run keeps the sentences of its pairs, so they are not shown")
    return notes


def _pairs(rows: CommonRows, contenders: Sequence[Contender], keep_text: bool) -> pd.DataFrame:
    frame = rows.frame if keep_text else rows.frame.drop(columns=TEXTS, errors="ignore")
    for contender in contenders:
        scores = contender.headline()
        frame = frame.assign(
            **{f"score_{contender.key}": scores, f"rank_{contender.key}": relative_ranks(scores)},
        )
    return frame


def _write(directory: Path, summary: dict[str, Any], pairs: pd.DataFrame) -> None:
    """All files, compare.json last: it lists them."""
    earlier = _make_directory(directory)
    figures = {CURVES: curves_figure(summary)}
    for row in summary["agreements"]:
        figures[f"layers_{row['a']}_{row['b']}"] = heatmap_figure(summary, row)
    contents: dict[str, bytes] = {}
    for name, figure in figures.items():
        contents |= {f"{name}.svg": svg(figure, name).encode(), f"{name}.png": png(figure, name)}
    tables = compare_csvs(summary) | {"pairs.csv": pairs.to_csv(index=False, lineterminator="\n")}
    contents |= {name: text.encode() for name, text in tables.items()}
    names = [DOCUMENT, "compare.md", PAGE, *contents]
    summary["files"] = names
    contents["compare.md"] = compare_markdown(summary, list(figures)).encode()
    contents[PAGE] = compare_html(summary).encode()
    contents[DOCUMENT] = (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode()
    for name in earlier:
        if name not in contents:
            remove(directory / Path(name).name)
    for name, content in contents.items():
        write_atomic(directory / name, content)


def _make_directory(directory: Path) -> list[str]:
    """Create it, or find a comparison there and return its files; raise where there is something else."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the directory {directory}: {error.strerror}. Give another --out.") from error
    entries = [path.name for path in list_directory(directory)]
    if not entries:
        return []
    if MANIFEST_NAME in entries:
        raise UsageError(f"{directory} holds a run; nothing was touched. Give another --out.")
    if DOCUMENT not in entries:
        raise UsageError(
            f"{directory} is not empty and holds no comparison (found {', '.join(entries[:3])}); nothing was touched. "
            "Give another --out, or an empty directory."
        )
    try:
        return [str(name) for name in json.loads(read_bytes(directory / DOCUMENT))["files"]]
    except (ValueError, KeyError, TypeError):
        return []
