"""Controls of a run: runs of their own over the same pairs, and what the summary says of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import tiny_pairs
from pair_files import made_up_pairs

from actsim.config import CONTROLS, Scoring
from actsim.errors import NumericError, ResumeError, UsageError
from actsim.models.controls import controlled
from actsim.models.pooling import Pooling
from actsim.pipelines import sts
from actsim.store import open_run
from actsim.studies.evaluate import Statistics, evaluate

SCORING = Scoring("nll")
FEW = {"resamples": 60}


@pytest.fixture(scope="module")
def loaded():
    return tiny_models.loaded("llama")


@pytest.fixture(scope="module")
def pairs():
    return tiny_pairs.pair_set([(a, b) for a, b, _ in made_up_pairs(20)])


@pytest.fixture(scope="module")
def run(loaded, pairs, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return evaluate(pairs, loaded, SCORING, statistics=Statistics(controls=CONTROLS, **FEW), out=out, report=False)


def test_a_control_is_a_run_of_its_own_over_the_same_pairs(run, loaded, pairs):
    for name in CONTROLS:
        control = open_run(run.directory / f"control-{name}")
        assert control.manifest["config"]["data"] == run.manifest["config"]["data"]
        assert control.manifest["config"]["scoring"] == run.manifest["config"]["scoring"]
        assert control.manifest["config"]["model"] == controlled(loaded, name, 0).identity()
        assert control.manifest["digest"] != run.manifest["digest"]
        alone = evaluate(
            pairs, controlled(loaded, name, 0), SCORING, out=run.directory.parent / f"alone-{name}", report=False
        )
        np.testing.assert_array_equal(alone.layer_scores("cosine"), control.layer_scores("cosine"))


def test_the_summary_has_the_figures_of_the_control_and_paired_differences(run):
    summary = run.summary
    assert [(control["name"], control["seed"]) for control in summary["controls"]] == [(name, 0) for name in CONTROLS]
    for control in summary["controls"]:
        own = open_run(run.directory / f"control-{control['name']}").summary
        assert control["headline"] == own["headline"]
        rows = [{key: value for key, value in row.items() if key != "difference"} for row in control["layers"]]
        assert rows == own["layers"]
        difference = summary["headline"]["spearman"] - own["headline"]["spearman"]
        assert control["difference"]["value"] == pytest.approx(difference, abs=1e-12)
        for row, mine in zip(control["layers"], summary["layers"], strict=True):
            assert row["difference"]["value"] == pytest.approx(mine["spearman"] - row["spearman"], abs=1e-12)


def test_the_model_is_scored_as_without_controls(run, loaded, pairs, tmp_path):
    plain = evaluate(pairs, loaded, SCORING, statistics=Statistics(**FEW), out=tmp_path / "plain", report=False)
    assert plain.manifest["digest"] == run.manifest["digest"]
    assert plain.summary["controls"] == []
    for part in ("headline", "layers", "baselines", "partial", "partial_layers", "layer_differences"):
        assert plain.summary[part] == run.summary[part]


def test_what_is_scored_is_not_scored_again_and_controls_may_come_later(loaded, pairs, tmp_path, monkeypatch):
    out = tmp_path / "run"
    evaluate(pairs, loaded, SCORING, statistics=Statistics(**FEW), out=out, report=False)
    first = evaluate(pairs, loaded, SCORING, statistics=Statistics(controls=CONTROLS[:1], **FEW), out=out, report=False)
    monkeypatch.setattr(sts, "score_together", None)
    again = evaluate(
        pairs, loaded, SCORING, statistics=Statistics(controls=CONTROLS[:1], layers="all", **FEW), out=out, report=False
    )
    assert again.summary["band"]["name"] == "all"
    assert [row["spearman"] for row in again.summary["controls"][0]["layers"]] == [
        row["spearman"] for row in first.summary["controls"][0]["layers"]
    ]
    inner = json.loads((out / "control-random-weights" / "summary.json").read_text())
    assert inner["band"]["name"] == "all"


def test_an_interrupted_control_goes_on(loaded, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(sts, "PAIRS_PER_PART", 4)
    out, seen = tmp_path / "run", []
    scoring = Scoring("nll", batch_tokens=40)

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if len(seen) > 8 and seen.count(0) == 2 and done > 8:
            raise KeyboardInterrupt

    statistics = Statistics(controls=("shuffled-tokens",), **FEW)
    with pytest.raises(KeyboardInterrupt):
        evaluate(pairs, loaded, scoring, statistics=statistics, out=out, progress=stop, report=False)
    kept = {path.name for path in (out / "control-shuffled-tokens" / "parts").iterdir()}
    run = evaluate(pairs, loaded, scoring, statistics=statistics, out=out, report=False)
    assert kept and kept < {path.name for path in (out / "control-shuffled-tokens" / "parts").iterdir()}
    whole = evaluate(pairs, controlled(loaded, "shuffled-tokens", 0), scoring, out=tmp_path / "whole", report=False)
    assert run.summary["controls"][0]["headline"]["spearman"] == whole.summary["headline"]["spearman"]


def test_seeds_of_controls_stand_beside_each_other(loaded, pairs, tmp_path):
    out, found = tmp_path / "run", []
    for seed in (0, 5, 0):
        statistics = Statistics(controls=("random-weights",), control_seed=seed, **FEW)
        (control,) = evaluate(pairs, loaded, SCORING, statistics=statistics, out=out, report=False).summary["controls"]
        assert control["seed"] == seed
        found.append(control["headline"]["spearman"])
    assert found[0] == found[2] != found[1]
    assert {path.name for path in out.glob("control-*")} == {"control-random-weights", "control-random-weights-seed5"}


def test_a_control_has_the_band_that_was_chosen_elsewhere(loaded, pairs, tmp_path):
    other = tiny_pairs.pair_set([(a, b) for a, b, _ in made_up_pairs(12, seed=3)])
    statistics = Statistics(controls=CONTROLS, select_on=other, **FEW)
    run = evaluate(pairs, loaded, SCORING, statistics=statistics, out=tmp_path / "run", report=False)
    for name in CONTROLS:
        inner = open_run(tmp_path / "run" / f"control-{name}").summary
        assert inner["band"] == run.summary["band"] and inner["selection"] is None


def test_a_folder_of_another_control_is_refused(loaded, pairs, tmp_path):
    out = tmp_path / "run"
    statistics = Statistics(controls=("random-weights",), **FEW)
    evaluate(pairs, loaded, SCORING, statistics=statistics, out=out, report=False)
    (out / "control-random-weights").rename(out / "control-shuffled-tokens")
    with pytest.raises(ResumeError, match="another configuration"):
        evaluate(
            pairs, loaded, SCORING, statistics=Statistics(controls=("shuffled-tokens",), **FEW), out=out, report=False
        )


def test_a_control_without_scores_names_itself(pairs, tmp_path):
    """The norm of one LayerNormed token is constant on fresh weights, whose norms are ones and zeros."""
    loaded = tiny_models.loaded("bert", pooling=Pooling(("cls",)))
    statistics = Statistics(controls=("random-weights",), **FEW)
    with pytest.raises(NumericError, match=r"^control random-weights: .*hardly depends.*Leave this control out"):
        evaluate(pairs, loaded, statistics=statistics, out=tmp_path / "run", report=False)
    assert not Path(tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"controls": ("random-weight",)}, "unknown control 'random-weight'.*'random-weights'"),
        ({"controls": ("random-weights", "random-weights")}, "the control random-weights is given twice"),
        ({"control_seed": -1}, "the seed of the controls must be at least 0, got -1"),
    ],
)
def test_impossible_controls_are_refused_before_anything_is_scored(settings, message):
    with pytest.raises(UsageError, match=message):
        Statistics(**settings)
