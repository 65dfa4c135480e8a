"""How time grows with tokens and with parameters, and whether memory grows with the number of pairs."""

from __future__ import annotations

import gc
import importlib.util
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from actsim.core.batch import Tokens
from benchmarks.floor import Rates, measure_rates, pairs_flops
from benchmarks.machine import PeakMemory, device_problem, synchronise
from benchmarks.scoring import Ours, bytes_needed, does_not_fit, takes_too_long
from benchmarks.shapes import GROWTH, Shape, build, count, draw_lengths, draw_pairs

if TYPE_CHECKING:
    from benchmarks.bench_scoring import Settings

TOKENS = (8, 16, 32, 64, 128)
"""Tokens a sentence; every point has the same number of tokens in all, two full batches."""
PARAMETER_PAIRS = 16
MEMORY_PAIRS = (64, 192, 576, 1728)
"""Each number of pairs has the lengths of the first, again and again."""

Pairs = list[tuple[Tokens, Tokens]]


def growth(settings: Settings) -> dict[str, Any]:
    """Time a pair against tokens and parameters, with fits, and peak memory against pairs; JSON-ready.

    Points that do not fit or take too long are left out, each with its reason.
    """
    problem = device_problem(settings.device)
    if problem is not None:
        return {"kind": "growth", "shape": settings.shape.name, "measured": False, "reason": problem}
    rates = measure_rates(settings.dtype, settings.device)
    return {
        "kind": "growth",
        "measured": True,
        **{name: value for name, value in settings.record().items() if name not in ("pairs", "released_pairs")},
        "tokens": _against_tokens(settings, rates),
        "parameters": _against_parameters(settings, rates),
        "memory": _against_pairs(settings, rates),
    }


def slope(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Exponent b of the least-squares fit y = a x^b; None for fewer than two points."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0]) if len(x) > 1 else None


def affine(x: Sequence[float], y: Sequence[float]) -> dict[str, float] | None:
    """Fit y = fixed + per_unit x with least squares of relative errors; None for fewer than three points.

    Exact scores cost 6·T·P FLOPs and, whatever T is, one look at every parameter's pattern, so the fixed part is there
    for tokens.
    """
    if len(x) < 3:
        return None
    per_unit, fixed = (float(value) for value in np.polyfit(x, y, 1, w=1 / np.asarray(y)))
    worst = max(abs((fixed + per_unit * a) / b - 1) for a, b in zip(x, y, strict=True))
    return {"fixed": fixed, "per_unit": per_unit, "largest_relative_error": worst}


def _fits(x: Sequence[float], y: Sequence[float]) -> dict[str, Any]:
    return {"slope": slope(x, y), "affine": affine(x, y)}


def _refusal(settings: Settings, shape: Shape, pairs: Pairs, rounds: int, rates: Rates) -> str | None:
    counts = count(shape)
    needed = bytes_needed(counts, settings.dtype)
    reason = does_not_fit(shape, needed, settings.dtype, settings.device, "weights and working room")
    return reason or takes_too_long(shape, rounds * pairs_flops(pairs, counts), rates, settings.limit_minutes)


def _ours(settings: Settings, shape: Shape) -> Ours:
    subject = build(shape, dtype=settings.dtype, device=settings.device, seed=settings.seed)
    return Ours(subject, settings.batch_tokens, settings.backend)


def _drawn(settings: Settings, shape: Shape, lengths: np.ndarray) -> Pairs:
    return draw_pairs(lengths, shape.configuration().vocab_size, np.random.default_rng(settings.seed))


def _seconds_per_pair(way: Ours, pairs: Pairs) -> float:
    synchronise(way.subject.device)
    start = time.perf_counter()
    way.scores(pairs)
    synchronise(way.subject.device)
    return (time.perf_counter() - start) / len(pairs)


def _against_tokens(settings: Settings, rates: Rates) -> dict[str, Any]:
    shape, total = settings.shape, 2 * settings.batch_tokens
    points = [
        _drawn(settings, shape, np.full((max(1, total // (2 * length)), 2), length, dtype=np.int64))
        for length in TOKENS
    ]
    everything = [pair for pairs in points for pair in pairs]
    reason = _refusal(settings, shape, everything, settings.repeat + 1, rates)
    if reason is not None:
        return {"shape": shape.name, "points": [], **_fits([], []), "left_out": [reason]}
    way = _ours(settings, shape)
    way.scores(everything)
    rounds = [[_seconds_per_pair(way, pairs) for pairs in points] for _ in range(settings.repeat)]
    seconds = [statistics.median(point) for point in zip(*rounds, strict=True)]
    return {
        "shape": shape.name,
        "points": [{"x": length, "seconds_per_pair": value} for length, value in zip(TOKENS, seconds, strict=True)],
        **_fits(TOKENS, seconds),
        "left_out": [],
    }


def _against_parameters(settings: Settings, rates: Rates) -> dict[str, Any]:
    lengths = draw_lengths(PARAMETER_PAIRS, np.random.default_rng(settings.seed))
    points: list[dict[str, Any]] = []
    left_out: list[str] = []
    for shape in GROWTH:
        pairs = _drawn(settings, shape, lengths)
        reason = _refusal(settings, shape, pairs, settings.repeat + 1, rates)
        if reason is not None:
            left_out.append(reason)
            continue
        way = _ours(settings, shape)
        way.scores(pairs)
        seconds = statistics.median(_seconds_per_pair(way, pairs) for _ in range(settings.repeat))
        points.append({"shape": shape.name, "x": way.subject.counts().scored, "seconds_per_pair": seconds})
        del way
        gc.collect()  # a model is held by cycles
        if settings.device.type == "cuda":
            torch.cuda.empty_cache()
    fits = _fits([point["x"] for point in points], [point["seconds_per_pair"] for point in points])
    return {"points": points, **fits, "left_out": left_out}


def _against_pairs(settings: Settings, rates: Rates) -> dict[str, Any]:
    shape = settings.shape
    lengths = draw_lengths(MEMORY_PAIRS[0], np.random.default_rng(settings.seed))
    lengths = np.resize(lengths, (MEMORY_PAIRS[-1], 2))
    pairs = _drawn(settings, shape, lengths)
    reason = _refusal(settings, shape, pairs, 2, rates)
    if reason is not None:
        return {"shape": shape.name, "points": [], "left_out": [reason]}
    way = _ours(settings, shape)
    memory = PeakMemory(settings.device)
    way.scores(pairs[: MEMORY_PAIRS[0]])
    points = []
    for number in MEMORY_PAIRS:
        memory.start_phase()
        way.scores(pairs[:number])
        points.append({"pairs": number, "peak_bytes_above_weights": memory.phase_bytes()})
    return {"shape": shape.name, "points": points, "left_out": [] if memory.problem is None else [memory.problem]}


def print_growth(result: dict[str, Any]) -> None:
    """Points, slopes, and what was left out."""
    for name, unit in (("tokens", "tokens a sentence"), ("parameters", "scored parameters")):
        curve = result[name]
        for point in curve["points"]:
            print(f"  {point['x']:>12,} {unit}: {1e3 * point['seconds_per_pair']:.2f} ms/pair")
        if curve["slope"] is not None:
            print(f"  time grows as ({unit})^{curve['slope']:.2f}")
        if curve["affine"] is not None:
            fit = curve["affine"]
            print(
                f"  {1e3 * fit['fixed']:.2f} ms + {1e3 * fit['per_unit']:.3g} ms a unit, "
                f"no point further off than {fit['largest_relative_error']:.0%}"
            )
    for point in result["memory"]["points"]:
        peak = point["peak_bytes_above_weights"]
        print(f"  {point['pairs']:>12,} pairs: peak above weights {'not measured' if peak is None else f'{peak:,} B'}")
    for name in ("tokens", "parameters", "memory"):
        for reason in result[name]["left_out"]:
            print(f"  not measured: {reason}")


def save_plot(result: dict[str, Any], path: Path) -> str:
    """Draw the three curves as SVG where matplotlib is installed; a line that says what was done."""
    if importlib.util.find_spec("matplotlib") is None:
        return "no plot: matplotlib is not installed"
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for axis, name, label in ((axes[0], "tokens", "tokens a sentence"), (axes[1], "parameters", "scored parameters")):
        points = result[name]["points"]
        axis.loglog([p["x"] for p in points], [p["seconds_per_pair"] for p in points], "o-")
        fitted = result[name]["slope"]
        axis.set(xlabel=label, ylabel="seconds a pair", title="" if fitted is None else f"slope {fitted:.2f}")
    measured = [p for p in result["memory"]["points"] if p["peak_bytes_above_weights"] is not None]
    axes[2].semilogx([p["pairs"] for p in measured], [p["peak_bytes_above_weights"] / 2**20 for p in measured], "o-")
    axes[2].set(xlabel="pairs", ylabel="peak above weights, MiB", ylim=(0, None))
    figure.suptitle(f"{result['machine']['device']}, {result['dtype']}, batches of {result['batch_tokens']} tokens")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return f"plot: {path}"
