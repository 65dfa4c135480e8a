"""Scorings that share their passes: the same bits as alone, and no more passes than one of them needs."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import tiny_models
import tiny_pairs
import torch
from counted_passes import count_passes

from actsim.config import RunConfig, Scoring
from actsim.core import passes
from actsim.core.capture import GradientOverflow
from actsim.pipelines import sts
from actsim.store import RunStore

SCORINGS = [
    Scoring("nll", "absolute-weighted", ("cosine", "jaccard"), batch_tokens=18),
    Scoring("nll", "absolute-gradient", ("ruzicka", "overlap"), gamma=0.01, batch_tokens=18),
    Scoring("nll", "signed-weighted", batch_tokens=18),
]
"""A top fraction, an absolute threshold, and a signed pattern."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(sts, "PAIRS_PER_PART", 2)


def jobs_of(loaded, scorings=SCORINGS) -> list[sts.Job]:
    first = sts.prepare(loaded, tiny_pairs.pair_set(), scorings[0])
    return [replace(first, scoring=scoring) for scoring in scorings]


def tables_of(folder, groups: list[list[sts.Job]], progress=None) -> list:
    """The tables of all jobs, those of a group scored together."""
    tables = []
    for number, jobs in enumerate(groups):
        with ExitStack() as stack:
            stores = [
                stack.enter_context(open_store(folder / f"{number}-{place}", job)) for place, job in enumerate(jobs)
            ]
            sts.evaluate_together(jobs, stores, progress=progress)
            tables += [store.read_parts() for store in stores]
    return tables


def open_store(directory, job: sts.Job) -> RunStore:
    config = RunConfig(tiny_pairs.pair_set().identity(), job.loaded.identity(), job.scoring)
    return RunStore.open(directory, config, groups=job.groups, part_pairs=job.part_pairs, record={})


def assert_close(jobs, tables, others, **tolerance) -> None:
    """The first measure of every job is the same within the tolerance, null where it is null."""
    for job, *both in zip(jobs, tables, others, strict=True):
        want, got = (np.array(table[job.scoring.measures[0]].to_pylist(), dtype=float) for table in both)
        np.testing.assert_allclose(got, want, **tolerance, equal_nan=True)


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_scores_are_those_of_single_runs_bit_for_bit_in_the_passes_of_one(tmp_path, monkeypatch, family):
    jobs = jobs_of(tiny_models.loaded(family))
    seen = count_passes(monkeypatch)
    alone = tables_of(tmp_path / "alone", [[job] for job in jobs])
    passes_alone = len(seen)
    told: list[int] = []
    together = tables_of(tmp_path / "together", [jobs], told.append)
    assert passes_alone == 3 * (len(seen) - passes_alone) == 3 * sum(map(len, jobs[0].parts))
    assert sum(told) == len(tiny_pairs.PAIRS)
    for one, other in zip(alone, together, strict=True):
        assert one.equals(other)


def test_only_those_that_miss_a_part_are_scored_again(tmp_path, monkeypatch):
    jobs = jobs_of(tiny_models.loaded("llama"))
    whole = tables_of(tmp_path, [jobs])
    for place, part in ((0, 1), (2, 1), (2, 3)):
        (path,) = (tmp_path / f"0-{place}" / "parts").glob(f"part-{part:05d}-*")
        path.unlink()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("0-*/parts/part-*")}
    seen, scored = count_passes(monkeypatch), []
    score_together = sts.score_together
    monkeypatch.setattr(
        sts, "score_together", lambda jobs, *rest: (scored.append(len(jobs)), score_together(jobs, *rest))[1]
    )
    assert [a.equals(b) for a, b in zip(tables_of(tmp_path, [jobs]), whole, strict=True)] == [True] * 3
    batches = [len(jobs[0].parts[part]) for part in (1, 3)]
    assert (len(seen), scored) == (sum(batches), [2] * batches[0] + [1] * batches[1])
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_memory_that_does_not_suffice_halves_the_budget_of_all(tmp_path, monkeypatch, caplog):
    jobs = jobs_of(tiny_models.loaded("llama"), [replace(scoring, batch_tokens=1000) for scoring in SCORINGS])
    whole = tables_of(tmp_path / "whole", [jobs])
    largest_pair = max(2 * max(map(len, sides)) for sides in jobs[0].tokens)
    score_together = sts.score_together

    def limited(jobs, batch, scorer):
        if batch.tokens > largest_pair:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return score_together(jobs, batch, scorer)

    monkeypatch.setattr(sts, "score_together", limited)
    halved = tables_of(tmp_path / "halved", [jobs])
    assert len([record for record in caplog.records if "out of memory" in record.message]) == 1
    assert_close(jobs, whole, halved, rtol=1e-4, atol=1e-6)


def test_an_overflow_in_float16_starts_every_consumer_anew(monkeypatch):
    loaded = tiny_models.loaded("llama", dtype=torch.float16)
    jobs = jobs_of(loaded)
    batch = jobs[0].parts[0][0]
    alone = [sts.score_batch(job, batch) for job in jobs]
    run_pass, scales = passes.run_pass, []

    def overflowing(*args, scale, **options):
        scales.append(scale)
        result = run_pass(*args, scale=scale, **options)
        if len(scales) == 1:
            raise GradientOverflow("too large")
        return result

    monkeypatch.setattr(passes, "run_pass", overflowing)
    together = sts.score_together(jobs, batch)
    assert scales == list(passes.HALF_SCALES[:2])
    assert_close(jobs, alone, together, rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize(
    "other", [Scoring("next-token", batch_tokens=18), Scoring("nll", batch_tokens=8), Scoring("nll", max_tokens=3)]
)
def test_jobs_without_a_pass_in_common_are_refused(tmp_path, other):
    loaded = tiny_models.loaded("llama")
    jobs = [sts.prepare(loaded, tiny_pairs.pair_set(), scoring) for scoring in (SCORINGS[0], other)]
    with pytest.raises(ValueError, match="no pass in common"):
        tables_of(tmp_path, [jobs])
