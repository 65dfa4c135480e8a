"""Made-up cosines of a run over domains, with a structure that is known, and the summary of such a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from actsim.pipelines.domain_summary import Draws, summarise_domains
from actsim.stats.bands import Band
from actsim.store.similarities import HIDDEN, SAME_TOKEN, TFIDF, Similarities

GROUPS = ((1, "all"), (1, "q"), (1, "up"), (2, "all"), (2, "q"), (2, "up"), (3, "all"), (3, "q"), (4, "all"), (4, "q"))
LAYERS = 4
DRAWS = Draws(resamples=60, permutations=59, level=0.95, seed=0)
TASKS = ("boolq", "c4", "gsm8k", "humaneval", "mmlu", "tales")


def level(a: int, b: int, layer: int) -> float:
    """The true cosine: 0.8 within a domain; 0 and 1 are related, 2 and 3 too, 4 and 5 too; less in deep layers."""
    if a == b:
        return 0.8
    return 0.3 + 0.3 * (a // 2 == b // 2) - 0.05 * layer


def similarities(
    domains: int, *, n_groups: int = 8, noise: float = 0.02, groups: tuple[tuple[int, str], ...] = GROUPS
) -> Similarities:
    """Cosines around ``level``; TF-IDF says the opposite between domains, hidden states the same, more loudly."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for group in range(n_groups):
        for a in range(2 * domains):
            for b in range(a + 1, 2 * domains):
                true = [level(a // 2, b // 2, layer) for layer in range(1, groups[-1][0] + 1)]
                own = [true[layer - 1] + noise * rng.standard_normal() for layer, _ in groups]
                if group == 0:
                    own[1] = float("nan")
                rows.append(
                    {
                        "group": group,
                        "sample_a": a,
                        "sample_b": b,
                        "cosine": own,
                        HIDDEN: [value**2 for value in true],
                        TFIDF: 0.5 if a // 2 == b // 2 else 0.4 - 0.3 * true[0] + 0.1 * noise * rng.standard_normal(),
                        SAME_TOKEN: float(a // 4 == b // 4),
                    }
                )
    table = pa.Table.from_pylist(rows)
    return Similarities(table, groups)


def summary(domains: Sequence[str] = TASKS, *, n_groups: int = 8, band: str = "deep") -> dict[str, Any]:
    """The summary of a run with these cosines."""
    return {
        "study": "domains",
        "model": {"name": "example/model-small", "revision": None},
        "objective": "next-token",
        "pattern": "absolute-weighted",
        "domains": [
            {"name": name, "samples": 2 * n_groups, "tokens": 99, "truncated": 1, "split": None} for name in domains
        ],
        **summarise_domains(similarities(len(domains), n_groups=n_groups), domains, Band.parse(band, LAYERS), DRAWS),
        "notes": ["a note that matters"],
    }


def manifest() -> dict[str, Any]:
    """What a report reads of the manifest of such a run."""
    return {
        "config": {"samples": {"boolq": {"n": 16}}, "scoring": {"objective": "next-token"}},
        "record": {
            "command": ["actsim", "domains", "--domain", "boolq"],
            "device": "cpu",
            "sample_ids": {"boolq": ["1"]},
        },
        "seconds": 12.3,
        "digest": "0123abcd",
    }
