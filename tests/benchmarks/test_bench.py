"""The benchmark measures what it says: the same scores both ways, STS-B's lengths, the floor, honest refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import floor, growth, scoring
from benchmarks.bench_scoring import main, representative
from benchmarks.floor import Rates, pairs_flops, sentence_flops
from benchmarks.machine import PeakMemory
from benchmarks.released import released_scores
from benchmarks.report import table
from benchmarks.scoring import Ours, bytes_needed, layout, released_bytes_needed
from benchmarks.shapes import LENGTH_MAX, LENGTH_MEAN, SHAPES, Counts, Shape, build, count, draw_lengths, draw_pairs

CPU = torch.device("cpu")
VOCABULARY = 90
TINY = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "initializer_range": 0.1,
}
ENCODER = Shape("tiny-bert", "encoder", "BertConfig", TINY)
CAUSAL = Shape("tiny-llama", "causal", "LlamaConfig", {**TINY, "tie_word_embeddings": True})


def tiny_pairs(pairs: int):
    rng = np.random.default_rng(3)
    return draw_pairs(draw_lengths(pairs, rng), VOCABULARY, rng)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """The command line with a tiny model in minilm's place: status and the written result."""
    monkeypatch.setitem(SHAPES, "minilm", ENCODER)
    monkeypatch.setitem(floor.RATE_SIZE, "cpu", 64)

    def run(*options: str):
        out = tmp_path / "result.json"
        status = main(["--device", "cpu", "--out", str(out), *options])
        return status, json.loads(out.read_text())

    return run


@pytest.mark.parametrize("shape", [ENCODER, CAUSAL], ids=lambda shape: shape.name)
def test_released_way_gives_our_scores(shape):
    subject = build(shape, dtype=torch.float32, device=CPU)
    pairs = tiny_pairs(6)
    released = released_scores(subject, pairs)
    assert released.shape == (6, 3)
    assert float(released.min()) < 0.99
    torch.testing.assert_close(Ours(subject, batch_tokens=100).scores(pairs), released, rtol=0, atol=1e-5)


def test_released_way_leaves_the_model_as_it_was():
    subject = build(CAUSAL, dtype=torch.float32, device=CPU)
    released_scores(subject, tiny_pairs(1))
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in subject.model.parameters())


def test_lengths_are_those_of_sts_b():
    lengths = draw_lengths(100_000, np.random.default_rng(0))
    assert abs(lengths.mean() - LENGTH_MEAN) < 0.1
    assert lengths.min() >= 5
    assert lengths.max() == LENGTH_MAX
    assert np.median(lengths) == 12
    assert np.corrcoef(lengths.T)[0, 1] > 0.7


def test_few_pairs_are_as_long_as_all():
    pairs = draw_pairs(draw_lengths(500, np.random.default_rng(1)), VOCABULARY, np.random.default_rng(1))

    def mean(positions):
        return np.mean([len(pairs[position][0]) + len(pairs[position][1]) for position in positions])

    chosen = representative(pairs, 12)
    assert len(set(chosen)) == 12
    assert abs(mean(chosen) / mean(range(500)) - 1) < 0.05
    assert representative(pairs, 1000) == list(range(500))


def test_parameters_are_the_published_ones():
    totals = {name: count(shape).total for name, shape in SHAPES.items()}
    assert totals["minilm"] == 22_713_216
    assert totals["llama-2-7b"] == 6_738_415_616
    assert totals["llama-3-8b"] == 8_030_261_248
    assert totals["qwen2.5-7b"] == 7_615_616_512


def test_floor_is_12_t_p_a_pair_and_the_head():
    counts = Counts(scored=1000, layer=500, head=70, total=2000)
    assert sentence_flops(10, counts) == 6 * 10 * 1000 + 2 * 70
    assert pairs_flops([((1,) * 10, (2,) * 10)] * 3, counts) == 3 * (12 * 10 * 1000 + 4 * 70)
    rates = Rates(flops=2e6, bandwidth=1e3)
    assert rates.seconds(1e6) == 0.5
    assert rates.seconds_to_read(500, batches=4) == 2.0
    assert Rates(flops=1.0, bandwidth=None).seconds_to_read(500, batches=4) is None


def test_padding_share_counts_the_batches_own_tokens():
    assert layout([((1, 2), (3, 4, 5, 6))], batch_tokens=100) == {"batches": 1, "padding_share": 0.25}


def test_growth_recovers_a_power_and_a_line():
    x = [1.0, 2.0, 4.0, 8.0]
    assert growth.slope(x, [3 * value**1.5 for value in x]) == pytest.approx(1.5)
    fit = growth.affine(x, [5 + 2 * value for value in x])
    assert fit == pytest.approx({"fixed": 5, "per_unit": 2, "largest_relative_error": 0}, abs=1e-9)


def test_peak_memory_sees_what_a_phase_touched():
    memory = PeakMemory(CPU)
    if memory.problem is not None:
        pytest.skip(memory.problem)
    memory.start_phase()
    torch.ones(64 * 2**20, dtype=torch.uint8).sum()
    first = memory.phase_bytes()
    memory.start_phase()
    assert first >= 60 * 2**20
    assert memory.phase_bytes() < first - 30 * 2**20


def test_a_run_measures_both_ways_on_the_same_pairs(run, capsys):
    status, result = run("--pairs", "12", "--released-pairs", "4", "--repeat", "2")
    assert status == 0
    assert result["measured"]
    assert result["released"]["pairs"] == 4
    ratios = [
        slow / fast
        for slow, fast in zip(
            result["released"]["rounds_ms_per_pair"], result["ours"]["rounds_ms_per_pair"], strict=True
        )
    ]
    assert [result["ratio"]["min"], result["ratio"]["max"]] == [min(ratios), max(ratios)]
    assert result["agreement"]["float64_sums"]["largest"] < 1e-5
    assert result["agreement"]["timed"]["compared"] == 4 * 3
    assert "largest difference" in capsys.readouterr().out
    assert f"{result['ratio']['median']:.1f}x" in table([result])


def test_scores_that_disagree_fail_the_run(run, monkeypatch):
    monkeypatch.setattr(Ours, "scores", lambda self, pairs: torch.zeros(len(pairs), 3, dtype=torch.float64))
    assert run("--pairs", "4", "--repeat", "1")[0] == 1


def test_a_model_that_does_not_fit_is_refused_in_one_line(run, monkeypatch, capsys):
    monkeypatch.setattr(scoring, "free_bytes", lambda device: 8 * 2**30)
    status, result = run("--shape", "llama-2-7b")
    assert status == 3
    assert not result["measured"]
    line = capsys.readouterr().out
    assert line.startswith("not measured: llama-2-7b in float32 needs about 26.1 GiB")
    assert "cpu has 8.0 GiB free" in line
    assert line.count("\n") == 1
    assert "not measured: llama-2-7b" in table([result])


def test_ours_is_measured_where_only_the_released_way_does_not_fit(run, monkeypatch):
    needed = (needs(count(ENCODER), torch.float32) for needs in (bytes_needed, released_bytes_needed))
    between = sum(needed) // 2
    monkeypatch.setattr(scoring, "free_bytes", lambda device: between)
    status, result = run("--pairs", "4", "--repeat", "1")
    assert status == 0
    assert result["released"] is None
    assert "two copies" in result["released_reason"]
    assert result["ours"]["ms_per_pair"] > 0
    assert "not measured" in table([result])


def test_a_run_that_would_take_too_long_is_refused(run):
    status, result = run("--pairs", "4", "--limit-minutes", "1e-12")
    assert status == 3
    assert "--limit-minutes" in result["reason"]


def test_the_gpu_command_says_where_there_is_no_gpu():
    script = Path(__file__).parents[2] / "benchmarks" / "gpu.sh"
    environment = {**os.environ, "PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(["bash", str(script)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stdout == "not measured: no CUDA device\n"
