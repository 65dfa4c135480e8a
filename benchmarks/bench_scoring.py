"""Ours against the released way: same pairs, one process, in turn. Time, peak memory, agreement, distance to the floor.

    python -m benchmarks.bench_scoring --shape minilm --pairs 400 --out benchmarks/results/cpu-minilm.json
    python -m benchmarks.bench_scoring --growth --shape llama-110m --out benchmarks/results/cpu-growth.json

Exit status: 0 measured, 1 the scores disagree, 2 wrong option, 3 not measured (the reason is printed and recorded).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from actsim.config import DEFAULT_BATCH_TOKENS
from actsim.core.batch import Tokens
from actsim.core.scoring import BACKENDS
from actsim.core.side_by_side import share_heap
from benchmarks.floor import Rates, measure_rates, pairs_flops
from benchmarks.growth import growth, print_growth, save_plot
from benchmarks.machine import PeakMemory, describe, device_problem, imports_kept, pick_device, synchronise
from benchmarks.released import released_scores
from benchmarks.report import print_comparison
from benchmarks.scoring import Ours, bytes_needed, does_not_fit, layout, released_bytes_needed, takes_too_long
from benchmarks.shapes import SHAPES, Counts, Shape, build, count, draw_lengths, draw_pairs

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
FLOAT32_TOLERANCE = 1e-5
"""Largest difference from the yardstick's cosines, its sums in float64, that ours may show in float32."""
CHECKED_PAIRS = 4
"""Pairs that the yardstick scores once more, untimed, with float64 sums."""
EXIT_MEASURED, EXIT_DISAGREE, EXIT_NOT_MEASURED = 0, 1, 3

Pairs = Sequence[tuple[Tokens, Tokens]]


@dataclass(frozen=True)
class Settings:
    """What is measured, and how often."""

    shape: Shape
    device: torch.device
    dtype: torch.dtype
    pairs: int
    released_pairs: int
    repeat: int
    batch_tokens: int
    backend: str | None
    seed: int
    limit_minutes: float

    def record(self) -> dict[str, Any]:
        """The settings and the machine, as they go into a result."""
        return {
            "shape": self.shape.name,
            "dtype": str(self.dtype).removeprefix("torch."),
            "backend": self.backend or "default",
            "batch_tokens": self.batch_tokens,
            "pairs": self.pairs,
            "released_pairs": self.released_pairs,
            "repeat": self.repeat,
            "seed": self.seed,
            "machine": describe(self.device),
        }


@dataclass
class Side:
    """The rounds of one way of computing."""

    run: Callable[[], Tensor]
    pairs: int
    seconds: list[float] = field(default_factory=list)
    peaks: list[int | None] = field(default_factory=list)
    scores: Tensor | None = None

    def round(self, memory: PeakMemory) -> None:
        """Run once, timed."""
        memory.start_phase()
        synchronise(memory.device)
        start = time.perf_counter()
        self.scores = self.run()
        synchronise(memory.device)
        self.seconds.append(time.perf_counter() - start)
        self.peaks.append(memory.phase_bytes())

    @property
    def ms_per_pair(self) -> list[float]:
        """Milliseconds a pair, round by round."""
        return [1e3 * seconds / self.pairs for seconds in self.seconds]

    def record(self, memory: PeakMemory) -> dict[str, Any]:
        """Median time, and the largest peak above the loaded weights or why there is none."""
        peaks = [peak for peak in self.peaks if peak is not None]
        return {
            "pairs": self.pairs,
            "ms_per_pair": statistics.median(self.ms_per_pair),
            "rounds_ms_per_pair": self.ms_per_pair,
            "peak_bytes_above_weights": max(peaks) if peaks else None,
            "peak_note": memory.problem,
        }


def compare(settings: Settings) -> dict[str, Any]:
    """Run both ways in turn; a JSON-ready record, ``measured`` False with a ``reason`` where that is impossible."""
    problem = device_problem(settings.device)
    if problem is not None:
        return {"shape": settings.shape.name, "measured": False, "reason": problem}
    counts, result = count(settings.shape), settings.record()
    rates = measure_rates(settings.dtype, settings.device)
    rng = np.random.default_rng(settings.seed)
    pairs = draw_pairs(draw_lengths(settings.pairs, rng), settings.shape.configuration().vocab_size, rng)
    chosen = representative(pairs, settings.released_pairs)
    some = [pairs[position] for position in chosen]
    reason, released_reason = refusals(settings, counts, rates, pairs, some)
    if reason is not None:
        return {**result, "measured": False, "reason": reason}

    subject = build(settings.shape, dtype=settings.dtype, device=settings.device, seed=settings.seed)
    memory = PeakMemory(settings.device)
    way = Ours(subject, settings.batch_tokens, settings.backend)
    ours = Side(lambda: way.scores(pairs), len(pairs))
    released = None if released_reason else Side(lambda: released_scores(subject, some), len(some))
    checked = None  # also the warm-up of the released way
    if released is not None:
        checked = released_scores(subject, some[:CHECKED_PAIRS], sums=torch.float64)
    way.scores(pairs)  # warm-up of ours
    rounds = []
    for _ in range(settings.repeat):
        for side in (released, ours):
            if side is not None:
                side.round(memory)
        rounds.append(measure_rates(settings.dtype, settings.device))
    return {
        **result,
        "measured": True,
        "parameters": vars(counts),
        "tokens": tokens_record(pairs, some, settings.batch_tokens),
        "ours": {**ours.record(memory), "backend": way.scorer()},
        "floor": floor_record(settings, counts, rounds, pairs, ours),
        **versus(released, released_reason, ours, memory),
        "agreement": agreement(checked, released, ours, chosen),
    }


def representative(pairs: Pairs, wanted: int) -> list[int]:
    """Positions of ``wanted`` pairs at evenly spaced ranks of length, so that few pairs stand for all."""
    by_length = sorted(range(len(pairs)), key=lambda position: (sum(map(len, pairs[position])), position))
    wanted = min(wanted, len(pairs))
    return sorted(by_length[(2 * rank + 1) * len(pairs) // (2 * wanted)] for rank in range(wanted))


def refusals(
    settings: Settings, counts: Counts, rates: Rates, pairs: Pairs, some: Pairs
) -> tuple[str | None, str | None]:
    """Why nothing is measured, and why the released way is not; None where it is."""
    shape, dtype, device = settings.shape, settings.dtype, settings.device
    ours_flops = (settings.repeat + 1) * pairs_flops(pairs, counts)
    reason = does_not_fit(shape, bytes_needed(counts, dtype), dtype, device, "weights and working room")
    reason = reason or takes_too_long(shape, ours_flops, rates, settings.limit_minutes)
    if not some:
        return reason, "asked for 0 pairs"
    needed = released_bytes_needed(counts, dtype)
    released = does_not_fit(shape, needed, dtype, device, "weights, gradients and two copies of them")
    total = ours_flops + settings.repeat * pairs_flops(some, counts)
    return reason, released or takes_too_long(shape, total, rates, settings.limit_minutes)


def versus(released: Side | None, reason: str | None, ours: Side, memory: PeakMemory) -> dict[str, Any]:
    """The yardstick's record and the ratio of each round."""
    if released is None:
        return {"released": None, "released_reason": reason, "ratio": None}
    ratios = [slow / fast for slow, fast in zip(released.ms_per_pair, ours.ms_per_pair, strict=True)]
    return {
        "released": released.record(memory),
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
    }


def agreement(
    checked: Tensor | None, released: Side | None, ours: Side, chosen: Sequence[int]
) -> dict[str, dict[str, Any]] | None:
    """How far our cosines are from the yardstick's: as it was timed, and with float64 sums."""
    if checked is None or released is None:
        return None
    assert released.scores is not None and ours.scores is not None
    own = ours.scores[list(chosen)]
    return {"timed": _difference(released.scores, own), "float64_sums": _difference(checked, own[: len(checked)])}


def _difference(theirs: Tensor, own: Tensor) -> dict[str, Any]:
    differences = (theirs - own).abs()
    defined = differences.isfinite()
    largest = float(differences[defined].max()) if bool(defined.any()) else None
    return {"largest": largest, "compared": int(defined.sum()), "undefined": int((~defined).sum())}


def tokens_record(pairs: Pairs, some: Pairs, batch_tokens: int) -> dict[str, Any]:
    """Tokens a sentence of all pairs and of those scored the released way, and our batches."""

    def mean(chosen: Pairs) -> float | None:
        return sum(len(a) + len(b) for a, b in chosen) / (2 * len(chosen)) if chosen else None

    return {"mean": mean(pairs), "released_mean": mean(some), **layout(pairs, batch_tokens)}


def floor_record(
    settings: Settings, counts: Counts, rounds: Sequence[Rates], pairs: Pairs, ours: Side
) -> dict[str, Any]:
    """Both floors in milliseconds a pair, and our time over each: medians over the rounds, each with its own rates."""
    batches = int(layout(pairs, settings.batch_tokens)["batches"])
    flops, weight_bytes = pairs_flops(pairs, counts), counts.scored * settings.dtype.itemsize
    record: dict[str, Any] = {"flops_per_second": statistics.median(rates.flops for rates in rounds)}
    record |= _floor("flops", [rates.seconds(flops) for rates in rounds], ours)
    bandwidths = [rates.bandwidth for rates in rounds if rates.bandwidth is not None]
    reading = [rates.seconds_to_read(weight_bytes, batches) for rates in rounds]
    record["bytes_per_second"] = statistics.median(bandwidths) if bandwidths else None
    return record | _floor("bytes", [seconds for seconds in reading if seconds is not None], ours)


def _floor(name: str, seconds: Sequence[float], ours: Side) -> dict[str, float | None]:
    """One floor; None where it was not measured."""
    if not seconds:
        return {f"{name}_ms_per_pair": None, f"ours_over_{name}": None}
    per_pair = [1e3 * value / ours.pairs for value in seconds]
    over = [mine / floor for mine, floor in zip(ours.ms_per_pair, per_pair, strict=True)]
    return {f"{name}_ms_per_pair": statistics.median(per_pair), f"ours_over_{name}": statistics.median(over)}


def exit_status(result: dict[str, Any]) -> int:
    """3 where nothing was measured, 1 where float32 scores disagree, else 0."""
    if not result["measured"]:
        return EXIT_NOT_MEASURED
    checked = (result.get("agreement") or {}).get("float64_sums")
    if checked is None or result["dtype"] != "float32":
        return EXIT_MEASURED
    apart = checked["undefined"] > 0 or checked["largest"] > FLOAT32_TOLERANCE
    return EXIT_DISAGREE if apart else EXIT_MEASURED


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="bench_scoring", description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--shape", choices=SHAPES, default="minilm", help="model shape, random weights")
    options.add_argument("--pairs", type=_positive, default=400, help="pairs of STS-B's lengths that we score")
    options.add_argument("--released-pairs", type=_natural, default=40, help="how many of them also the released way")
    options.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options.add_argument("--dtype", choices=DTYPES, help="default float32 on the CPU, the shape's half type on a GPU")
    options.add_argument("--backend", choices=BACKENDS, help="scoring backend; default the product's")
    options.add_argument("--batch-tokens", type=_positive, default=DEFAULT_BATCH_TOKENS, help="budget of a batch")
    options.add_argument("--repeat", type=_positive, default=3, help="rounds of released, ours, released, ours, …")
    options.add_argument("--seed", type=_natural, default=0)
    options.add_argument("--limit-minutes", type=float, default=30, help="refuse what takes longer even at the floor")
    options.add_argument("--growth", action="store_true", help="time against tokens and parameters, memory vs. pairs")
    options.add_argument("--out", type=Path, help="write the result here as JSON (and with --growth a plot beside it)")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure, print, write."""
    given = parser().parse_args(arguments)
    device = pick_device(given.device)
    shape = SHAPES[given.shape]
    settings = Settings(
        shape=shape,
        device=device,
        dtype=DTYPES[given.dtype or (shape.half if device.type == "cuda" else "float32")],
        pairs=given.pairs,
        released_pairs=min(given.released_pairs, given.pairs),
        repeat=given.repeat,
        batch_tokens=given.batch_tokens,
        backend=given.backend,
        seed=given.seed,
        limit_minutes=given.limit_minutes,
    )
    share_heap()  # as the command does
    with imports_kept():
        result = growth(settings) if given.growth else compare(settings)
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n")
    if not result["measured"]:
        print(f"not measured: {result['reason']}")
    elif given.growth:
        print_growth(result)
        if given.out is not None:
            print(save_plot(result, given.out.with_suffix(".svg")))
    else:
        print_comparison(result)
    return exit_status(result)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {value}")
    return value


if __name__ == "__main__":
    raise SystemExit(main())
