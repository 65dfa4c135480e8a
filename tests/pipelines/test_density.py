"""Density: the numbers are an oracle's, whatever the order, batches and groups of layers; a planted part is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_models
import tiny_samples
import torch
from oracle import Oracle
from two_languages import FIRST_WORDS, SECOND_WORDS, SIDES, blocks_of, plant, sentences

from actsim.config import Scoring
from actsim.core import passes
from actsim.core.capture import GradientOverflow
from actsim.errors import ModelError, UsageError
from actsim.pipelines import density
from actsim.store import RunStore
from actsim.store.densities import Densities

GAMMAS = (1e-4, 1e-3, 1e-2)
PLENTY = 2**40


def scoring_of(loaded, **changes) -> Scoring:
    return replace(loaded.default_scoring(), batch_tokens=24, **changes)


def job_of(loaded, *samples, folds=1, **changes) -> density.Job:
    return density.prepare(loaded, samples or [tiny_samples.drawn()], scoring_of(loaded, **changes), GAMMAS, folds)


def rows_of(job, directory, *, memory=PLENTY, progress=None) -> Densities:
    with RunStore.begin(directory, {"study": "density"}, job.layout("digest"), record={}) as store:
        plan = density.plan_passes(job, store.missing(), memory)
        density.run_passes(density.Runner(job), plan, store, progress=progress)
        return Densities(store.read_parts(), tuple(own.domain for own in job.samples), job.gammas)


@pytest.mark.parametrize(
    ("family", "objective"), [("llama", "nll"), ("bert", "embedding-norm"), ("gpt2", "next-token")]
)
@pytest.mark.parametrize("pattern", ["absolute-weighted", "absolute-gradient"])
def test_the_numbers_are_those_of_an_oracle(family, objective, pattern, tmp_path):
    loaded = tiny_models.loaded(family)
    job = job_of(loaded, objective=objective, pattern=pattern)
    found = rows_of(job, tmp_path)
    oracle = Oracle(loaded.model, family, objective)
    tokens = job.samples[0].tokens
    patterns = [oracle.patterns(own, pattern) for own in tokens]
    for place, layer in enumerate(found.layers):
        means = {name: sum(own[layer][name] for own in patterns) / len(tokens) for name in patterns[0][layer]}
        kinds = {linear.name: linear.kind for linear in loaded.maps if linear.layer == layer}
        for kind in found.kinds:
            want = np.concatenate([own.ravel() for name, own in means.items() if kind in ("all", kinds[name])])
            assert found.measure("parameters", kind)[0, place, 0] == want.size
            assert found.measure("mean", kind)[0, place, 0] == pytest.approx(want.mean(), rel=1e-4)
            direct = [(want > gamma).sum() for gamma in GAMMAS]
            assert found.counts(kind)[0, place, 0] == pytest.approx(direct, abs=2)  # Ā within rounding of γ
            participation = want.sum() ** 2 / (want.size * np.square(want).sum())
            assert found.measure("participation", kind)[0, place, 0] == pytest.approx(participation, rel=1e-4)


def test_the_order_of_the_samples_does_not_matter(tmp_path):
    loaded = tiny_models.loaded("llama")
    samples = tiny_samples.drawn()
    turned = tiny_samples.samples_of("tales", samples.tokens[::-1])
    tables = [
        rows_of(job_of(loaded, own, folds=3), tmp_path / str(number)).table
        for number, own in enumerate((samples, turned))
    ]
    assert tables[0] == tables[1]


def test_groups_of_layers_give_the_numbers_of_all_at_once(tmp_path):
    loaded = tiny_models.loaded("gpt2")
    job = job_of(loaded, tiny_samples.drawn("one"), tiny_samples.drawn("other", tiny_models.SENTENCES), folds=2)
    smallest = max(density.accumulator_bytes(job, [layer]) for layer in (1, 2, 3))
    plan = density.plan_passes(job, range(len(job.parts)), smallest)
    assert plan.passes == tuple((domain, (layer,)) for domain in (0, 1) for layer in (1, 2, 3))
    assert (plan.samples(job), plan.accumulators) == (3 * (10 + 6), smallest)
    at_once, apart = rows_of(job, tmp_path / "once"), rows_of(job, tmp_path / "apart", memory=smallest)
    np.testing.assert_allclose(apart.measure("mean"), at_once.measure("mean"), rtol=1e-5)
    np.testing.assert_allclose(apart.counts(), at_once.counts(), atol=2)


def test_progress_counts_every_sample_of_every_pass(tmp_path):
    job = job_of(tiny_models.loaded("llama"), folds=2)
    seen: list[int] = []
    rows_of(job, tmp_path, memory=density.accumulator_bytes(job, [1, 2]), progress=seen.append)
    assert sum(seen) == 2 * len(tiny_samples.TEXTS)


def test_a_fold_is_the_profile_of_its_samples(tmp_path):
    loaded, samples = tiny_models.loaded("llama"), tiny_samples.drawn()
    found = rows_of(job_of(loaded, samples, folds=3), tmp_path / "folds")
    assert found.n_folds == 3
    for fold, positions in enumerate(density.folds_of(samples, 3), start=1):
        own = tiny_samples.samples_of("tales", [samples.tokens[position] for position in positions])
        alone = rows_of(job_of(loaded, own), tmp_path / str(fold))
        np.testing.assert_allclose(found.measure("mean")[:, :, fold], alone.measure("mean")[:, :, 0], rtol=1e-5)


def test_out_of_memory_halves_the_budget_and_changes_no_number(tmp_path, monkeypatch, caplog):
    loaded = tiny_models.loaded("llama")
    job = job_of(loaded, folds=2)
    undisturbed = rows_of(job, tmp_path / "undisturbed")
    run_pass = passes.run_pass

    def short_of_memory(target, batch, *args, **options):
        result = run_pass(target, batch, *args, **options)
        if batch.input_ids.numel() > 16:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return result

    monkeypatch.setattr(passes, "run_pass", short_of_memory)
    seen: list[int] = []
    found = rows_of(job, tmp_path / "short", progress=seen.append)
    assert sum(seen) == len(tiny_samples.TEXTS)
    np.testing.assert_allclose(found.measure("mean"), undisturbed.measure("mean"), rtol=1e-5)
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory on cpu: going on with batches of 12 tokens"
    ]


def test_a_sample_that_does_not_fit_is_an_error_with_a_way_out(tmp_path, monkeypatch):
    def full(*args, **options):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(passes, "run_pass", full)
    with pytest.raises(ModelError, match=r"tales: the memory of cpu does not suffice for one sample; lower"):
        rows_of(job_of(tiny_models.loaded("llama")), tmp_path)


def test_an_overflow_in_float16_adds_no_sample_twice(tmp_path, monkeypatch):
    loaded = tiny_models.loaded("llama", dtype=torch.float16)
    job = job_of(loaded, objective="nll")
    undisturbed = rows_of(job, tmp_path / "undisturbed")
    run_pass, scales = passes.run_pass, []

    def overflowing(target, batch, objective, handler, *, scale, **options):
        scales.append(scale)
        result = run_pass(target, batch, objective, handler, scale=scale, **options)
        if scale == passes.HALF_SCALES[0]:
            raise GradientOverflow("a gradient left its range")
        return result

    monkeypatch.setattr(passes, "run_pass", overflowing)
    found = rows_of(job, tmp_path / "overflowing")
    assert passes.HALF_SCALES[1] in scales
    np.testing.assert_allclose(found.measure("mean"), undisturbed.measure("mean"), rtol=1e-5)


def test_each_language_activates_its_own_planted_half_and_both_together_all(tmp_path):
    loaded = tiny_models.loaded("llama", change=plant)
    both = [*sentences(FIRST_WORDS, 3), *sentences(SECOND_WORDS, 4)]
    samples = [
        tiny_samples.samples_of("first", sentences(FIRST_WORDS, 1)),
        tiny_samples.samples_of("second", sentences(SECOND_WORDS, 2)),
        tiny_samples.samples_of("both", both),
    ]
    found = rows_of(job_of(loaded, *samples, objective="nll"), tmp_path)
    for kind in SIDES:
        for place, layer in enumerate(found.layers):
            (linear,) = [linear for linear in loaded.maps if (linear.layer, linear.kind) == (layer, kind)]
            own = blocks_of(kind, linear.weight)
            first, second = int((own == 1).sum()), int((own == 2).sum())
            zeros = found.measure("zeros", kind)[:, place, 0]
            assert (own.numel() - zeros).tolist() == [first, second, first + second]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pattern": "signed-weighted"}, "a density is of absolute patterns"),
        ({"folds": 11}, r"--folds 11: 10 samples can be taken apart in 1 to 10 folds; give fewer"),
        ({"folds": 0}, "--folds 0: 10 samples"),
        ({"objective": "embedding-norm"}, "unknown objective 'embedding-norm'"),
    ],
)
def test_what_cannot_be_counted_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        job_of(tiny_models.loaded("llama"), **changes)


def test_too_little_memory_for_one_layer_is_refused():
    job = job_of(tiny_models.loaded("llama"))
    with pytest.raises(UsageError, match=r"the accumulators of layer 1 take .* MiB, .* give more with --memory"):
        density.plan_passes(job, [0], 100)


def test_the_time_ahead_is_more_for_more_passes():
    job = job_of(tiny_models.loaded("llama"), folds=2)
    runner = density.Runner(job)
    plans = [density.plan_passes(job, range(3), memory) for memory in (PLENTY, density.accumulator_bytes(job, [1]))]
    assert [len(plan.passes) for plan in plans] == [1, 3]
    assert all(runner.seconds(plan) > 0 for plan in plans)
