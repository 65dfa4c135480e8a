"""How exact the scores are: every model family in batches, one sentence at a time, and by an independent oracle.

    python benchmarks/accuracy.py
    python benchmarks/accuracy.py --family bert --family llama --dtype float32

Prints a Markdown table of the largest relative difference of a cosine or weighted Jaccard, for whole layers (and for
the kinds of linear map in brackets), over tiny random models. The oracle, ``tests/oracle.py``, takes plain autograd
gradients of the parameters and shares no code with the scorer. Gemma 2 and GPT-Neo compute attention weights in float32
whatever their type. In half precision the gradients themselves are rounded at every step, in another order in a batch
than alone; the differences there are those of the type.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import three_ways


def table(families: Sequence[str], dtypes: Sequence[str]) -> str:
    """The Markdown table."""
    heads = [f"{dtype}, {against}" for dtype in dtypes for against in ("batched - single", "batched - oracle")]
    lines = ["| family | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * len(heads)]
    for family in families:
        cells = []
        for dtype in dtypes:
            found = three_ways.measure(family, dtype)
            cells += [f"{d.layers:.1e} ({d.kinds:.1e})" for d in (found.batched_single, found.batched_oracle)]
        lines.append(f"| {family} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse the options, print the table."""
    parser = argparse.ArgumentParser(description="The largest relative difference of scores, by model family and type.")
    parser.add_argument("--family", action="append", choices=three_ways.FAMILIES, help="may be repeated; default all")
    parser.add_argument(
        "--dtype", action="append", choices=three_ways.DTYPES, help="may be repeated; default all but fp16"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(table(options.family or three_ways.FAMILIES, options.dtype or three_ways.DTYPES[:3]))


if __name__ == "__main__":
    main()
