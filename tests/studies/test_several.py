"""Several scorings: the runs are those of single calls, and the table is ranked on other rows than it reports."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import scipy.stats
import tiny_models
import tiny_pairs
from pair_files import made_up_pairs, write_jsonl

from actsim.config import RunConfig, Scoring
from actsim.core import passes
from actsim.errors import UsageError
from actsim.pipelines import sts
from actsim.store import open_run
from actsim.studies.evaluate import Statistics, default_directory, evaluate
from actsim.studies.several import evaluate_several

OBJECTIVES = ("next-token", "nll")
PATTERNS = ("absolute-weighted", "absolute-gradient")
BASE = Scoring("next-token", measures=("cosine", "ruzicka"), baselines=False)
FEW = Statistics(resamples=50)


def rows(n: int, seed: int):
    return tiny_pairs.pair_set([(a, b) for a, b, _ in made_up_pairs(n, seed)])


@pytest.fixture(scope="module")
def loaded():
    return tiny_models.loaded("llama")


@pytest.fixture(scope="module")
def pairs():
    return rows(12, seed=0)


@pytest.fixture(scope="module")
def other():
    return rows(9, seed=1)


@pytest.fixture(scope="module")
def ranking(loaded, pairs, other, tmp_path_factory):
    out = tmp_path_factory.mktemp("several") / "out"
    options = {"rank_on": other, "statistics": FEW, "report": False, "out": out}
    return evaluate_several(pairs, loaded, OBJECTIVES, PATTERNS, BASE, **options)


def test_every_run_is_that_of_a_single_call(ranking, loaded, pairs, tmp_path):
    for run in ranking.runs:
        scoring = Scoring(**run.manifest["config"]["scoring"])
        out = tmp_path / run.directory.name
        alone = evaluate(pairs, loaded, scoring, statistics=FEW, out=out, report=False)
        assert run.directory.name == f"{scoring.objective}-{scoring.pattern}"
        assert alone.manifest["digest"] == run.manifest["digest"]
        assert alone.table.equals(run.table)
        assert alone.summary == run.summary
    assert len({run.manifest["digest"] for run in ranking.runs}) == 4


def test_rows_are_ranked_by_the_other_split_and_report_the_evaluated_one(ranking, pairs, other):
    summary = ranking.summary
    figures = [row["spearman_ranking"] for row in summary["scorings"]]
    assert len(figures) == 8 and figures == sorted(figures, reverse=True)
    ranks = scipy.stats.rankdata([-figure for figure in figures], "min")
    assert [row["rank"] for row in summary["scorings"]] == ranks.tolist()
    for row in summary["scorings"]:
        for directory, gold, figure in (
            (Path(row["directory"]), pairs.gold, row["spearman"]),
            (ranking.directory / f"all-{Path(row['directory']).name}", other.gold, row["spearman_ranking"]),
        ):
            deep = open_run(directory).layer_scores(row["measure"]).to_numpy()[:, 1:]
            assert scipy.stats.spearmanr(deep.mean(axis=1), gold).statistic == pytest.approx(figure, abs=1e-12)
    assert summary["ranked_on"] == {"split": "all", "n_pairs": 9, "evaluated_rows": False, "chose_bands": False}


def test_the_files_say_the_same(ranking):
    document = json.loads((ranking.directory / "scorings.json").read_text(encoding="utf-8"))
    assert document == ranking.summary
    table = list(csv.DictReader(io.StringIO((ranking.directory / "scorings.csv").read_text(encoding="utf-8"))))
    for row, want in zip(table, document["scorings"], strict=True):
        assert [row[name] for name in ("objective", "pattern", "measure")] == [
            want[name] for name in ("objective", "pattern", "measure")
        ]
        assert float(row["spearman"]) == want["spearman"]
        assert float(row["spearman_ranking"]) == want["spearman_ranking"]
    first = document["scorings"][0]
    text = (ranking.directory / "scorings.md").read_text(encoding="utf-8")
    assert (
        f"{first['objective']}, {first['pattern']}, {first['measure']}; on all: Spearman {first['spearman']:.3f}"
        in text
    )


def test_finished_runs_are_opened_and_what_is_missing_is_scored(loaded, pairs, other, tmp_path, monkeypatch):
    monkeypatch.setattr(sts, "PAIRS_PER_PART", 4)
    options = {"rank_on": other, "statistics": FEW, "report": False, "out": tmp_path / "out"}
    first = evaluate_several(pairs, loaded, OBJECTIVES, PATTERNS, BASE, **options)
    part = next((first.runs[0].directory / "parts").iterdir())
    part.unlink()
    (first.runs[0].directory / "summary.json").unlink()
    run_pass, seen = passes.run_pass, []
    monkeypatch.setattr(passes, "run_pass", lambda *args, **rest: (seen.append(1), run_pass(*args, **rest))[1])
    again = evaluate_several(pairs, loaded, OBJECTIVES, PATTERNS, BASE, **options)
    assert len(seen) == 1
    assert again.summary == first.summary


def test_patterns_share_the_passes_and_objectives_do_not(loaded, pairs, tmp_path, monkeypatch):
    run_pass, seen = passes.run_pass, []
    monkeypatch.setattr(passes, "run_pass", lambda *args, **rest: (seen.append(1), run_pass(*args, **rest))[1])
    counts = []
    for number, (objectives, patterns) in enumerate(((OBJECTIVES, PATTERNS), (OBJECTIVES, ()), ((), PATTERNS))):
        seen.clear()
        options = {"statistics": FEW, "report": False, "out": tmp_path / str(number)}
        evaluate_several(pairs, loaded, objectives, patterns, BASE, **options)
        counts.append(len(seen))
    assert counts[0] == counts[1] == 2 * counts[2] > 0


def test_without_another_split_the_ranking_is_that_of_the_evaluated_rows(loaded, pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = evaluate_several(pairs, loaded, OBJECTIVES, scoring=BASE, statistics=FEW, report=False)
    assert found.summary["ranked_on"]["evaluated_rows"] is True
    for row in found.summary["scorings"]:
        assert row["spearman_ranking"] == row["spearman"]
    for run, objective in zip(found.runs, OBJECTIVES, strict=True):
        scoring = Scoring(objective, measures=BASE.measures, baselines=False)
        config = RunConfig(pairs.identity(), loaded.identity(), scoring)
        assert run.directory == default_directory(config)
    assert found.directory.name.startswith("tiny-all-tiny-llama-scorings-")
    assert "flatters it" in (found.directory / "scorings.md").read_text(encoding="utf-8")


def test_a_data_set_that_is_named_is_ranked_on_its_validation_split(loaded, tmp_path, monkeypatch):
    (tmp_path / "stsb").mkdir()
    for split, n in (("test", 8), ("validation", 10)):
        write_jsonl(tmp_path / "stsb" / f"{split}.jsonl", made_up_pairs(n, seed=n))
    monkeypatch.setenv("ACTSIM_DATA_DIR", str(tmp_path))
    options = {"scoring": BASE, "statistics": FEW, "report": False, "out": tmp_path / "out"}
    summary = evaluate_several("sts-b", loaded, OBJECTIVES, **options).summary
    assert (summary["n_pairs"], summary["dataset"]["split"]) == (8, "test")
    assert (summary["ranked_on"]["n_pairs"], summary["ranked_on"]["split"]) == (10, "validation")
    assert (tmp_path / "out" / "validation-nll-absolute-weighted" / "manifest.json").is_file()


def test_bands_that_are_chosen_and_controls_are_those_of_single_calls(loaded, pairs, other, tmp_path):
    statistics = Statistics(resamples=50, select_on=other, controls=("shuffled-tokens",))
    options = {"statistics": statistics, "report": False}
    found = evaluate_several(pairs, loaded, OBJECTIVES, scoring=BASE, out=tmp_path / "out", **options)
    for run, objective in zip(found.runs, OBJECTIVES, strict=True):
        scoring = Scoring(objective, measures=BASE.measures, baselines=False)
        alone = evaluate(pairs, loaded, scoring, out=tmp_path / objective, **options)
        assert run.summary == alone.summary
        (row,) = (
            row
            for row in found.summary["scorings"]
            if (row["objective"], row["measure"]) == (objective, BASE.measures[0])
        )
        assert row["band"] == alone.summary["band"]
        assert row["spearman_ranking"] == alone.summary["selection"]["spearman_selection"]
    assert found.summary["ranked_on"]["chose_bands"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objectives": ("nll", "next-tokens")}, "unknown objective 'next-tokens'.*'next-token'"),
        ({"objectives": ("nll", "nll")}, "the objective nll is given twice"),
        ({"patterns": ("absolute-weighted", "absolute-weighted")}, "the pattern absolute-weighted is given twice"),
        ({"patterns": ("absolute-weighted", "signed-weighted")}, "signed-weighted allows the measure cosine only"),
        ({"patterns": ("absolute-weighted", "absolut")}, "unknown pattern 'absolut'"),
        ({"objectives": ("nll",)}, "at least two scorings, got 1"),
    ],
)
def test_what_cannot_be_ranked_is_refused_before_anything_is_scored(loaded, pairs, tmp_path, arguments, message):
    with pytest.raises(UsageError, match=message):
        evaluate_several(pairs, loaded, scoring=BASE, out=tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_two_splits_that_rank_are_refused(loaded, pairs, other):
    with pytest.raises(UsageError, match="exclude each other"):
        statistics = Statistics(select_on=other)
        evaluate_several(pairs, loaded, OBJECTIVES, scoring=BASE, rank_on=other, statistics=statistics)


@pytest.mark.parametrize(
    ("name", "message"), [("notes.txt", "other things than runs"), ("manifest.json", "holds a run")]
)
def test_a_directory_with_other_things_is_not_touched(loaded, pairs, tmp_path, name, message):
    (tmp_path / name).write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        evaluate_several(pairs, loaded, OBJECTIVES, scoring=BASE, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
