"""The compiled reductions give the sums of the reference, and are chosen where they pay."""

from __future__ import annotations

import itertools
import shutil

import pytest
import tiny_traces
import torch

from actsim.core.scoring import WORTH_COMPILING, ActivatedSets, Needs, Pattern, default_backend, fused, reference, tiled

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")

PATTERNS = [Pattern(absolute, weighted) for absolute, weighted in itertools.product((True, False), repeat=2)]


@needs_compiler
@pytest.mark.parametrize(("d_out", "d_in", "lengths"), [(1, 1, [1]), (33, 70, [5, 2, 1, 7]), (300, 17, [3, 3, 9, 1])])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_fused_is_reference(
    d_out: int, d_in: int, lengths: list[int], pattern: Pattern, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiled, "TILE_BYTES", 20_000)
    exact = tiny_traces.make_trace(tiny_traces.make_map(d_out, d_in), lengths)
    pairs = torch.tensor(list(itertools.product(range(len(lengths)), repeat=2)))
    need = Needs(products=True, minima=pattern.absolute)
    want = reference.pair_moments(exact, pairs, pattern, need)
    trace = tiny_traces.make_trace(tiny_traces.make_map(d_out, d_in), lengths, dtype=torch.float32)
    got = fused.pair_moments(trace, pairs, pattern, need)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5 * float(want.abs().max()))


@needs_compiler
def test_transposed_weights_and_activated_sets() -> None:
    linear = tiny_traces.make_map(24, 40)
    linear.module.weight.data = linear.module.weight.data.T.contiguous().T
    trace = tiny_traces.make_trace(linear, [4, 6], dtype=torch.float32)
    pairs, need = torch.tensor([[0, 1], [1, 1]]), Needs(products=True, minima=True)
    sets = ActivatedSets(torch.tensor([0.5, 0.1]), torch.zeros(2, dtype=torch.int64))
    want = reference.pair_moments(trace, pairs, Pattern(), need, sets)
    torch.testing.assert_close(fused.pair_moments(trace, pairs, Pattern(), need, sets), want, rtol=1e-5, atol=0)
    plain = fused.pair_moments(trace, pairs, Pattern(), need)
    torch.testing.assert_close(plain[:, :6], want[:, :6], rtol=1e-5, atol=0)


@needs_compiler
def test_it_is_chosen_for_much_work_on_a_cpu_only() -> None:
    assert default_backend("cpu", "float32", WORTH_COMPILING) == "fused"
    assert default_backend("cpu", "float32", WORTH_COMPILING / 2) == "tiled"
    assert default_backend("cpu", "float64", WORTH_COMPILING) == "tiled"
    assert default_backend("mps", "float32", WORTH_COMPILING) == "tiled"


def test_without_a_compiler_the_plain_path_is_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    fused.is_available.cache_clear()
    with caplog.at_level("INFO", logger="actsim"):
        assert default_backend("cpu", "float32", WORTH_COMPILING) == "tiled"
    fused.is_available.cache_clear()
    assert "no C++ compiler (no-such-compiler)" in caplog.text
