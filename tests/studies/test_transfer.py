"""Calibrations and texts of a study against the matrices of a domains run."""

from __future__ import annotations

import made_up_study
import numpy as np
import pytest
import scipy.stats

from actsim.errors import UsageError
from actsim.stats.transfer import BOTH, transfer
from actsim.studies.intervals import t_interval
from actsim.studies.transfer import Grid, check_similar, own_domain, transfer_rows


@pytest.fixture
def summary():
    return made_up_study.summary()


def a_grid(calibrations, texts, seeds=2, same_rows=()):
    rng = np.random.default_rng(0)
    quality = rng.normal(size=(seeds, len(calibrations), len(texts)))
    return Grid(tuple(calibrations), tuple(texts), quality, frozenset(same_rows))


def test_a_domain_is_found_by_its_name_and_else_by_its_corpus():
    known = made_up_study.similar(("boolq", "boolq:train", "c4:validation", "mmlu"))
    assert known.place("boolq:train") == 1 and known.place("c4") == 2 and known.place("mmlu:dev") == 3
    assert known.place("boolq:test") is None  # two of that corpus
    assert known.place("siqa") is None


def test_rows_are_those_of_the_statistic_and_seeds_have_their_interval():
    names = ("boolq", "c4", "gsm8k", "mmlu", "siqa", "wikitext2")
    grid, known = a_grid(names, names), made_up_study.similar(names)
    rows = list(transfer_rows(grid, known, made_up_study.INTERVALS))
    assert [(row["similarity"], row["removed"]) for row in rows] == [
        (kind, removed) for kind in ("activation", "tfidf") for removed in ("text", "both")
    ]
    (row,) = [row for row in rows if (row["similarity"], row["removed"]) == ("activation", BOTH)]

    def rho(quality):
        rng = np.random.default_rng(0)
        return transfer(
            quality, known.matrices["activation"], range(6), range(6), removed=BOTH, rng=rng, permutations=99
        )

    assert row["rho"] == rho(grid.quality.mean(axis=0)).rho
    ends = t_interval(np.arctanh([rho(own).rho for own in grid.quality]), 0.95)
    assert (row["seeds_low"], row["seeds_high"]) == pytest.approx(tuple(np.tanh(ends)))
    lacking = [row for row in rows if row["similarity"] == "tfidf"]
    assert {row["domains"] for row in lacking} == {5}  # the matrix does not know the sixth


def test_similar_domains_serve_each_other_in_the_made_up_study(summary):
    rows = {(row["figure"], row["similarity"], row["removed"]): row for row in summary["transfer"]}
    row = rows["perplexity", "activation", "text"]
    assert row["rho"] > 0.5 and row["p"] < 0.05
    assert ("accuracy", "activation", "text") not in rows  # piqa and hellaswag are no domains of the run


def test_own_domain_is_the_mean_over_the_texts_without_those_of_the_same_rows():
    calibrations, texts = ("c4", "boolq:train", "mmlu"), ("c4", "boolq", "mmlu", "siqa")
    grid = a_grid(calibrations, texts, same_rows={("mmlu", "mmlu")})
    mean = grid.quality.mean(axis=0)
    own = [mean[0, 0] - mean[1:, 0].mean(), mean[1, 1] - mean[[0, 2], 1].mean()]
    found, both = own_domain(grid, 0.95)
    assert (found["removed"], both["removed"]) == ("text", "both")
    assert found["texts"] == 2 and found["difference"] == pytest.approx(np.mean(own))
    assert found["p"] == pytest.approx(scipy.stats.ttest_1samp(own, 0).pvalue)
    interval = scipy.stats.t.interval(0.95, 1, np.mean(own), scipy.stats.sem(own))
    assert (found["ci_low"], found["ci_high"]) == pytest.approx(interval)
    assert list(own_domain(a_grid(("c4", "mmlu"), ("c4", "siqa")), 0.95)) == []


def test_what_serves_every_text_is_no_gain_of_the_own_domain():
    names = ("c4", "boolq", "mmlu", "siqa")
    rng = np.random.default_rng(1)
    additive = rng.normal(size=(4, 1)) + rng.normal(size=(1, 4))
    grid = Grid(names, names, (additive + 0.3 * np.eye(4))[None], frozenset())
    by_removed = {row["removed"]: row for row in own_domain(grid, 0.95)}
    assert by_removed["both"]["difference"] == pytest.approx(0.3)
    assert by_removed["text"]["difference"] == pytest.approx(0.3)  # every calibration is one text's own
    fewer = Grid(names, names[:2], grid.quality[:, :, :2], frozenset())
    by_removed = {row["removed"]: row for row in own_domain(fewer, 0.95)}
    assert by_removed["both"]["difference"] == pytest.approx(0.3)
    assert by_removed["text"]["difference"] != pytest.approx(0.3)


def test_too_few_shared_domains_are_refused():
    known = made_up_study.similar(("boolq", "c4", "gsm8k", "mmlu", "siqa"))
    check_similar(known, known.model, ("boolq", "c4"), ("gsm8k", "mmlu", "siqa"))
    with pytest.raises(UsageError, match="2 as calibrations and 1 as texts or tasks; two of each, and 5 in all"):
        check_similar(known, known.model, ("boolq", "c4"), ("gsm8k", "notes"))


def test_a_run_of_another_model_is_refused():
    known = made_up_study.similar()
    other = {**known.model, "name": "other", "sha256": "cd" * 32}
    with pytest.raises(UsageError, match="a run of example/model-small, whose weights are not those of other"):
        check_similar(known, other, made_up_study.CALIBRATIONS, made_up_study.TEXTS)


def test_the_same_rows_are_noted(summary):
    assert summary["notes"] == [
        "mmlu: the calibration mmlu is out of the same rows; the cell says nothing of other texts."
    ]
