"""The compiled kernel gives the sums of the reference, and is chosen where it can be compiled."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_traces
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from actsim.core.scoring import Needs, Pattern, compiler, default_backend, fused, reference
from actsim.core.trace import Trace
from actsim.errors import UsageError

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="no C++ compiler on this machine"
)

PATTERNS = [Pattern(absolute, weighted) for absolute, weighted in itertools.product((True, False), repeat=2)]


def every_pair(sentences: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product(range(sentences), repeat=2)))


def assert_is_reference(trace: Trace, exact: Trace, pattern: Pattern, fraction: float | None = None) -> None:
    """Every pair's sums against the reference's in float64, relative to the largest."""
    pairs, need = every_pair(trace.sentences), Needs(products=True, minima=pattern.absolute)
    sets = None if fraction is None else reference.top_sets([trace], pattern, fraction)[0]
    got = fused.pair_moments(trace, pairs, pattern, need, sets)
    want = reference.pair_moments(exact, pairs, pattern, need)
    torch.testing.assert_close(got[:, :6], want[:, :6], rtol=1e-5, atol=1e-5 * float(want.abs().max()))
    if sets is not None:
        counts = reference.pair_moments(trace, pairs, pattern, need, sets)[:, 6:]
        assert torch.equal(got[:, 6:], counts)


@needs_compiler
@settings(max_examples=60)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.lists(st.integers(1, 12), min_size=1, max_size=6),
    st.integers(1, 3),
    st.sampled_from(PATTERNS),
)
def test_fused_is_reference(d_out: int, d_in: int, lengths: list[int], parts: int, pattern: Pattern) -> None:
    parts = min(parts, len(lengths))
    exact = tiny_traces.make_trace(tiny_traces.make_map(d_out, d_in), lengths, parts=parts)
    trace = tiny_traces.make_trace(tiny_traces.make_map(d_out, d_in), lengths, parts=parts, dtype=torch.float32)
    assert_is_reference(trace, exact, pattern)


@needs_compiler
@settings(max_examples=60)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.lists(st.integers(1, 12), min_size=1, max_size=6),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([1, 3]),
)
def test_the_sum_over_sentences_is_the_references(
    d_out: int, d_in: int, lengths: list[int], parts: int, weighted: bool, threads: int
) -> None:
    parts = min(parts, len(lengths))
    trace = tiny_traces.make_trace(tiny_traces.make_map(d_out, d_in), lengths, parts=parts, dtype=torch.float32)
    exact = tiny_traces.make_trace(tiny_traces.make_map(d_out, d_in), lengths, parts=parts)
    got, want = torch.ones(d_out, d_in), torch.ones(d_out, d_in, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: threads)
        fused.abs_sum(trace, Pattern(weighted=weighted), got)
    reference.abs_sum(exact, Pattern(weighted=weighted), want)
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-5)


@needs_compiler
def test_the_sum_over_sentences_reads_a_weight_that_is_stored_transposed() -> None:
    plain = tiny_traces.make_map(35, 20)
    trace = tiny_traces.make_trace(plain, [3, 5], dtype=torch.float32)
    turned = tiny_traces.make_map(35, 20)
    turned.module.weight = torch.nn.Parameter(plain.weight.T.contiguous(), requires_grad=False)
    sums = [torch.zeros(35, 20) for _ in range(2)]
    for linear, own in zip((plain, replace(turned, transposed=True)), sums, strict=True):
        fused.abs_sum(replace(trace, map=linear), Pattern(), own)
    torch.testing.assert_close(*sums, rtol=1e-6, atol=0)


@needs_compiler
@pytest.mark.parametrize(("d_out", "d_in"), [(700, 30), (30, 700), (257, 129)])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_tall_and_wide_maps_on_any_number_of_threads(
    d_out: int, d_in: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    lengths = [3, 17, 1, 40]
    exact = tiny_traces.make_trace(tiny_traces.make_map(d_out, d_in), lengths)
    trace = tiny_traces.make_trace(tiny_traces.make_map(d_out, d_in), lengths, dtype=torch.float32)
    assert_is_reference(trace, exact, Pattern())


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened_and_its_scale_divided_out(dtype: torch.dtype) -> None:
    trace = tiny_traces.make_trace(tiny_traces.make_map(40, 50), [4, 2, 9], dtype=dtype, scale=2.0**6)
    assert_is_reference(trace, trace, Pattern())


@needs_compiler
@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.floats(0.01, 1))
def test_activated_sets_with_many_ties(d_out: int, d_in: int, lengths: list[int], fraction: float) -> None:
    """Whole numbers: sums are exact, so that sets agree to the last member."""
    linear = tiny_traces.make_map(d_out, d_in, levels=2)
    trace = tiny_traces.make_trace(linear, lengths, levels=2, dtype=torch.float32)
    assert_is_reference(trace, trace, Pattern(), fraction)


@needs_compiler
def test_weights_that_are_stored_transposed() -> None:
    linear = tiny_traces.make_map(24, 40)
    linear.module.weight.data = linear.module.weight.data.T.contiguous().T
    trace = tiny_traces.make_trace(linear, [4, 6], dtype=torch.float32)
    assert trace.map.weight.stride() == (1, 24)
    assert_is_reference(trace, trace, Pattern(), 0.1)


@needs_compiler
def test_rows_of_padding_are_not_looked_at() -> None:
    trace = tiny_traces.make_trace(tiny_traces.make_map(8, 9), [4, 2], dtype=torch.float32)
    pairs, need = torch.tensor([[0, 1]]), Needs(products=True, minima=True)
    want = fused.pair_moments(trace, pairs, Pattern(), need)
    trace.segments[0].inputs[1, 2:] = float("nan")
    assert torch.equal(fused.pair_moments(trace, pairs, Pattern(), need), want)


@needs_compiler
@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=14), st.integers(1, 90))
def test_blocks_are_held_as_long_as_a_pair_needs_them(pairs: list[tuple[int, int]], d_in: int) -> None:
    linear, lengths, sides = tiny_traces.make_map(13, d_in), [3, 1, 5, 2, 4, 1, 6, 2], torch.tensor(pairs)
    exact = tiny_traces.make_trace(linear, lengths)
    trace = tiny_traces.make_trace(tiny_traces.make_map(13, d_in), lengths, dtype=torch.float32)
    need = Needs(products=True, minima=True)
    got = fused.pair_moments(trace, sides, Pattern(), need)
    want = reference.pair_moments(exact, sides, Pattern(), need)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5 * float(want.abs().max()))


@pytest.mark.parametrize(
    ("pairs", "held"),
    [([(0, 1), (2, 3), (4, 5)], 2), ([(0, 1), (1, 2), (2, 3)], 2), ([(0, 1), (2, 3), (0, 3)], 3), ([(5, 5)], 1)],
)
def test_no_more_blocks_are_held_than_pairs_wait_for(pairs: list[tuple[int, int]], held: int) -> None:
    assert fused._plan(torch.tensor(pairs).numpy().tobytes()).n_slots == held


@needs_compiler
def test_no_pairs_have_no_moments() -> None:
    trace = tiny_traces.make_trace(tiny_traces.make_map(8, 9), [4, 2], dtype=torch.float32)
    nothing = torch.empty((0, 2), dtype=torch.int64)
    assert fused.pair_moments(trace, nothing, Pattern(), Needs(products=True)).shape == (0, 9)


@needs_compiler
def test_what_is_not_wanted_stays_zero() -> None:
    trace = tiny_traces.make_trace(tiny_traces.make_map(8, 9), [4, 2], dtype=torch.float32)
    moments = fused.pair_moments(trace, torch.tensor([[0, 1]]), Pattern(), Needs(products=False, minima=True))
    assert (moments[0, 3:6] > 0).all() and not moments[0, :3].any() and not moments[0, 6:].any()


@needs_compiler
def test_it_is_chosen_for_float_models_on_a_cpu_only() -> None:
    assert default_backend("cpu", "float32") == default_backend("cpu", "bfloat16") == "fused"
    assert default_backend("cpu", "float64") == default_backend("mps", "float32") == "tiled"


@needs_compiler
def test_the_kernel_is_compiled_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = Path(compiler.compiled(fused.SOURCE))
    written = first.stat().st_mtime_ns
    assert first.parent == tmp_path / "actsim" and list(first.parent.iterdir()) == [first]
    assert compiler.compiled(fused.SOURCE) == str(first) and first.stat().st_mtime_ns == written


@needs_compiler
def test_a_cache_folder_that_cannot_be_made_is_replaced_by_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert Path(compiler.compiled(fused.SOURCE)).is_file()


@needs_compiler
def test_why_the_source_does_not_compile_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = tmp_path / "broken.cpp"
    source.write_text("int main( {")
    with pytest.raises(compiler.NotCompiled, match=r"cannot compile broken\.cpp \(.*error"):
        compiler.compiled(str(source))
    assert not list((tmp_path / "actsim").iterdir())


def test_without_a_compiler_the_plain_path_is_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    fused.is_available.cache_clear()
    fused.kernel.cache_clear()
    trace = tiny_traces.make_trace(tiny_traces.make_map(2, 2), [1], dtype=torch.float32)
    try:
        with caplog.at_level("INFO", logger="actsim"):
            assert default_backend("cpu", "float32") == "tiled"
        with pytest.raises(UsageError, match="needs a CPU and a C\\+\\+ compiler; choose 'tiled'"):
            fused.pair_moments(trace, torch.tensor([[0, 0]]), Pattern(), Needs())
    finally:
        fused.is_available.cache_clear()
        fused.kernel.cache_clear()
    assert "no C++ compiler (no-such-compiler)" in caplog.text
