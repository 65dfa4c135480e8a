"""Results as text: one comparison for the screen, all of them as the table that the README quotes.

python -m benchmarks.report benchmarks/results
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import GIB

MIB = 2**20
HEADER = (
    "shape",
    "device, type",
    "pairs",
    "released way, ms/pair",
    "actsim, ms/pair",
    "ratio (lowest to highest)",
    "peak above weights, released / actsim",
    "actsim over the floor: FLOPs, bytes",
)


def print_comparison(result: dict[str, Any]) -> None:
    """What ``bench_scoring`` measured, line by line."""
    tokens, ours, floor, released = result["tokens"], result["ours"], result["floor"], result["released"]
    print(
        f"{result['shape']}, {result['dtype']}, {_machine(result)}: {result['pairs']} pairs, "
        f"{tokens['mean']:.1f} tokens a sentence, {tokens['batches']} batches, {tokens['padding_share']:.1%} padding"
    )
    if released is None:
        print(f"  released  not measured: {result['released_reason']}")
    else:
        few = f" on {released['pairs']} pairs" if released["pairs"] < result["pairs"] else ""
        print(f"  released  {released['ms_per_pair']:.2f} ms/pair{few}, peak above weights {_peak(released)}")
    print(f"  ours      {ours['ms_per_pair']:.2f} ms/pair, peak above weights {_peak(ours)}")
    if result["ratio"] is not None:
        print(f"  ratio     {_ratio(result)} over {result['repeat']} rounds")
    print(
        f"  floor     {floor['flops_ms_per_pair']:.3f} ms/pair at {floor['flops_per_second'] / 1e9:.0f} GFLOP/s "
        f"of a matrix product; ours {floor['ours_over_flops']:.2f}x"
    )
    if floor["ours_over_bytes"] is not None:
        print(
            f"  floor     {floor['bytes_ms_per_pair']:.3f} ms/pair to read the weights once per batch at "
            f"{floor['bytes_per_second'] / 1e9:.0f} GB/s; ours {floor['ours_over_bytes']:.2f}x"
        )
    for name, how in (("float64_sums", "its sums in float64"), ("timed", "its sums as timed")):
        if result["agreement"] is not None:
            print(f"  scores    {_agreement(result['agreement'][name])}, {how}")


def _agreement(agreement: dict[str, Any]) -> str:
    largest = "none defined" if agreement["largest"] is None else f"{agreement['largest']:.1e}"
    undefined = f", {agreement['undefined']} undefined" if agreement["undefined"] else ""
    return f"largest difference from the released way in {agreement['compared']} cosines: {largest}{undefined}"


def table(results: Sequence[dict[str, Any]]) -> str:
    """A Markdown table, one row per comparison, also of those that were not measured."""
    rows = [HEADER, tuple("---" for _ in HEADER), *(_row(result) for result in results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    if not result["measured"]:
        where = f"{_machine(result)}, {result['dtype']}" if "machine" in result else ""
        return (result["shape"], where, f"not measured: {result['reason']}", *[""] * (len(HEADER) - 3))
    released, ours, floor = result["released"], result["ours"], result["floor"]
    few = released is not None and released["pairs"] < result["pairs"]
    over = f"{floor['ours_over_flops']:.2f}x"
    if floor["ours_over_bytes"] is not None:
        over += f", {floor['ours_over_bytes']:.2f}x"
    return (
        result["shape"],
        f"{_machine(result)}, {result['dtype']}",
        f"{result['pairs']} (released: {released['pairs']})" if few else str(result["pairs"]),
        f"not measured: {result['released_reason']}" if released is None else f"{released['ms_per_pair']:.2f}",
        f"{ours['ms_per_pair']:.2f}",
        "" if result["ratio"] is None else _ratio(result),
        f"{'not measured' if released is None else _peak(released)} / {_peak(ours)}",
        over,
    )


def _machine(result: dict[str, Any]) -> str:
    machine = result["machine"]
    return machine["device"] if machine["kind"] == "cuda" else f"{machine['device']}, {machine['threads']} threads"


def _ratio(result: dict[str, Any]) -> str:
    ratio = result["ratio"]
    return f"{ratio['median']:.1f}x ({ratio['min']:.1f} to {ratio['max']:.1f})"


def _peak(side: dict[str, Any]) -> str:
    peak = side["peak_bytes_above_weights"]
    if peak is None:
        return f"not measured ({side['peak_note']})"
    return f"{peak / GIB:.2f} GiB" if peak >= GIB else f"{peak / MIB:.0f} MiB"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of all comparisons in a folder, by device and size."""
    options = argparse.ArgumentParser(prog="report", description=(__doc__ or "").partition("\n")[0])
    options.add_argument("folder", type=Path, help="where bench_scoring wrote its JSON files")
    folder = options.parse_args(arguments).folder
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    print(table([result for result in results if result.get("kind") != "growth"]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
