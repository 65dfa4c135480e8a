"""Pairs of made-up sentences, and files of them."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import tiny_models

Row = tuple[str, str, float]


def made_up_pairs(n: int, seed: int = 0) -> list[Row]:
    """Sentences of random words that the tiny tokenizer knows, with a gold score from 0 to 5."""
    rng = random.Random(seed)

    def sentence() -> str:
        return " ".join(rng.choice(tiny_models.WORDS) for _ in range(rng.randint(2, 9)))

    return [(sentence(), sentence(), round(rng.uniform(0, 5), 1)) for _ in range(n)]


def write_csv(path: Path, pairs: list[Row], header: tuple[str, str, str] = ("sentence1", "sentence2", "score")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(pairs)
    return path


def write_jsonl(path: Path, pairs: list[Row]) -> Path:
    lines = [json.dumps({"sentence1": a, "sentence2": b, "score": gold}) for a, b, gold in pairs]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
