"""A density run from domains to files: resuming, what it is refused, and how its samples are drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_models
import tiny_samples
from counted_passes import count_passes

from actsim.errors import DataError, ResumeError, UsageError
from actsim.studies import density as study
from actsim.studies import over_samples
from actsim.studies.density import SWEEP, Thresholds, density, request_density
from actsim.studies.drawing import Drawing

DRAWING = Drawing(samples=8, max_tokens=24)
DOMAINS = (tiny_samples.domain("tales"), tiny_samples.domain("news", tiny_samples.TEXTS[::-1] * 4, packed=True))


@pytest.fixture(scope="module")
def llama():
    return tiny_models.loaded("llama")


def requested(loaded, *, folds=2, **thresholds):
    return request_density(DOMAINS, loaded, None, DRAWING, Thresholds(folds=folds, **thresholds))


def test_a_run_that_is_interrupted_goes_on_and_ends_as_one_that_was_not(llama, tmp_path, monkeypatch):
    request = requested(llama)
    whole = density(request, out=tmp_path / "whole", report=False)

    def stop(done: int, total: int) -> None:
        if done > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        density(request, out=tmp_path / "stopped", report=False, progress=stop)
    assert len(list((tmp_path / "stopped" / "parts").iterdir())) == 3  # one domain, a part for each layer
    told: list[study.Outlook] = []
    seen = count_passes(monkeypatch)
    resumed = density(request, out=tmp_path / "stopped", report=False, announce=told.append)
    assert [(outlook.domains, outlook.samples, outlook.groups) for outlook in told] == [(1, 8, 1)]
    assert sum(seen[2:]) == 8  # the first two try out how long it takes
    assert resumed.table == whole.table
    assert resumed.summary == whole.summary


def test_a_finished_run_is_summed_up_again_without_a_pass(llama, tmp_path, monkeypatch):
    first = density(requested(llama), out=tmp_path, report=False)
    wide = first.summary["intervals"][0]["gini"]
    seen = count_passes(monkeypatch)
    again = density(requested(llama, level=0.5), out=tmp_path, report=False)
    assert seen == []
    assert again.table == first.table
    assert again.summary["level"] == 0.5
    narrow = again.summary["intervals"][0]["gini"]
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_the_threshold_that_is_shown_first_need_not_be_in_the_sweep(llama, tmp_path):
    run = density(requested(llama, gammas=(3e-5, 0)), out=tmp_path, report=False)
    assert run.summary["headline"] == [3e-5, 0.0]
    assert run.summary["gammas"] == sorted({*SWEEP, 3e-5, 0.0})
    row = next(row for row in run.summary["rows"] if row["kind"] == "all")
    assert row["counts"][0] == row["parameters"] - row["zeros"]
    assert sorted(row["counts"], reverse=True) == row["counts"]


def test_other_samples_are_another_run(llama, tmp_path):
    density(requested(llama), out=tmp_path, report=False)
    other = request_density(DOMAINS, llama, None, Drawing(samples=8, max_tokens=24, seed=1), Thresholds(folds=2))
    with pytest.raises(ResumeError, match=r"another configuration \(.*fingerprint"):
        density(other, out=tmp_path)
    turned = request_density(DOMAINS[::-1], llama, None, DRAWING, Thresholds(folds=2))
    with pytest.raises(ResumeError, match=r"domains: \['tales', 'news'\] -> \['news', 'tales'\]"):
        density(turned, out=tmp_path)


def test_the_files_are_there_and_the_ids_in_the_manifest(llama, tmp_path):
    run = density(requested(llama), out=tmp_path, command=["actsim", "density"])
    names = {"density.csv", "summary.json", "report.md", "report.html"}
    names |= {f"{name}.{form}" for name in ("layers", "gamma") for form in ("svg", "png")}
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == names | {"manifest.json", ".lock"}
    record = json.loads((tmp_path / "manifest.json").read_text())["record"]
    assert {name: len(ids) for name, ids in record["sample_ids"].items()} == {"tales": 8, "news": 8}
    assert run.manifest["config"]["samples"]["tales"]["seed"] == 0
    assert run.summary["domains"][1]["running_text"] is True


def test_a_run_has_a_name_of_its_own(llama):
    names = {requested(llama, folds=folds).default_directory for folds in (2, 4)}
    assert len(names) == 2
    assert {path.parent for path in names} == {Path("reports")}
    assert all(path.name.startswith("density-tiny-llama-") for path in names)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gammas": ()}, "no threshold given"),
        ({"gammas": (1e-5, -1.0)}, "--gamma must be a finite number of at least 0, got -1.0"),
        ({"gammas": (float("nan"),)}, "--gamma must be a finite number"),
        ({"level": 1.0}, "--level must be between 0 and 1"),
    ],
)
def test_thresholds_that_are_none_are_refused(values, message):
    with pytest.raises(UsageError, match=message):
        Thresholds(**values)


def test_too_little_text_and_a_domain_twice_are_refused(llama):
    with pytest.raises(DataError, match="tales: 99 samples wanted, the domain has 10 texts"):
        request_density(DOMAINS[:1], llama, None, Drawing(samples=99, max_tokens=24))
    with pytest.raises(UsageError, match="the domain tales is given twice"):
        request_density([DOMAINS[0]] * 2, llama, None, DRAWING)


def test_without_a_word_accumulators_take_a_share_of_what_is_free_but_never_less_than_a_layer(llama, monkeypatch):
    request = requested(llama)
    job = request.job
    layer = study.accumulator_bytes(job, [1])
    for free, want in ((10 * layer, 5 * layer), (layer, layer)):
        monkeypatch.setattr(over_samples, "free_memory", lambda device, free=free: free)
        assert study.memory_for_accumulators(job) == want
