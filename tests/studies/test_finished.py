"""The run of a configuration is scored once."""

from __future__ import annotations

import tiny_models
from tiny_pairs import pair_set

from actsim.config import Scoring
from actsim.studies.evaluate import Statistics
from actsim.studies.finished import finished_run


def test_a_finished_run_is_opened_and_a_missing_one_is_evaluated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded, pairs = tiny_models.loaded("llama"), pair_set()
    scoring, statistics = Scoring("nll"), Statistics(resamples=50)
    first = finished_run(pairs, loaded, scoring, statistics=statistics)
    manifest = (first.directory / "manifest.json").read_bytes()
    again = finished_run(pairs, loaded, scoring, statistics=Statistics(resamples=50, layers="all"))
    assert again.directory == first.directory
    assert (first.directory / "manifest.json").read_bytes() == manifest
    other = finished_run(pairs, loaded, Scoring("next-token"), statistics=statistics)
    assert other.directory != first.directory


def test_an_unfinished_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded, pairs = tiny_models.loaded("llama"), pair_set()
    statistics = Statistics(resamples=50)
    first = finished_run(pairs, loaded, Scoring("nll"), statistics=statistics)
    before = first.layer_scores("cosine")
    for part in (first.directory / "parts").iterdir():
        part.unlink()
    assert finished_run(pairs, loaded, Scoring("nll"), statistics=statistics).layer_scores("cosine").equals(before)
